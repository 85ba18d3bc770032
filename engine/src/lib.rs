//! Spoor: a tracking database inside your process.

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

mod check;
mod engine;
mod read;
mod redecide;
mod words;

pub use engine::{Answer, Engine, Environment};
pub use error::{Error, Rejection, TrackError};
pub use ids::EventSeq;
pub use json::{Json, JsonFault};
pub use read::Snapshot;
pub use reply::{EventReply, EventStatus, ProfileReply, Reason, Reply, SessionReply};
pub use request::{Consent, Event, Origin, TrackRequest, TraitOperations};
pub use settings::Settings;
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
