// The story of story.mjs, in a page: the library names the device itself, and forgets it by `reset`.

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// `analytics` has the calls of Segment's browser library; `reset` lets it forget device and user.
async function tell(analytics, reset) {
  const steps = Number(new URLSearchParams(location.search).get('steps'));
  for (let n = 0; n < steps; n += 1) {
    analytics.track('step', { n });
    await pause(5);
  }
  analytics.page('Shoes');
  analytics.identify('u-1', { email: 'Ada@Example.com', plan: 'pro' });
  analytics.alias('u-1');
  analytics.group('g-1', { name: 'Shop' });
  analytics.track('bought');
  await pause(200);
  reset();
  for (let n = 0; n < steps; n += 1) {
    analytics.track('other', { n });
    await pause(5);
  }
  analytics.identify('u-2', { email: 'bob@example.com' });
}
