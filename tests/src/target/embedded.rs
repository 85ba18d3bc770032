//! The engine in this process, on a real disk, with a clock that the test moves.

use super::power::Switched;
use super::{Need, Target};
use spoor::model::{
    AsOf, BlockedValue, CheckReport, Explanation, HistoryEntry, Link, Page, PageRequest, Profile,
    QuarantinedLink, ReadError, Session, StoredEvent,
};
use spoor::{
    Act, ActError, ActReply, Engine, Environment, ManualClock, Rejection, Reply, Settings, Snapshot,
    Timestamp, TrackError, TrackRequest,
};
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;

/// How often opening is tried while the threads of a store that was taken away still hold its lock.
const OPENING_MAX_TRIES: u32 = 200;

/// An engine with a directory of its own.
#[derive(Debug)]
pub struct Embedded {
    directory: TempDir,
    settings: Settings,
    clock: Arc<ManualClock>,
    disk: Switched,
    engine: Option<Engine>,
    /// Grows with each opening, so that no two openings draw the same ids.
    seed: u64,
}

impl Embedded {
    /// One with an empty store.
    #[must_use]
    pub fn make(settings: &Settings, now: Timestamp) -> Box<dyn Target> {
        Box::new(Self::new(settings, now))
    }

    /// One with an empty store, as itself.
    #[must_use]
    pub fn new(settings: &Settings, now: Timestamp) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let clock = Arc::new(ManualClock::new(now));
        let mut new = Self {
            directory,
            settings: settings.clone(),
            clock,
            disk: Switched::new(),
            engine: None,
            seed: 0,
        };
        new.open();
        new
    }

    fn open(&mut self) {
        self.seed += 1;
        self.disk = Switched::new();
        for attempt in 1.. {
            let environment = Environment {
                disk: Arc::new(self.disk.clone()),
                clock: self.clock.clone(),
                seed: Some(self.seed),
            };
            match Engine::open_with(self.directory.path(), self.settings.clone(), environment) {
                Ok(engine) => {
                    self.engine = Some(engine);
                    return;
                }
                Err(spoor::Error::Locked { .. }) if attempt < OPENING_MAX_TRIES => {
                    std::thread::sleep(std::time::Duration::from_millis(10));
                }
                Err(error) => panic!("opening: {error}"),
            }
        }
    }

    /// The engine, for what the trait does not offer.
    ///
    /// # Panics
    /// Never between two calls.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("open between calls")
    }

    /// Opens the store if it is not open.
    pub fn open_if_closed(&mut self) {
        if self.engine.is_none() {
            self.open();
        }
    }

    /// From here on nothing reaches the disk.
    pub fn switch_off(&self) {
        self.disk.switch_off();
    }

    /// The data directory.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Lets go of the engine, without closing it where somebody else holds it too.
    pub fn let_go(&mut self) {
        self.engine = None;
    }

    fn snapshot(&self) -> Snapshot {
        self.engine().snapshot().expect("a snapshot")
    }
}

impl Target for Embedded {
    fn name(&self) -> &'static str {
        "embedded"
    }

    fn lacks(&self, need: Need) -> bool {
        need == Need::Wire
    }

    fn track(&mut self, request: &TrackRequest) -> Result<Reply, Rejection> {
        match self.engine().track(request.clone()) {
            Ok(reply) => Ok(reply),
            Err(TrackError::Rejected(rejection)) => Err(rejection),
            Err(TrackError::Failed(error)) => panic!("tracking: {error}"),
        }
    }

    fn send(&mut self, _: &str, _: &str) -> (u16, String) {
        panic!("the engine has no network")
    }

    fn set_clock(&mut self, now: Timestamp) {
        self.clock.set(now);
        self.engine().tick().expect("ending sessions");
    }

    fn reopen(&mut self) {
        self.engine().close().expect("closing");
        self.engine = None;
        self.open();
    }

    fn crash(&mut self) {
        self.switch_off();
        self.let_go();
        self.open();
    }

    fn check(&mut self) -> Option<CheckReport> {
        let mut report = self.engine().check().expect("checking");
        // The rules and settings are those that wrote the log, so every decision must come out the same.
        if let Some(seq) = self.engine().decide_again().expect("deciding again") {
            report.faults.push(format!("decided again, position {} comes out differently", seq.0));
        }
        Some(report)
    }

    fn profile(&mut self, id: &str) -> Result<Profile, ReadError> {
        self.snapshot().profile(id)
    }

    fn profile_events(&mut self, id: &str, page: &PageRequest) -> Result<Page<StoredEvent>, ReadError> {
        self.snapshot().profile_events(id, page)
    }

    fn profile_sessions(&mut self, id: &str, page: &PageRequest) -> Result<Page<Session>, ReadError> {
        self.snapshot().profile_sessions(id, page)
    }

    fn session(&mut self, id: &str) -> Result<Session, ReadError> {
        self.snapshot().session(id)
    }

    fn session_events(&mut self, id: &str, page: &PageRequest) -> Result<Page<StoredEvent>, ReadError> {
        self.snapshot().session_events(id, page)
    }

    fn act(&mut self, act: &Act, dry_run: bool) -> Result<ActReply, ActError> {
        self.engine().act(act.clone(), dry_run)
    }

    fn profile_as_of(&mut self, id: &str, as_of: AsOf) -> Result<Profile, ReadError> {
        self.snapshot().profile_as_of(id, as_of)
    }

    fn profile_of_identifier(&mut self, identifier: &str, as_of: AsOf) -> Result<Profile, ReadError> {
        self.snapshot().profile_of_identifier(identifier, as_of)
    }

    fn profile_links(&mut self, id: &str, page: &PageRequest) -> Result<Page<Link>, ReadError> {
        self.snapshot().profile_links(id, page)
    }

    fn profile_history(&mut self, id: &str, page: &PageRequest) -> Result<Page<HistoryEntry>, ReadError> {
        self.snapshot().profile_history(id, page)
    }

    fn quarantine(&mut self, page: &PageRequest) -> Result<Page<QuarantinedLink>, ReadError> {
        self.snapshot().quarantine(page)
    }

    fn blocked(&mut self, page: &PageRequest) -> Result<Page<BlockedValue>, ReadError> {
        self.snapshot().blocked(page)
    }

    fn explain(&mut self, from: &str, to: &str) -> Result<Explanation, ReadError> {
        self.snapshot().explain(from, to)
    }
}
