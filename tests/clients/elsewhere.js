// What both pages of another origin share: whom they send to, and what a test asks of them.

const asked = new URLSearchParams(location.search);
const [server, key, sending, settings] = ['server', 'key', 'sending', 'settings'].map((name) => asked.get(name));

// What nobody caught. A library that is not answered must not end the scripts of its page.
window.uncaught = [];
addEventListener('error', (event) => window.uncaught.push(String(event.message)));
addEventListener('unhandledrejection', (event) => window.uncaught.push(String(event.reason)));

function ready(analytics) {
  window.library = analytics;
}

function failed(reason) {
  window.failure = String(reason);
}

// Tells of so many steps, numbered from `first`.
async function walk(first, count) {
  for (let n = first; n < first + count; n += 1) await window.library.track('step', { n });
}

// Sends what the libraries for browsers do not: a compressed batch, which the browser asks about first.
async function compressed(first, count) {
  const batch = Array.from({ length: count }, (_, i) => ({
    type: 'track', event: 'step', anonymousId: 'a-1', messageId: `z-${first + i}`, properties: { n: first + i },
  }));
  const packed = new Blob([JSON.stringify({ batch })]).stream().pipeThrough(new CompressionStream('gzip'));
  const answer = await fetch(`${server}/v1/batch`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json', 'content-encoding': 'gzip', authorization: `Basic ${btoa(`${key}:`)}`,
    },
    body: await new Response(packed).blob(),
  });
  return [answer.status, await answer.json()];
}
