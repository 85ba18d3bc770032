// The story of story.mjs, in a page: the library names the device itself, and forgets it by `reset`.

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Waits until so many events are stored; the server may be away meanwhile.
async function stored(count) {
  for (;;) {
    const page = await fetch('/api/v1/events?after=0&limit=1000').then((answer) => answer.json(), () => undefined);
    if (page?.items?.length >= count) return;
    await pause(50);
  }
}

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
  // What Segment's library could not send before, it would send in the name of the device that comes after.
  await stored(steps + 5);
  reset();
  for (let n = 0; n < steps; n += 1) {
    analytics.track('other', { n });
    await pause(5);
  }
  analytics.identify('u-2', { email: 'bob@example.com' });
}
