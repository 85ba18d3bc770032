// node segment.mjs ADDRESS STEPS
import { Analytics } from '@segment/analytics-node';
import { tell } from './story.mjs';

const [address, steps] = process.argv.slice(2);
// More tries than by default, since the server is away for a while; small batches, so that there are many.
const client = new Analytics({
  writeKey: 'any', host: address, flushAt: 5, flushInterval: 50, maxRetries: 50,
});
client.on('error', (error) => {
  console.error(error);
  process.exitCode = 1;
});
await tell(client, Number(steps));
await client.closeAndFlush({ timeout: 60_000 });
