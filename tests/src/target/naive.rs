//! The model as a target: it keeps what it has been told, whatever happens to others.

use super::{Need, Target};
use crate::model::Model;
use spoor::model::{CheckReport, Page, PageRequest, Profile, ReadError, Session, StoredEvent};
use spoor::{Rejection, Reply, Settings, Timestamp, TrackRequest};

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
}
