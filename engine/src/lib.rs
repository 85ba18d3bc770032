//! Spoor: a tracking database inside your process.
//!
//! An [`Engine`] is a store that is open: a directory of which this process is the only user. A program
//! hands it what its customers did, as [`TrackRequest`]s, and is answered once that is durable and visible:
//! which profile it was, which session, and the place of each event in the log. A [`Snapshot`] reads
//! profiles, sessions and events as of one moment.
//!
//! ```
#![doc = include_str!("../examples/embedded.rs")]
//! ```
//!
//! # What holds
//!
//! - A request is stored whole or not at all. After [`Engine::track`] returned `Ok`, no stop of the process
//!   or of the machine takes it back, provided that the disk keeps what it has synced.
//! - Sending an event with an id again is safe: it is answered from the first.
//! - A [`Rejection`] is an answer to the request: it is at fault, and nothing was written. An [`Error`] is the
//!   store's: [`Error::nothing_written`] says what may have happened. After a storage error the engine takes
//!   nothing more until it is opened again, and [`Engine::failure`] says why.
//! - Readers do not block the writer, nor it them.
//!
//! # Threads
//!
//! An engine runs four: the writer, which decides every request in turn and syncs the log; one that writes
//! checkpoints to the index; and two of the log, which prepare the next segment and compress full ones. Where links
//! of a namespace expire, a fifth looks for those.
//! There is no async runtime: [`Engine::track`] blocks its caller, and [`Engine::submit`] calls back. Many
//! callers at once share one sync, so that it pays to send from many threads, or to submit without waiting.
//!
//! # Where things are
//!
//! [`request`] and [`reply`] are what goes in and comes back, [`model`] is what reads answer with, [`change`] what
//! those read who follow it,
//! [`settings`] what an operator decides, [`limits`] every bound. [`core`] decides and knows no file, thread,
//! clock or random source; [`store`] obeys. The two are public for the tests and the tools of this
//! repository; what they offer may change with any version.

pub mod act;
pub mod change;
pub mod error;
pub mod ids;
pub mod json;
pub mod limits;
pub mod model;
pub mod reply;
pub mod request;
pub mod settings;
pub mod time;

pub mod core;
pub mod store;

mod acting;
mod check;
mod engine;
mod expiring;
mod preview;
mod read;
mod redecide;
mod words;

pub use act::{Act, ActError, ActReply, ProfileSize};
pub use engine::{Answer, Engine, Environment};
pub use error::{Error, Rejection, TrackError};
pub use ids::EventSeq;
pub use json::{Json, JsonFault};
pub use read::Snapshot;
pub use reply::{EventReply, EventStatus, LinkOutcome, LinkReply, ProfileReply, Reason, Reply, SessionReply};
pub use request::{Consent, Event, Origin, TrackRequest, TraitOperations};
pub use settings::Settings;
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
