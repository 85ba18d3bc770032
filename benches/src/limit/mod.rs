//! Servers that bound what ours can reach: the very same HTTP and JSON, in front of stores that do the least.
//! [`ParseOnly`] answers and stores nothing; [`AppendOnly`] makes the bytes durable, and nothing else.

mod append_only;
mod parse_only;

pub use append_only::AppendOnly;
pub use parse_only::ParseOnly;

use spoor::change::Change;
use spoor::model::{
    AsOf, BlockedValue, CheckReport, Explanation, Figures, HistoryEntry, Link, Page, PageRequest, Profile,
    QuarantinedLink, ReadError, Session, Status, StoredEvent,
};
use spoor::{Act, ActError, ActReply, Error, EventReply, EventSeq, EventStatus};
use spoor::{ProfileReply, Reason, Reply, SessionReply, TrackRequest};
use spoor_server::store::{Done, Listener, Store};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The profile id of every device that sends none.
const PROFILE: &str = "0190b2c4-8d1e-7a3f-9bcd-0123456789ab";

/// What a store can do that only takes requests.
pub trait Take: Send + Sync + 'static {
    /// As [`Store::submit`].
    fn submit(&self, request: TrackRequest, done: Done);
    /// Events taken so far.
    fn events(&self) -> u64;
    /// Why nothing is taken any more.
    fn failure(&self) -> Option<Arc<str>>;
    /// Finishes what was taken.
    ///
    /// # Errors
    /// If that is not possible.
    fn close(&self) -> Result<(), Error>;
}

/// A store that takes requests, and refuses everything else.
#[derive(Debug)]
pub struct OnlyTakes<T>(pub T);

fn refused() -> Error {
    Error::Closed { reason: "this server only takes requests".into() }
}

fn unread<T>() -> Result<T, ReadError> {
    Err(ReadError::Failed(refused()))
}

impl<T: Take> Store for OnlyTakes<T> {
    fn submit(&self, request: TrackRequest, done: Done) {
        self.0.submit(request, done);
    }

    fn status(&self) -> Status {
        let events = self.0.events();
        Status {
            position: events,
            checkpoint_position: 0,
            events,
            sessions: 0,
            fragments: 0,
            profiles: 0,
            overlay_bytes: 0,
            mailbox_requests: 0,
        }
    }

    fn failure(&self) -> Option<Arc<str>> {
        self.0.failure()
    }

    fn close(&self) -> Result<(), Error> {
        self.0.close()
    }

    fn act(&self, _: Act, _: bool) -> Result<ActReply, ActError> {
        Err(refused().into())
    }

    fn profile_as_of(&self, _: &str, _: AsOf) -> Result<Profile, ReadError> {
        unread()
    }

    fn profile_of_identifier(&self, _: &str, _: AsOf) -> Result<Profile, ReadError> {
        unread()
    }

    fn profile_events(&self, _: &str, _: &PageRequest) -> Result<Page<StoredEvent>, ReadError> {
        unread()
    }

    fn profile_sessions(&self, _: &str, _: &PageRequest) -> Result<Page<Session>, ReadError> {
        unread()
    }

    fn profile_links(&self, _: &str, _: &PageRequest) -> Result<Page<Link>, ReadError> {
        unread()
    }

    fn profile_history(&self, _: &str, _: &PageRequest) -> Result<Page<HistoryEntry>, ReadError> {
        unread()
    }

    fn quarantine(&self, _: &PageRequest) -> Result<Page<QuarantinedLink>, ReadError> {
        unread()
    }

    fn blocked(&self, _: &PageRequest) -> Result<Page<BlockedValue>, ReadError> {
        unread()
    }

    fn explain(&self, _: &str, _: &str) -> Result<Explanation, ReadError> {
        unread()
    }

    fn session(&self, _: &str) -> Result<Session, ReadError> {
        unread()
    }

    fn session_events(&self, _: &str, _: &PageRequest) -> Result<Page<StoredEvent>, ReadError> {
        unread()
    }

    fn events_after(&self, _: u64, _: usize) -> Result<Vec<StoredEvent>, Error> {
        Err(refused())
    }

    fn requests_after(&self, _: u64, _: usize) -> Result<Vec<(EventSeq, TrackRequest)>, Error> {
        Err(refused())
    }

    fn changes_after(&self, _: u64, _: usize) -> Result<Vec<Change>, Error> {
        Err(refused())
    }

    /// Nothing that it takes can be read.
    fn on_published(&self, _: Listener) {}

    fn check(&self) -> Result<CheckReport, Error> {
        Err(refused())
    }

    fn figures(&self) -> Figures {
        Figures::default()
    }
}

/// Sequence numbers, given out in order.
#[derive(Debug, Default)]
struct Numbers(AtomicU64);

impl Numbers {
    /// As many as `request` has events; returns the first.
    fn take(&self, request: &TrackRequest) -> u64 {
        self.0.fetch_add(request.events.len() as u64, Relaxed) + 1
    }

    fn last(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The answer to a request whose events have the numbers from `first` on: as long as that of the engine.
fn stored(request: TrackRequest, first: u64) -> Reply {
    let events = (first..).zip(request.events).map(|(seq, event)| EventReply {
        id: event.id.unwrap_or_default(),
        seq: EventSeq(seq),
        status: EventStatus::Stored,
        session: None,
        profile: None,
        links: Vec::new(),
        refused: Vec::new(),
        warnings: Vec::new(),
    });
    let id = request.profile.unwrap_or_else(|| PROFILE.to_owned());
    Reply {
        profile: Some(ProfileReply { primary_id: id.clone(), id, reason: Reason::Sent, created: false }),
        session: request.session.map(|id| SessionReply { id, created: false }),
        events: events.collect(),
        warnings: Vec::new(),
    }
}
