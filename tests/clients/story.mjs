// What happens on one browser, told through a library: somebody looks around, logs in, is known by another id too,
// belongs to a company, buys by way of the server; then the browser forgets, and somebody else does the same.
// tests/tests/clients.rs knows what must be stored in the end.

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// `client` has the calls of Segment's interface; `steps` is how often each of the two looks around.
export async function tell(client, steps) {
  for (let n = 0; n < steps; n += 1) {
    client.track({ anonymousId: 'a-1', event: 'step', properties: { n } });
    await pause(5);
  }
  client.page({ anonymousId: 'a-1', name: 'Shoes', properties: { url: '/shoes' } });
  client.identify({ anonymousId: 'a-1', userId: 'u-1', traits: { email: 'Ada@Example.com', plan: 'pro' } });
  client.alias({ previousId: 'a-1', userId: 'u-1' });
  client.group({ userId: 'u-1', groupId: 'g-1', traits: { name: 'Shop' } });
  client.track({ userId: 'u-1', event: 'bought' });
  for (let n = 0; n < steps; n += 1) {
    client.track({ anonymousId: 'a-2', event: 'other', properties: { n } });
    await pause(5);
  }
  client.identify({ anonymousId: 'a-2', userId: 'u-2', traits: { email: 'bob@example.com' } });
}
