//! What the server asks of the engine, as a trait: so that routes and commands can be tried with a store that is
//! full, closed or broken, which a sound engine is only by bad luck.

use spoor::change::Change;
use spoor::model::{
    AsOf, BlockedValue, CheckReport, Explanation, Figures, HistoryEntry, Link, Page, PageRequest, Profile,
    QuarantinedLink, ReadError, Session, Status, StoredEvent,
};
use spoor::{Act, ActError, ActReply, Engine, Error, EventSeq, Reply, TrackError, TrackRequest};
use std::sync::Arc;

/// Makes the reply to a request that is stored. Costs more than a thread that only passes it on should spend.
pub type LazyReply = Box<dyn FnOnce() -> Reply + Send>;

/// What is called once the fate of a request is known; quick, since the writer waits for it.
pub type Done = Box<dyn FnOnce(Result<LazyReply, TrackError>) + Send>;

/// Told of each new position that readers see; false once it wants to hear no more. Quick: the store waits for it.
pub type Listener = Box<dyn Fn(EventSeq) -> bool + Send + Sync>;

/// See [`Engine`] and [`spoor::Snapshot`] for what each call means.
#[expect(missing_docs, reason = "each is the call of the engine with its name, on a snapshot of the present")]
#[expect(clippy::missing_errors_doc, reason = "the same")]
pub trait Store: Send + Sync + 'static {
    fn submit(&self, request: TrackRequest, done: Done);
    fn act(&self, act: Act, dry_run: bool) -> Result<ActReply, ActError>;
    fn profile_as_of(&self, id: &str, as_of: AsOf) -> Result<Profile, ReadError>;
    fn profile_of_identifier(&self, identifier: &str, as_of: AsOf) -> Result<Profile, ReadError>;
    fn profile_events(&self, id: &str, page: &PageRequest) -> Result<Page<StoredEvent>, ReadError>;
    fn profile_sessions(&self, id: &str, page: &PageRequest) -> Result<Page<Session>, ReadError>;
    fn profile_links(&self, id: &str, page: &PageRequest) -> Result<Page<Link>, ReadError>;
    fn profile_history(&self, id: &str, page: &PageRequest) -> Result<Page<HistoryEntry>, ReadError>;
    fn quarantine(&self, page: &PageRequest) -> Result<Page<QuarantinedLink>, ReadError>;
    fn blocked(&self, page: &PageRequest) -> Result<Page<BlockedValue>, ReadError>;
    fn explain(&self, from: &str, to: &str) -> Result<Explanation, ReadError>;
    fn session(&self, id: &str) -> Result<Session, ReadError>;
    fn session_events(&self, id: &str, page: &PageRequest) -> Result<Page<StoredEvent>, ReadError>;
    fn events_after(&self, after: u64, limit: usize) -> Result<Vec<StoredEvent>, Error>;
    fn requests_after(&self, after: u64, limit: usize) -> Result<Vec<(EventSeq, TrackRequest)>, Error>;
    fn changes_after(&self, after: u64, limit: usize) -> Result<Vec<Change>, Error>;
    fn on_published(&self, listener: Listener);
    fn check(&self) -> Result<CheckReport, Error>;
    fn figures(&self) -> Figures;
    fn status(&self) -> Status;
    fn failure(&self) -> Option<Arc<str>>;
    fn close(&self) -> Result<(), Error>;
}

impl Store for Engine {
    fn submit(&self, request: TrackRequest, done: Done) {
        Self::submit(self, request, |answer| {
            done(answer.map(|answer| -> LazyReply { Box::new(move || answer.reply()) }));
        });
    }

    fn act(&self, act: Act, dry_run: bool) -> Result<ActReply, ActError> {
        Self::act(self, act, dry_run)
    }

    fn profile_as_of(&self, id: &str, as_of: AsOf) -> Result<Profile, ReadError> {
        self.snapshot()?.profile_as_of(id, as_of)
    }

    fn profile_of_identifier(&self, identifier: &str, as_of: AsOf) -> Result<Profile, ReadError> {
        self.snapshot()?.profile_of_identifier(identifier, as_of)
    }

    fn profile_events(&self, id: &str, page: &PageRequest) -> Result<Page<StoredEvent>, ReadError> {
        self.snapshot()?.profile_events(id, page)
    }

    fn profile_sessions(&self, id: &str, page: &PageRequest) -> Result<Page<Session>, ReadError> {
        self.snapshot()?.profile_sessions(id, page)
    }

    fn profile_links(&self, id: &str, page: &PageRequest) -> Result<Page<Link>, ReadError> {
        self.snapshot()?.profile_links(id, page)
    }

    fn profile_history(&self, id: &str, page: &PageRequest) -> Result<Page<HistoryEntry>, ReadError> {
        self.snapshot()?.profile_history(id, page)
    }

    fn quarantine(&self, page: &PageRequest) -> Result<Page<QuarantinedLink>, ReadError> {
        self.snapshot()?.quarantine(page)
    }

    fn blocked(&self, page: &PageRequest) -> Result<Page<BlockedValue>, ReadError> {
        self.snapshot()?.blocked(page)
    }

    fn explain(&self, from: &str, to: &str) -> Result<Explanation, ReadError> {
        self.snapshot()?.explain(from, to)
    }

    fn session(&self, id: &str) -> Result<Session, ReadError> {
        self.snapshot()?.session(id)
    }

    fn session_events(&self, id: &str, page: &PageRequest) -> Result<Page<StoredEvent>, ReadError> {
        self.snapshot()?.session_events(id, page)
    }

    fn events_after(&self, after: u64, limit: usize) -> Result<Vec<StoredEvent>, Error> {
        self.snapshot()?.events_after(after, limit)
    }

    fn requests_after(&self, after: u64, limit: usize) -> Result<Vec<(EventSeq, TrackRequest)>, Error> {
        self.snapshot()?.requests_after(after, limit)
    }

    fn changes_after(&self, after: u64, limit: usize) -> Result<Vec<Change>, Error> {
        self.snapshot()?.changes_after(after, limit)
    }

    fn on_published(&self, listener: Listener) {
        Self::on_published(self, listener);
    }

    fn check(&self) -> Result<CheckReport, Error> {
        Self::check(self)
    }

    fn figures(&self) -> Figures {
        Self::figures(self)
    }

    fn status(&self) -> Status {
        Self::status(self)
    }

    fn failure(&self) -> Option<Arc<str>> {
        Self::failure(self)
    }

    fn close(&self) -> Result<(), Error> {
        Self::close(self)
    }
}
