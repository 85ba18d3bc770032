//! Every bound of the engine, in one place, unit last.
//!
//! A bound that a client can meet is part of the documented interface (docs/protocol.md). What a
//! bound refuses is a [`crate::Rejection`] or a code on one event, never a silent drop.

/// Longest session id, profile id, source name and event id, in bytes after trimming.
pub const ID_MAX_BYTES: usize = 128;
/// Names of each kind whose numbers are kept at hand.
pub const NAMES_AT_HAND_MAX: usize = 16_384;
/// Sessions of which it is remembered that their rows were looked up after the last checkpoint.
pub const SESSIONS_WARM_MAX: usize = 65_536;
/// Longest event type, trait name, consent name and namespace, in bytes after trimming.
pub const NAME_MAX_BYTES: usize = 128;
/// Longest identifier value, in bytes before normalising.
pub const IDENTIFIER_MAX_BYTES: usize = 512;
/// Most events in one request. A request is stored whole or not at all.
pub const REQUEST_MAX_EVENTS: usize = 1_000;
/// Most requests in one array.
pub const ARRAY_MAX_REQUESTS: usize = 1_000;
/// Largest encoded request, in bytes.
pub const REQUEST_MAX_BYTES: usize = 4 << 20;
/// Deepest nesting of `properties`, `context` and trait values.
pub const JSON_MAX_DEPTH: usize = 32;
/// Most identifiers on one event.
pub const EVENT_MAX_IDENTIFIERS: usize = 32;
/// Most trait operations on one event.
pub const EVENT_MAX_TRAIT_OPERATIONS: usize = 256;
/// Most consents on one event.
pub const EVENT_MAX_CONSENTS: usize = 64;
/// Longest trait value, in bytes of JSON.
pub const TRAIT_VALUE_MAX_BYTES: usize = 16 << 10;
/// Most traits that one fragment holds; further names are refused with `trait_limit`.
pub const FRAGMENT_MAX_TRAITS: usize = 1_000;
/// Most items that one collection holds in one fragment; further ones are refused with `trait_limit`.
pub const COLLECTION_MAX_ITEMS: usize = 1_000;
/// `set_once` operations that a trait keeps exactly after its last `set` or `unset`; beyond, see
/// [`crate::core::traits::ValueState`].
pub const TRAIT_MAX_SET_ONCES: usize = 16;
/// Most consent names that one fragment holds; further names are refused with `consent_limit`.
pub const FRAGMENT_MAX_CONSENTS: usize = 100;
/// User agents are read up to here, in bytes; what follows never matters.
pub const USER_AGENT_MAX_BYTES: usize = 1_024;
/// Names of operating systems and browsers are kept up to here, in bytes.
pub const AGENT_NAME_MAX_BYTES: usize = 64;
/// User agents that one cache of parsed ones holds at most.
pub const AGENT_CACHE_MAX_ITEMS: usize = 4_096;
/// Pages and referrers are kept up to here, in bytes.
pub const PAGE_MAX_BYTES: usize = 2_048;
/// UTM values are kept up to here, in bytes.
pub const UTM_MAX_BYTES: usize = 256;
/// How often an act is planned beside the writer before the writer plans it itself.
pub const ACT_MAX_ATTEMPTS: u32 = 8;
/// Fragments of one person whose refusals of one purpose are remembered one by one.
pub const STANDING_REFUSALS_MAX: usize = 64;
/// Ids that the answer of one profile lists.
pub const PROFILE_MAX_IDS: usize = 1_000;
/// Profiles that an answer names where an identifier stands for several.
pub const AMBIGUOUS_MAX_IDS: usize = 100;
/// Fragments of one device that are looked through for the person who sits down there.
pub const DEVICE_MAX_SEATS: usize = 1_000;
/// Largest `values_per_profile` of a namespace.
pub const VALUES_PER_PROFILE_MAX: u32 = 10_000;
/// Most entries, `event` and `source`, under `identification`.
pub const IDENTIFICATION_MAX_POINTS: usize = 1_000;
/// Other known profiles that a session may meet before it counts as shared.
pub const SESSION_MAX_OTHER_PROFILES: usize = 3;
/// Longest inactivity timeout, in milliseconds (7 days).
pub const INACTIVITY_MAX_MS: i64 = 7 * 24 * 60 * 60 * 1_000;
/// The shortest time after which a link may expire: one second, since nobody looks more often.
pub const EXPIRY_MIN_MS: u64 = 1_000;
/// The longest: a hundred years.
pub const EXPIRY_MAX_MS: u64 = 36_500 * 24 * 60 * 60 * 1_000;
/// Links that expire by one record, at most.
pub const EXPIRE_MAX_LINKS: usize = 256;
/// Shortest inactivity timeout, in milliseconds.
pub const INACTIVITY_MIN_MS: i64 = 1_000;
/// Clock differences up to this, in milliseconds, are the network's and are not corrected.
pub const CLOCK_TOLERANCE_MS: i64 = 60_000;
/// An event may be this much later than its receipt, in milliseconds; beyond, it gets the time of receipt.
pub const FUTURE_TOLERANCE_MS: i64 = 60_000;
/// Latest time that can be written, 9999-12-31T23:59:59.999Z, in milliseconds since 1970.
pub const TIME_MAX_MS: i64 = 253_402_300_799_999;
/// Most items on one page of a read.
pub const PAGE_MAX_ITEMS: usize = 1_000;
/// Items on one page when nothing is said.
pub const PAGE_DEFAULT_ITEMS: usize = 50;
/// Changes that are read at once end once the events in them have reached this, in bytes: the context of a request
/// stands in each of its events.
pub const CHANGES_MAX_BYTES: usize = 1 << 20;

/// Most events in one group (one frame of the log, one sync).
pub const GROUP_MAX_EVENTS: usize = 4_096;
/// Largest group in bytes, unless one request is larger.
pub const GROUP_MAX_BYTES: usize = 4 << 20;
/// Requests that wait for the writer before further ones are told *overloaded*.
pub const MAILBOX_MAX_REQUESTS: usize = 8_192;
/// Largest frame that a reader of the log accepts, in bytes.
pub const FRAME_MAX_BYTES: usize = GROUP_MAX_BYTES + 2 * REQUEST_MAX_BYTES;
/// Size of a log segment in bytes, zeroed ahead.
pub const SEGMENT_BYTES: u64 = 64 << 20;
/// Size in bytes of the first segment after an opening; the next ones are four times larger each, up to
/// [`SEGMENT_BYTES`], so that a store that is hardly used stays small.
pub const SEGMENT_FIRST_BYTES: u64 = 1 << 20;
/// Events in one compressed block of a sealed segment, unless one record has more.
pub const BLOCK_MAX_EVENTS: usize = 128;
/// Largest block of a sealed segment before compression, in bytes, unless one record is larger.
pub const BLOCK_MAX_BYTES: usize = 64 << 10;
/// Distance in bytes between two entries of an open segment's index in memory: what a point read reads.
pub const OPEN_BLOCK_BYTES: u64 = 16 << 10;
/// Decoded blocks and block indexes of the log that are kept in memory, in bytes.
pub const LOG_CACHE_BYTES: usize = 32 << 20;
/// What a background thread writes before it syncs and pauses, in bytes.
pub const PACED_SLICE_BYTES: usize = 512 << 10;
/// The pause after such a slice, in milliseconds.
pub const PACED_PAUSE_MS: u64 = 4;
/// Full segments that wait to be sealed before the writer waits too.
pub const SEAL_QUEUE_MAX_SEGMENTS: usize = 16;
/// Greatest age of a snapshot, in milliseconds; an older one answers `snapshot_too_old`.
pub const SNAPSHOT_MAX_AGE_MS: i64 = 60_000;
/// Sessions that one record of session ends names at most.
pub const ENDS_MAX_SESSIONS: usize = 1_000;
/// Sessions that are looked at for their end along with one group: what the requests in it wait for.
pub const ENDS_IN_GROUP_MAX_SESSIONS: usize = 64;
/// What a checkpoint writes to the index between two syncs, in bytes.
pub const INDEX_SLICE_BYTES: u64 = 256 << 10;
/// How much longer a checkpoint leaves the disk alone after a slice than the slice's sync took.
pub const INDEX_REST_FACTOR: u32 = 4;
/// Shortest such rest of a checkpoint without urgency, in milliseconds.
pub const INDEX_REST_MIN_MS: u64 = 1;
/// Longest such rest, in milliseconds.
pub const INDEX_REST_MAX_MS: u64 = 50;
/// How full, in thousandths, the generation that is being filled may get before the writer leaves time to a checkpoint
/// that still runs.
pub const PAUSE_FROM_PER_MILLE: u32 = 500;
/// How much longer than deciding took it does so at most, which is just before the generation is full.
pub const PAUSE_MAX_FACTOR: u32 = 3;
/// How long it does so after one group at most, in milliseconds.
pub const PAUSE_MAX_MS: u64 = 25;
/// Fewest events in an index that is rewritten when the store is closed: below, there is little to gain.
pub const INDEX_REWRITE_MIN_EVENTS: u64 = 10_000;
/// Most events in such an index: beyond, closing would take too long, and `spoor rebuild` does it.
pub const INDEX_REWRITE_MAX_EVENTS: u64 = 20_000_000;
/// It is rewritten once at least one event in so many came after the last time: what costs as much as the index is
/// large is then done a few times while it doubles.
pub const INDEX_REWRITE_NEW_SHARE: u64 = 4;
/// Smallest generation of the overlay, in bytes: below, there would be a checkpoint for every few requests.
pub const GENERATION_MIN_BYTES: usize = 64 << 10;

const _: () = assert!(TRAIT_MAX_SET_ONCES >= 3);
const _: () = assert!(INDEX_REST_MIN_MS <= INDEX_REST_MAX_MS);
const _: () = assert!(PAUSE_FROM_PER_MILLE < 1_000);
const _: () = assert!(FRAME_MAX_BYTES > GROUP_MAX_BYTES + REQUEST_MAX_BYTES);
const _: () = assert!(SEGMENT_BYTES > FRAME_MAX_BYTES as u64);
const _: () = assert!(SEGMENT_BYTES >= SEGMENT_FIRST_BYTES);
const _: () = assert!(BLOCK_MAX_BYTES < FRAME_MAX_BYTES);
const _: () = assert!(GROUP_MAX_EVENTS >= REQUEST_MAX_EVENTS);
const _: () = assert!(ENDS_IN_GROUP_MAX_SESSIONS <= ENDS_MAX_SESSIONS);
const _: () = assert!(INDEX_REWRITE_MIN_EVENTS < INDEX_REWRITE_MAX_EVENTS);
const _: () = assert!(INACTIVITY_MIN_MS < INACTIVITY_MAX_MS);
