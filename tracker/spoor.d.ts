// Types of spoor.js, which docs/tracker.md describes. Add this file to a project to call `spoor` from TypeScript.

/** What JSON can say. */
export type Json = string | number | boolean | null | Json[] | { [name: string]: Json };

/** Facts by name. What JSON leaves out, such as `undefined`, is left out. */
export type Facts = { [name: string]: Json | Date | undefined };

/** The members of an event beside its type and properties, as docs/protocol.md describes them. */
export interface More {
  /** Unique to the event; drawn where it is not given. */
  id?: string;
  /** When it happened, by the clock of the browser; now where it is not given. */
  time?: string | Date;
  /** Facts of where it happened; the address of the page where it is not given. */
  context?: Facts;
  /** Namespace and value, such as `{ email: "ada@example.com" }`. */
  identifiers?: { [namespace: string]: string | number };
  /** What the event says of the customer. */
  traits?: {
    set?: Facts;
    set_once?: Facts;
    add?: { [name: string]: number };
    append?: Facts;
    remove?: Facts;
    unset?: string[];
  };
  /** Purpose and answer. */
  consents?: { [purpose: string]: "granted" | "refused" };
}

/** What a page can call. None of it throws. */
export interface Spoor {
  /** Something happened. Returns the id of the event, or `undefined` if it cannot be written as JSON. */
  track(type: string, properties?: Facts, more?: More): string | undefined;

  /** A page was seen, the one that is shown; `properties` add to its address, title and referrer, or replace them. */
  page(properties?: Facts): string | undefined;

  /** Who sits at this device. `traits.email` and `traits.phone` are identifiers as well. */
  identify(user: string | number | null | undefined, traits?: Facts): string | undefined;
  /** As above, of somebody whose user id is not known. */
  identify(traits: Facts): string | undefined;

  /** Whoever comes next is somebody else: forgets the profile id and begins a new session. */
  reset(): void;

  /** Whether this page may store and send. `false` forgets all ids and what was not sent. Kept until the next answer. */
  consent(answer: boolean): void;
  /** The customer's answers by purpose, as an event. `true` is "granted", `false` is "refused". */
  consent(answers: { [purpose: string]: "granted" | "refused" | boolean }): string | undefined;

  /**
   * The address with a token by which that site knows this device again, once and within a minute: for pages that
   * navigate by themselves. The address alone where there is no id yet, no consent, or no answer in time.
   */
  handover(address: string | URL): Promise<string>;

  /** The ids of this device and this visit as far as there are any. */
  ids(): { profile: string | null; session: string | null };

  /** Sends what waits at once. Resolves when all of it is answered, or one request failed. */
  flush(): Promise<void>;

  /** A call as a list: its name, then what it is given. The only one that is there before the script is. */
  push(call: [name: string, ...values: unknown[]]): unknown;
}

declare global {
  interface Window {
    spoor: Spoor;
  }
  const spoor: Spoor;
}
