// Spoor's tracker for browsers: page views, calls and identities, each delivered once.
//
//   <script>window.spoor = window.spoor || []</script>
//   <script async src="https://spoor.example/spoor.js" data-source="web" data-key="KEY"></script>
//
// docs/tracker.md says what the attributes and the calls do; spoor.d.ts has their types. It is served without
// these comments.
//
// It keeps, in local storage under `spoor.SOURCE.`, or in memory where that is blocked:
//   profile     the id that the server gave this device
//   person      drawn by reset(), so that an answer to what was sent before names nobody after it
//   consent     "granted" or "refused", once the page has said so
//   queue.WHEN  an event that the server has not answered for: {person, session, profile, event}
// and the id of the session in a cookie that ends with the browser's session.
//
// 1. An event is in the queue before it is sent, and until the server has answered for it.
// 2. It is sent again with the same id, in the same session; without one, under the same profile or again under none.
//    That is where the server looks for what it has already.
// 3. One request at a time: until the first answer has brought the profile id, the others wait. Only what a page leaves
//    behind goes at once.
// 4. Nothing is stored and nothing sent while standing() is not "granted".
// 5. No call throws: a page does not break by what counts it.
// 6. A visitor is never held up: a link is followed without a token where there is none in time.
(() => {
  "use strict";

  const script = document.currentScript;
  if (!script || (window.spoor && window.spoor.track)) return;

  const DELAY_MS = 200;
  const ANSWER_MAX_MS = 30_000;
  const RETRY_FIRST_MS = 1_000;
  const RETRY_MAX_MS = 300_000;
  const TOLD_MAX_MS = 3_600_000;
  const BATCH_MAX_EVENTS = 100;
  const BATCH_MAX_CHARACTERS = 48_000;
  // The Fetch standard lets 64 KiB outlive a page.
  const OUTLIVING_MAX_BYTES = 60_000;
  const QUEUE_MAX_EVENTS = 1_000;
  const HELD_MAX_EVENTS = 100;
  const TOKEN_FRESH_MS = 45_000;
  const HANDOVER_MAX_MS = 3_000;

  const said = script.dataset;
  const prefix = `spoor.${said.source || "default"}.`;
  const base = said.server ? said.server.replace(/\/*$/, "/") : script.src;

  // Text needs no leave from a server of another origin before it is sent.
  function post(call, body, more) {
    const address = new URL(`api/v1/${call}`, base);
    if (said.key) address.searchParams.set("key", said.key);
    const headers = { "Content-Type": "text/plain" };
    return fetch(address, { method: "POST", headers, credentials: "omit", body, ...more });
  }

  const draw = () =>
    Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");

  // What is kept. Each access may be refused: by the user, by the browser, or because there is no room.

  const memory = new Map();
  const disk = (access) => {
    try {
      return access(localStorage);
    } catch {
      return undefined;
    }
  };
  const load = (key) => memory.get(key) ?? disk((storage) => storage.getItem(prefix + key)) ?? null;
  const drop = (key) => {
    memory.delete(key);
    disk((storage) => storage.removeItem(prefix + key));
  };
  const save = (key, value) => {
    memory.set(key, value);
    disk((storage) => {
      storage.setItem(prefix + key, value);
      memory.delete(key);
    });
  };
  const kept = (start) => {
    const stored = disk((storage) => Object.keys(storage)) ?? [];
    const ours = stored.filter((key) => key.startsWith(prefix)).map((key) => key.slice(prefix.length));
    return [...new Set([...ours, ...memory.keys()])].filter((key) => key.startsWith(start)).sort();
  };

  const cookie = `spoor_session_${encodeURIComponent(said.source || "default")}`;
  const writeCookie = (value, more) => {
    const domain = said.cookieDomain ? `; Domain=${said.cookieDomain}` : "";
    const secure = location.protocol === "https:" ? "; Secure" : "";
    try {
      document.cookie = `${cookie}=${value}; Path=/; SameSite=Lax${domain}${secure}${more}`;
    } catch {
      // A frame in a sandbox has none.
    }
  };
  const readCookie = () => {
    try {
      const pair = document.cookie.split("; ").find((pair) => pair.startsWith(`${cookie}=`));
      return (pair && pair.slice(cookie.length + 1)) || undefined;
    } catch {
      return undefined;
    }
  };
  // Undefined where cookies are blocked: then each event is a session of its own.
  const session = () => {
    if (!readCookie()) writeCookie(draw(), "");
    return readCookie();
  };

  const signalled =
    said.privacySignals === "respect" && (navigator.globalPrivacyControl || navigator.doNotTrack === "1");
  const standing = () =>
    load("consent") ?? (signalled ? "refused" : said.consent === "required" ? "pending" : "granted");

  // The queue.

  const held = []; // events of a page that waits for consent
  const mine = new Set(); // keys of events of this page
  const flying = new Map(); // keys of events that are on their way, each with what calls it back
  let drawn = 0;

  function record(type, properties, more) {
    try {
      const context = { page: { url: location.href } };
      const event = { id: draw(), type, time: new Date(), properties, context, ...more };
      // The page may change its objects once this returns.
      const snapshot = JSON.parse(JSON.stringify(event));
      if (standing() === "granted") enqueue(snapshot);
      else if (standing() === "pending" && held.length < HELD_MAX_EVENTS) held.push(snapshot);
      return snapshot.id;
    } catch (error) {
      console.warn("spoor: an event was left out:", error);
    }
  }

  function enqueue(event) {
    const waiting = kept("queue.");
    if (waiting.length >= QUEUE_MAX_EVENTS) drop(waiting[0]);
    // In the order of the calls, and different in each tab.
    const place = (drawn++).toString(36).padStart(5, "0");
    const key = `queue.${Date.now().toString(36)}.${place}.${draw().slice(0, 8)}`;
    save(key, JSON.stringify({ person: load("person"), session: session(), profile: load("profile"), event }));
    mine.add(key);
    schedule();
  }

  function read(key) {
    try {
      const item = JSON.parse(load(key));
      // Sent under none before, it is "", and stays so.
      if (item.profile === null && item.person === load("person")) item.profile = load("profile");
      return { ...item, profile: item.profile ?? "" };
    } catch {
      return null;
    }
  }

  // The next events that go together: of one person and one session. Null if none wait.
  function pick(among) {
    let batch = null;
    let characters = 0;
    for (const key of kept("queue.")) {
      if (flying.has(key) || (among && !among.has(key))) continue;
      const item = read(key);
      if (!item) {
        drop(key);
        continue;
      }
      const { person, session, profile, event } = item;
      characters += JSON.stringify(event).length;
      batch ??= { person, session, profile, keys: [], events: [] };
      const together = person === batch.person && session === batch.session && profile === batch.profile;
      const room = batch.keys.length < batchMost && (characters < BATCH_MAX_CHARACTERS || !batch.keys.length);
      if (!together || !room) break;
      batch.keys.push(key);
      batch.events.push(event);
    }
    return batch;
  }

  // Sending.

  let batchMost = BATCH_MAX_EVENTS;
  let failures = 0;
  let notBefore = 0;
  let timer = 0;
  let running = null;

  function schedule() {
    timer ||= setTimeout(flush, Math.max(DELAY_MS, notBefore - Date.now()));
  }

  // One tab at a time, where the browser can tell.
  async function alone(work) {
    let begun = false;
    try {
      return await navigator.locks.request(`${prefix}send`, () => {
        begun = true;
        return work();
      });
    } catch {
      return begun ? undefined : work();
    }
  }

  async function deliver() {
    if (landed && standing() === "granted") await land();
    for (let batch; standing() === "granted" && Date.now() >= notBefore && (batch = pick()); ) await send(batch);
  }

  function flush() {
    clearTimeout(timer);
    timer = 0;
    running ??= alone(deliver).finally(() => {
      running = null;
      if (standing() === "granted" && kept("queue.").length) schedule();
    });
    return running;
  }

  async function send({ person, session, profile, keys, events }) {
    const flight = new AbortController();
    const patience = setTimeout(() => flight.abort(), ANSWER_MAX_MS);
    keys.forEach((key, index) => {
      flying.set(key, flight);
      if (!session) save(key, JSON.stringify({ person, profile, event: events[index] }));
    });
    try {
      const sent_at = new Date();
      const body = new Blob([
        JSON.stringify({ source: said.source, session, profile: profile || undefined, sent_at, events }),
      ]);
      const keepalive = body.size < OUTLIVING_MAX_BYTES;
      const answer = await post("track", body, { keepalive, signal: flight.signal });
      settle({ person, profile, keys }, answer, await answer.json().catch(() => ({})));
    } catch {
      wait(0);
    } finally {
      clearTimeout(patience);
      for (const key of keys) flying.delete(key);
    }
  }

  function settle({ person, profile, keys }, answer, told) {
    // Something between may answer 200 for a server that it did not reach.
    if (answer.ok && Array.isArray(told.events) && told.events.length === keys.length) {
      keys.forEach(drop);
      failures = 0;
      batchMost = Math.min(2 * batchMost, BATCH_MAX_EVENTS);
      if (person === load("person") && standing() === "granted") adopt(profile, told);
    } else if (isFault(answer.status, told.code)) {
      // One of them is at fault, and the others need not be lost with it.
      if (keys.length === 1) {
        drop(keys[0]);
        console.warn(`spoor: an event was refused: ${told.code}: ${told.message} (${told.field})`);
      }
      batchMost = 1;
    } else {
      wait(told.retry_after_ms || 1_000 * answer.headers.get("Retry-After") || 0);
    }
  }

  // Whether an event is at fault, and not the page's attributes or the server.
  const isFault = (status, code) =>
    status === 413 ||
    ([400, 422].includes(status) && code && code !== "unknown_source" && code !== "parameter_unknown");

  function adopt(sent, told) {
    const id = told.profile && told.profile.id;
    const known = load("profile");
    const warnings = [told.warnings, ...told.events.map((event) => event.warnings)].flat();
    // The one is another person at this device; the other, an id that this server has never given.
    const replaces = warnings.includes("profile_switched") || warnings.includes("profile_unknown");
    if (id && (!known || (known === sent && replaces))) save("profile", id);
  }

  function wait(told_ms) {
    const own_ms = Math.min(RETRY_FIRST_MS * 2 ** failures++, RETRY_MAX_MS) * (0.5 + Math.random() / 2);
    notBefore = Date.now() + (told_ms > 0 ? Math.min(told_ms, TOLD_MAX_MS) : own_ms);
  }

  // What waits when the page is left. It stays in the queue unless the answer still arrives.
  function leave() {
    arrive();
    // Beside a hand-over that is being answered it would be another device. One that was not tried is given up.
    if (landing && !memory.size) return;
    landed = "";
    if (standing() !== "granted" || (Date.now() < notBefore && !memory.size)) return;
    for (let batch; (batch = pick(mine)); ) {
      // Beside an answer that is to bring the profile id, it would be another device.
      if (!batch.session && !batch.profile && flying.size && !memory.size) return;
      send(batch);
    }
  }

  // Handing over to other sites, and from them.

  const hosts = (said.handover || "").match(/[^\s,]+/g) || [];
  const carrying = (address, token) =>
    token ? address.replace(/^[^#]*/, (all) => `${all}${all.includes("?") ? "&" : "?"}spoor_handover=${token}`) : address;

  // Before anybody counts, or passes on, what stands in the address. Whoever is known here stays who they are.
  let landed = "";
  let landing = false;
  const cleaned = location.href.replace(/([?&])spoor_handover=([^&#]*)(&?)/, (_, mark, token, more) => {
    if (hosts.length && !load("profile") && !readCookie()) landed = token;
    return more && mark;
  });
  try {
    if (cleaned !== location.href) history.replaceState(history.state, "", cleaned);
  } catch {
    // A frame in a sandbox keeps its address.
  }

  // What the server says; nothing of it if it does not say so in time.
  async function hear(call, body) {
    const late = new Promise((done) => setTimeout(done, HANDOVER_MAX_MS, {}));
    try {
      const answer = post(call, JSON.stringify({ source: said.source, ...body }));
      return await Promise.race([answer.then((answer) => answer.json()), late]);
    } catch {
      return {};
    }
  }

  async function land() {
    const [token, person] = [landed, load("person")];
    landing = true;
    const id = load("profile") ? "" : (await hear("handover/accept", { token })).profile?.id;
    landed = "";
    landing = false;
    if (id && !load("profile") && person === load("person") && standing() === "granted") save("profile", id);
  }

  const ask = async (profile) =>
    profile && standing() === "granted" ? (await hear("handover", { profile })).token : undefined;

  const linked = (event) =>
    event.composedPath().find((node) => node.href && node.host !== location.host && hosts.includes(node.host));

  let ready = {};
  let asked = 0;

  // A link is pointed at, touched or focused before it is followed.
  async function prepare(event) {
    if (!linked(event) || Date.now() - asked < (ready.token ? TOKEN_FRESH_MS : RETRY_FIRST_MS)) return;
    asked = Date.now();
    const profile = load("profile");
    ready = {};
    ready = { profile, token: await ask(profile) };
  }

  // The link has the token only while it is followed: it may be copied before and after.
  function carry(event) {
    const link = linked(event);
    const { profile, token } = ready;
    const holds = token && profile === load("profile") && standing() === "granted";
    if (!link || !holds || Date.now() - asked > TOKEN_FRESH_MS) return;
    const href = link.getAttribute("href");
    link.href = carrying(link.href, token);
    setTimeout(() => link.setAttribute("href", href));
    ready = {};
    asked = 0;
  }

  // Page views.

  const place = () => (said.pages === "hash" ? location.href : location.href.split("#")[0]);
  let here = place();
  let referrer = document.referrer;
  let arriving = null;

  const facts = () => ({ url: location.href, path: location.pathname, referrer: referrer || undefined });
  const page = (properties) =>
    record("page-view", { ...facts(), title: document.title, ...properties }, { context: undefined });

  function arrive() {
    const view = arriving;
    arriving = null;
    if (view) page(view);
  }

  // The address changes first, the title when the page has drawn itself.
  function move() {
    if (place() === here) return;
    arrive();
    [referrer, here] = [here, place()];
    arriving = facts();
    setTimeout(arrive);
  }

  function follow() {
    for (const name of ["pushState", "replaceState"]) {
      const original = history[name];
      history[name] = function (...values) {
        const result = original.apply(this, values);
        move();
        return result;
      };
    }
    addEventListener("popstate", move);
    addEventListener("hashchange", move);
    addEventListener("pageshow", (event) => event.persisted && page());
    if (document.prerendering) document.addEventListener("prerenderingchange", () => page(), { once: true });
    else page();
  }

  // The calls of a page.

  const calls = {
    track: record,

    page,

    identify(user, traits) {
      if (user && typeof user === "object") [user, traits] = [undefined, user];
      const { email, phone } = traits || {};
      const values = Object.entries({ user_id: user, email, phone }).filter(([, value]) => value || value === 0);
      const identifiers = Object.fromEntries(values.map(([namespace, value]) => [namespace, String(value)]));
      return record("identify", undefined, { identifiers, traits: { set: traits } });
    },

    reset() {
      if (standing() !== "granted") return;
      arrive();
      writeCookie("", "; Max-Age=0");
      drop("profile");
      save("person", draw());
    },

    consent(answer) {
      if (answer && typeof answer === "object") {
        const words = { true: "granted", false: "refused" };
        const consents = Object.entries(answer).map(([purpose, value]) => [purpose, words[value] ?? value]);
        return record("consent", undefined, { consents: Object.fromEntries(consents) });
      }
      if (answer) {
        save("consent", "granted");
        held.splice(0).forEach(enqueue);
        return;
      }
      for (const flight of flying.values()) flight.abort();
      held.length = 0;
      kept("").forEach(drop);
      writeCookie("", "; Max-Age=0");
      save("consent", "refused");
    },

    handover: async (address) => carrying(String(address), await ask(load("profile"))),

    ids: () => ({ profile: load("profile"), session: readCookie() ?? null }),

    async flush() {
      await running; // It may have looked into the queue for the last time.
      return flush();
    },

    push(call) {
      const [name, ...values] = call || [];
      return name in calls ? calls[name](...values) : undefined;
    },
  };

  const earlier = window.spoor;
  window.spoor = calls;
  addEventListener("pagehide", leave);
  document.addEventListener("visibilitychange", () => document.visibilityState === "hidden" && leave());
  addEventListener("online", () => {
    failures = notBefore = 0;
    flush();
  });
  if (hosts.length) {
    for (const name of ["pointerover", "pointerdown", "focusin"]) addEventListener(name, prepare, true);
    for (const name of ["click", "auxclick"]) addEventListener(name, carry, true);
  }
  if (said.pages !== "off") follow();
  if (Array.isArray(earlier)) earlier.forEach(calls.push);
  if (landed) flush();
  if (standing() === "granted" && kept("queue.").length) schedule();
})();
