//! What a scenario or a history can be played against.

mod binary;
pub mod compact;
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

use spoor::model::{
    AsOf, BlockedValue, CheckReport, Explanation, HistoryEntry, Link, Page, PageRequest, Profile,
    QuarantinedLink, ReadError, Session, StoredEvent,
};
use spoor::{Act, ActError, ActReply, Rejection, Reply, Settings, Timestamp, TrackRequest};

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

    /// Does something to who is who, or with `dry_run` says what it would do.
    ///
    /// # Errors
    /// As [`spoor::Engine::act`].
    fn act(&mut self, act: &Act, dry_run: bool) -> Result<ActReply, ActError>;

    /// The profile that an id finds, as of a past.
    ///
    /// # Errors
    /// As [`spoor::Snapshot::profile_as_of`].
    fn profile_as_of(&mut self, id: &str, as_of: AsOf) -> Result<Profile, ReadError>;

    /// The profile that has an identifier, `namespace:value`, as of a past.
    ///
    /// # Errors
    /// As [`spoor::Snapshot::profile_of_identifier`].
    fn profile_of_identifier(&mut self, identifier: &str, as_of: AsOf) -> Result<Profile, ReadError>;

    /// A page of the profile's links.
    ///
    /// # Errors
    /// As [`spoor::Snapshot::profile_links`].
    fn profile_links(&mut self, id: &str, page: &PageRequest) -> Result<Page<Link>, ReadError>;

    /// A page of what happened to who the profile is.
    ///
    /// # Errors
    /// As [`spoor::Snapshot::profile_history`].
    fn profile_history(&mut self, id: &str, page: &PageRequest) -> Result<Page<HistoryEntry>, ReadError>;

    /// A page of the links that wait for a decision.
    ///
    /// # Errors
    /// As [`spoor::Snapshot::quarantine`].
    fn quarantine(&mut self, page: &PageRequest) -> Result<Page<QuarantinedLink>, ReadError>;

    /// A page of the values that people blocked.
    ///
    /// # Errors
    /// As [`spoor::Snapshot::blocked`].
    fn blocked(&mut self, page: &PageRequest) -> Result<Page<BlockedValue>, ReadError>;

    /// How two ids are joined, and what would part them.
    ///
    /// # Errors
    /// As [`spoor::Snapshot::explain`].
    fn explain(&mut self, from: &str, to: &str) -> Result<Explanation, ReadError>;
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
    /// Replies that hide nothing, whoever may read them.
    Whole,
}

/// Makes a target with an empty store, its clock at a time.
pub type Maker = fn(&Settings, Timestamp) -> Box<dyn Target>;
