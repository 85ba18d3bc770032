//! What a scenario or a history can be played against.

mod binary;
mod embedded;
mod http;
mod naive;
mod power;
mod served;
pub mod wire;

pub use binary::Binary;
pub use embedded::Embedded;
pub use naive::Naive;
pub use served::Served;

use spoor::model::{CheckReport, Page, PageRequest, Profile, ReadError, Session, StoredEvent};
use spoor::{Rejection, Reply, Settings, Timestamp, TrackRequest};

/// A store under test. A method that cannot do its work panics: that is a failed test, not an answer.
pub trait Target {
    /// Which one it is, for messages.
    fn name(&self) -> &'static str;

    /// What it cannot do at all; scenarios that need it are left out, and said to be.
    fn lacks(&self, need: Need) -> bool;

    /// Stores a request.
    ///
    /// # Errors
    /// The rejection.
    fn track(&mut self, request: &TrackRequest) -> Result<Reply, Rejection>;

    /// Sends bytes as they are; the answer is the status and the text of the body.
    /// Only for a target that does not lack [`Need::Wire`].
    fn send(&mut self, path: &str, body: &str) -> (u16, String);

    /// Sets the clock, and ends the sessions whose time has come.
    fn set_clock(&mut self, now: Timestamp);

    /// Closes the store and opens it again.
    fn reopen(&mut self);

    /// Takes the store away without closing it, and opens what is left.
    fn crash(&mut self);

    /// Verifies the store; `None` where there is nothing to verify.
    fn check(&mut self) -> Option<CheckReport>;

    /// The profile that an id finds.
    ///
    /// # Errors
    /// As [`spoor::Snapshot::profile`].
    fn profile(&mut self, id: &str) -> Result<Profile, ReadError>;

    /// A page of the profile's events.
    ///
    /// # Errors
    /// As [`spoor::Snapshot::profile_events`].
    fn profile_events(&mut self, id: &str, page: &PageRequest) -> Result<Page<StoredEvent>, ReadError>;

    /// A page of the profile's sessions.
    ///
    /// # Errors
    /// As [`spoor::Snapshot::profile_sessions`].
    fn profile_sessions(&mut self, id: &str, page: &PageRequest) -> Result<Page<Session>, ReadError>;

    /// One session.
    ///
    /// # Errors
    /// As [`spoor::Snapshot::session`].
    fn session(&mut self, id: &str) -> Result<Session, ReadError>;

    /// A page of the session's events.
    ///
    /// # Errors
    /// As [`spoor::Snapshot::session_events`].
    fn session_events(&mut self, id: &str, page: &PageRequest) -> Result<Page<StoredEvent>, ReadError>;
}

/// Something that not every target can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A clock that the test moves.
    Clock,
    /// Requests that are history.
    Import,
    /// Bytes over the network.
    Wire,
}

/// Makes a target with an empty store, its clock at a time.
pub type Maker = fn(&Settings, Timestamp) -> Box<dyn Target>;
