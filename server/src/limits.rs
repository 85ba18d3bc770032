//! Every bound of the server, in one place, unit last. The engine's own are in [`spoor::limits`].
//!
//! Those that an operator may want otherwise are defaults of `[server]` settings; the rest hold for all.
//! What a client can meet is listed in docs/protocol.md.

/// Largest body as sent, in bytes (`server.body`).
pub const BODY_MAX_BYTES: usize = 8 << 20;
/// Largest body once decompressed, in bytes (`server.body_decompressed`).
pub const BODY_DECOMPRESSED_MAX_BYTES: usize = 32 << 20;
/// All bodies in memory at once, as sent and decompressed, in bytes (`server.bodies`); beyond, `overloaded`.
pub const BODIES_MAX_BYTES: usize = 256 << 20;
/// Largest request line and headers, in bytes (`server.headers`).
pub const HEADERS_MAX_BYTES: usize = 16 << 10;
/// Smallest that [`HEADERS_MAX_BYTES`] can be set to: hyper reads in pieces of this size.
pub const HEADERS_MIN_BYTES: usize = 8 << 10;
/// Connections at once (`server.connections`); further ones wait in the system's queue.
pub const CONNECTIONS_MAX: usize = 4_096;
/// Streams at once on one HTTP/2 connection (`server.streams`).
pub const STREAMS_MAX: u32 = 100;
/// Time to send the request line and headers, in milliseconds (`server.headers_timeout`).
pub const HEADERS_TIMEOUT_MS: u64 = 10_000;
/// Time to send the body, in milliseconds (`server.body_timeout`).
pub const BODY_TIMEOUT_MS: u64 = 30_000;
/// Time for the answer once the body is there, in milliseconds (`server.request_timeout`).
pub const REQUEST_TIMEOUT_MS: u64 = 30_000;
/// A connection on which no request is under way for this long is closed, in milliseconds (`server.idle_timeout`).
pub const IDLE_TIMEOUT_MS: u64 = 75_000;
/// Time to finish what was accepted when the server stops, in milliseconds (`server.shutdown_timeout`).
pub const SHUTDOWN_TIMEOUT_MS: u64 = 20_000;
/// Bodies up to this are parsed where they arrive, in bytes; parsing larger ones would hold up other connections.
pub const PARSE_INLINE_MAX_BYTES: usize = 64 << 10;
/// Requests of one stream that are taken and not answered; the next is not read before.
pub const STREAM_IN_FLIGHT_MAX_REQUESTS: usize = 1_024;
/// Answers of a stream that are there at once are sent together, up to this and one more, in bytes.
pub const STREAM_ANSWERS_BYTES: usize = 32 << 10;
/// Pause before a stream tries again after *overloaded*, in milliseconds.
pub const STREAM_RETRY_MS: u64 = 10;
/// How long a client may go on after it was told that its stream has ended, in milliseconds.
pub const STREAM_FAREWELL_MS: u64 = 1_000;
/// Most items in one batch of another service's client library. They fill a batch by its size: half a megabyte.
pub const LIBRARY_BATCH_MAX_ITEMS: usize = 2_500;
/// Changes that are read at once for one subscriber.
pub const CHANGES_BATCH_MAX: usize = 256;
/// Subscribers for whom changes are read at the same time; others wait a moment.
pub const CHANGES_READS_MAX: usize = 8;
/// Where nothing happens, a subscriber is sent a sign of life this often, in milliseconds.
pub const CHANGES_HEARTBEAT_MS: u64 = 15_000;
/// A subscriber that makes no room for so long is given up, in milliseconds.
pub const CHANGES_STALL_MS: u64 = 600_000;
/// Changes that are posted to a webhook at once.
pub const WEBHOOK_BATCH_MAX: usize = 100;
/// Time for a webhook's receiver to accept a connection, in milliseconds.
pub const WEBHOOK_CONNECT_MS: u64 = 5_000;
/// Time for a webhook's receiver to answer, in milliseconds.
pub const WEBHOOK_ANSWER_MS: u64 = 30_000;
/// Rest after a webhook was not taken, in milliseconds; doubled each time.
pub const WEBHOOK_RETRY_MS: u64 = 1_000;
/// Longest such rest, in milliseconds.
pub const WEBHOOK_RETRY_MAX_MS: u64 = 300_000;
/// Time for what is on its way to webhooks when the server stops, in milliseconds; what is not taken by then is sent
/// again after the next start.
pub const WEBHOOK_FAREWELL_MS: u64 = 5_000;
/// Longest name of a webhook, in bytes.
pub const WEBHOOK_NAME_MAX_BYTES: usize = 64;
/// Shortest secret of a webhook, in bytes.
pub const WEBHOOK_SECRET_MIN_BYTES: usize = 16;
/// Largest body of an act, or of a new key, in bytes.
pub const ACT_MAX_BYTES: usize = 16 << 10;
/// Most keys at once: a request shows one, and a person must be able to look through them.
pub const KEYS_MAX: usize = 1_000;
/// How long a browser may remember what a page may send, in milliseconds: so long a change of `sources.NAME.origins`
/// may go unseen by it.
pub const PREFLIGHT_MAX_AGE_MS: u64 = 600_000;
/// How long a token of a hand-over is good, in milliseconds: a click, and a page that loads slowly.
pub const HANDOVER_LIFETIME_MS: u64 = 60_000;
/// Tokens of hand-overs that are remembered as used, each for as long as it would be good; beyond, `overloaded`.
pub const HANDOVERS_MAX_USED: usize = 65_536;
/// Reads and acts at once; further ones wait. Each has a thread, since it may wait for the disk.
pub const READS_MAX: usize = 32;
/// What `Retry-After` says, in milliseconds: the writer empties a full mailbox in less.
pub const RETRY_AFTER_MS: u64 = 1_000;
/// Largest window that a zstd body may ask for, in bytes (RFC 9659).
pub const ZSTD_WINDOW_MAX_BYTES: u64 = 8 << 20;
/// Longest `field` in an error, in bytes: names in it come from the sender.
pub const FIELD_MAX_BYTES: usize = 256;
/// Longest line of an import, in bytes.
pub const LINE_MAX_BYTES: usize = BODY_DECOMPRESSED_MAX_BYTES;
/// Requests of an import that wait for the writer at once.
pub const IMPORT_IN_FLIGHT_MAX: usize = 4_096;
/// Largest batch that an import posts to a running server, in requests.
pub const IMPORT_BATCH_MAX_REQUESTS: usize = 500;
/// A batch of an import is posted once it has reached this, in bytes.
pub const IMPORT_BATCH_BYTES: usize = 1 << 20;
/// Rejected requests that the summary of an import shows; `--rejected` writes all.
pub const IMPORT_SHOWN_REJECTED: usize = 20;
/// Pause before an import tries again after *overloaded*, in milliseconds.
pub const IMPORT_RETRY_MS: u64 = 50;
/// Times that an import tries to reach a server that does not answer.
pub const IMPORT_ATTEMPTS_MAX: u32 = 10;
/// A progress line is written this often where there is no terminal, in milliseconds.
pub const PROGRESS_LINE_MS: u64 = 5_000;

const _: () = assert!(BODY_MAX_BYTES <= BODY_DECOMPRESSED_MAX_BYTES);
const _: () = assert!(BODY_MAX_BYTES + BODY_DECOMPRESSED_MAX_BYTES <= BODIES_MAX_BYTES);
const _: () = assert!(HEADERS_MIN_BYTES <= HEADERS_MAX_BYTES);
/// How long a command waits for a server's answer, in milliseconds.
pub const COMMAND_ANSWER_MS: u64 = 60_000;
/// How long a command waits for a server to say who it is, in milliseconds: that takes it no time.
pub const COMMAND_STATUS_MS: u64 = 5_000;
/// How long `spoor check` waits for a server, which reads its whole store meanwhile, in milliseconds.
pub const COMMAND_CHECK_MS: u64 = 3_600_000;

const _: () = assert!(COMMAND_STATUS_MS < COMMAND_ANSWER_MS && COMMAND_ANSWER_MS < COMMAND_CHECK_MS);
const _: () = assert!(COMMAND_ANSWER_MS > REQUEST_TIMEOUT_MS);
const _: () = assert!(CHANGES_HEARTBEAT_MS < CHANGES_STALL_MS);
const _: () = assert!(CHANGES_HEARTBEAT_MS < IDLE_TIMEOUT_MS);
const _: () = assert!(WEBHOOK_FAREWELL_MS < SHUTDOWN_TIMEOUT_MS);
const _: () = assert!(WEBHOOK_RETRY_MS < WEBHOOK_RETRY_MAX_MS && WEBHOOK_CONNECT_MS < WEBHOOK_ANSWER_MS);
const _: () = assert!(1 < STREAM_IN_FLIGHT_MAX_REQUESTS);
const _: () = assert!(STREAM_IN_FLIGHT_MAX_REQUESTS < spoor::limits::MAILBOX_MAX_REQUESTS);
const _: () = assert!(LIBRARY_BATCH_MAX_ITEMS < spoor::limits::MAILBOX_MAX_REQUESTS);
const _: () = assert!(STREAM_FAREWELL_MS < SHUTDOWN_TIMEOUT_MS);
const _: () = assert!(IMPORT_IN_FLIGHT_MAX < spoor::limits::MAILBOX_MAX_REQUESTS);
const _: () = assert!(IMPORT_BATCH_MAX_REQUESTS <= spoor::limits::ARRAY_MAX_REQUESTS);
