// node rudder.mjs ADDRESS STEPS
import rudder from '@rudderstack/rudder-sdk-node';
import { tell } from './story.mjs';

const Analytics = rudder.default ?? rudder;
const [address, steps] = process.argv.slice(2);
const client = new Analytics('any', {
  dataPlaneUrl: address,
  flushAt: 5,
  flushInterval: 50,
  // More tries than by default, since the server is away for a while.
  axiosRetryConfig: { retries: 100, retryDelay: () => 100 },
});
await tell(client, Number(steps));
// A flush sends one batch, and tells what became of it.
for (;;) {
  await client.flush();
  if (client.queue.length === 0 && !client.flushing) break;
  await new Promise((resolve) => setTimeout(resolve, 20));
}
