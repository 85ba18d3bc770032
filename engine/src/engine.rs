//! The handle: what a program that embeds Spoor holds.

use crate::error::{Error, TrackError};
use crate::model::{CheckReport, Page, PageRequest, Profile, ReadError, Session, Status, StoredEvent};
use crate::reply::Reply;
use crate::request::TrackRequest;
use crate::settings::Settings;
use crate::store::disk::{Disk, RealDisk};
use crate::time::{Clock, SystemClock};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// A store that is open. Cheap to clone; the last clone that goes closes it.
#[derive(Debug, Clone)]
pub struct Engine {}

/// What the engine takes from outside: files, the time, randomness.
#[derive(Debug, Clone)]
pub struct Environment {
    /// The files.
    pub disk: Arc<dyn Disk>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// `Some` draws all ids from this seed, for tests; `None` from the system's random source.
    pub seed: Option<u64>,
}

impl Default for Environment {
    fn default() -> Self {
        Self { disk: Arc::new(RealDisk), clock: Arc::new(SystemClock), seed: None }
    }
}

/// The answer to a submitted request, not yet put into words: [`Answer::reply`] does that, off the writer's thread.
pub struct Answer {}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answer")
    }
}

impl Answer {
    /// The reply.
    #[must_use]
    pub fn reply(&self) -> Reply {
        unimplemented!()
    }
}

/// A snapshot: everything as it was at one position, whatever is written meanwhile.
#[derive(Debug)]
pub struct Snapshot {}

impl Engine {
    /// Opens the store in `dir`, making it if there is none.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Damaged`], [`Error::Settings`], [`Error::Io`].
    pub fn open(dir: impl AsRef<Path>, settings: Settings) -> Result<Self, Error> {
        Self::open_with(dir, settings, Environment::default())
    }

    /// [`Engine::open`] with files, time and randomness of the caller's.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn open_with(_: impl AsRef<Path>, _: Settings, _: Environment) -> Result<Self, Error> {
        unimplemented!()
    }

    /// Stores a request and waits until it is durable and visible.
    ///
    /// # Errors
    /// [`TrackError`].
    pub fn track(&self, _: TrackRequest) -> Result<Reply, TrackError> {
        unimplemented!()
    }

    /// [`Engine::track`] without waiting: `done` is called once, on another thread, and must be quick.
    /// It may also be called before this returns (a rejection, an overload).
    pub fn submit<F>(&self, _: TrackRequest, _done: F)
    where
        F: FnOnce(Result<Answer, TrackError>) + Send + 'static,
    {
        unimplemented!()
    }

    /// A snapshot of the present.
    ///
    /// # Errors
    /// [`Error::Closed`].
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        unimplemented!()
    }

    /// Ends the sessions whose time has come by the clock, now rather than at the next second.
    /// Returns how many ended; durable on return.
    ///
    /// # Errors
    /// As [`Engine::track`].
    pub fn tick(&self) -> Result<u64, Error> {
        unimplemented!()
    }

    /// Writes what changed to the index and waits for it.
    ///
    /// # Errors
    /// As [`Engine::track`].
    pub fn checkpoint(&self) -> Result<(), Error> {
        unimplemented!()
    }

    /// Verifies every invariant and computes the two digests, on a snapshot of the present, which is kept
    /// beyond [`crate::limits::SNAPSHOT_MAX_AGE_MS`].
    ///
    /// # Errors
    /// [`Error`] if something could not be read; what was read and is wrong stands in the report.
    pub fn check(&self) -> Result<CheckReport, Error> {
        unimplemented!()
    }

    /// The state in numbers.
    #[must_use]
    pub fn status(&self) -> Status {
        unimplemented!()
    }

    /// Why the engine has closed itself, if it has.
    #[must_use]
    pub fn failure(&self) -> Option<Arc<str>> {
        unimplemented!()
    }

    /// Finishes what was accepted, writes the index, and lets go of the directory.
    ///
    /// # Errors
    /// [`Error`] if the last checkpoint failed; nothing acknowledged is lost then.
    pub fn close(&self) -> Result<(), Error> {
        unimplemented!()
    }

    /// Throws the index of the closed store in `dir` away and makes it anew from the log.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn rebuild(_: impl AsRef<Path>, _: Settings, _: Environment) -> Result<Status, Error> {
        unimplemented!()
    }
}

impl Snapshot {
    /// The profile that any of its ids finds.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn profile(&self, _id: &str) -> Result<Profile, ReadError> {
        unimplemented!()
    }

    /// The profile's events, newest first by event time.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn profile_events(&self, _id: &str, _: &PageRequest) -> Result<Page<StoredEvent>, ReadError> {
        unimplemented!()
    }

    /// The profile's sessions, newest first by last event; implicit ones are not listed.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn profile_sessions(&self, _id: &str, _: &PageRequest) -> Result<Page<Session>, ReadError> {
        unimplemented!()
    }

    /// One session.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn session(&self, _id: &str) -> Result<Session, ReadError> {
        unimplemented!()
    }

    /// The session's events, newest first by event time.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn session_events(&self, _id: &str, _: &PageRequest) -> Result<Page<StoredEvent>, ReadError> {
        unimplemented!()
    }

    /// All events after `after`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`Error`].
    pub fn events_after(&self, _after: u64, _limit: usize) -> Result<Vec<StoredEvent>, Error> {
        unimplemented!()
    }
}
