//! Parses and answers, and stores nothing: what HTTP and JSON alone cost on this machine.

use super::{Numbers, Take, stored};
use spoor::{Error, TrackRequest};
use spoor_server::store::Done;
use std::sync::Arc;

/// Says of everything that it is stored.
#[derive(Debug, Default)]
pub struct ParseOnly(Numbers);

impl Take for ParseOnly {
    fn submit(&self, request: TrackRequest, done: Done) {
        let first = self.0.take(&request);
        done(Ok(Box::new(move || stored(request, first))));
    }

    fn events(&self) -> u64 {
        self.0.last()
    }

    fn failure(&self) -> Option<Arc<str>> {
        None
    }

    fn close(&self) -> Result<(), Error> {
        Ok(())
    }
}
