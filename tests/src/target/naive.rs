//! The model as a target: it keeps what it has been told, whatever happens to others.

use super::{Need, Target};
use crate::model::Model;
use spoor::model::{
    AsOf, BlockedValue, CheckReport, Explanation, HistoryEntry, Link, Page, PageRequest, Profile,
    QuarantinedLink, ReadError, Session, StoredEvent,
};
use spoor::{Act, ActError, ActReply, Rejection, Reply, Settings, Timestamp, TrackRequest};

/// The naive model and the time.
#[derive(Debug)]
pub struct Naive {
    model: Model,
    now: Timestamp,
}

impl Naive {
    /// An empty one.
    #[must_use]
    pub fn make(settings: &Settings, now: Timestamp) -> Box<dyn Target> {
        Box::new(Self { model: Model::new(settings.clone()), now })
    }
}

impl Target for Naive {
    fn name(&self) -> &'static str {
        "model"
    }

    fn lacks(&self, need: Need) -> bool {
        need == Need::Wire
    }

    fn track(&mut self, request: &TrackRequest) -> Result<Reply, Rejection> {
        self.model.track(request, self.now)
    }

    fn send(&mut self, _: &str, _: &str) -> (u16, String) {
        panic!("the model has no network")
    }

    fn set_clock(&mut self, now: Timestamp) {
        self.now = now;
        self.model.tick(now);
    }

    fn reopen(&mut self) {}

    fn crash(&mut self) {}

    fn check(&mut self) -> Option<CheckReport> {
        None
    }

    fn profile(&mut self, id: &str) -> Result<Profile, ReadError> {
        self.model.profile(id)
    }

    fn profile_events(&mut self, id: &str, page: &PageRequest) -> Result<Page<StoredEvent>, ReadError> {
        self.model.profile_events(id, page)
    }

    fn profile_sessions(&mut self, id: &str, page: &PageRequest) -> Result<Page<Session>, ReadError> {
        self.model.profile_sessions(id, page)
    }

    fn session(&mut self, id: &str) -> Result<Session, ReadError> {
        self.model.session(id)
    }

    fn session_events(&mut self, id: &str, page: &PageRequest) -> Result<Page<StoredEvent>, ReadError> {
        self.model.session_events(id, page)
    }

    fn act(&mut self, act: &Act, dry_run: bool) -> Result<ActReply, ActError> {
        self.model.act(act, dry_run, self.now)
    }

    fn profile_as_of(&mut self, id: &str, as_of: AsOf) -> Result<Profile, ReadError> {
        self.model.profile_as_of(id, as_of)
    }

    fn profile_of_identifier(&mut self, identifier: &str, as_of: AsOf) -> Result<Profile, ReadError> {
        self.model.profile_of_identifier(identifier, as_of)
    }

    fn profile_links(&mut self, id: &str, page: &PageRequest) -> Result<Page<Link>, ReadError> {
        self.model.profile_links(id, page)
    }

    fn profile_history(&mut self, id: &str, page: &PageRequest) -> Result<Page<HistoryEntry>, ReadError> {
        self.model.profile_history(id, page)
    }

    fn quarantine(&mut self, page: &PageRequest) -> Result<Page<QuarantinedLink>, ReadError> {
        self.model.quarantine(page)
    }

    fn blocked(&mut self, page: &PageRequest) -> Result<Page<BlockedValue>, ReadError> {
        self.model.blocked_values(page)
    }

    fn explain(&mut self, from: &str, to: &str) -> Result<Explanation, ReadError> {
        self.model.explain(from, to)
    }
}
