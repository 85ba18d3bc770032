//! Numbers of names that callers' threads have looked up before. A name keeps its number for ever, so what is
//! known once is known, and the writer need not look it up again.

use super::rows::{NameKey, NameKind};
use super::view::View;
use crate::error::Error;
use crate::ids::SessionNo;
use crate::limits::NAMES_AT_HAND_MAX;
use hashbrown::HashMap;
use parking_lot::RwLock;

/// Names at hand, by kind. Only names that are published may be kept.
#[derive(Debug, Default)]
pub struct Names([RwLock<HashMap<Box<str>, u32>>; NameKind::ALL.len()]);

impl Names {
    /// The number of a name, if it has one by now.
    ///
    /// # Errors
    /// [`Error`] if the store could not be read.
    pub fn number<V: View>(&self, view: &V, kind: NameKind, text: &str) -> Result<Option<u32>, Error> {
        let Some(of_kind) = self.0.get(kind.index()) else { return Ok(None) };
        if let Some(no) = of_kind.read().get(text) {
            return Ok(Some(*no));
        }
        let Some(row) = view.names(&NameKey { kind, text: text.into() })? else { return Ok(None) };
        let mut of_kind = of_kind.write();
        if of_kind.len() < NAMES_AT_HAND_MAX {
            of_kind.insert(text.into(), row.no);
        }
        Ok(Some(row.no))
    }
}

/// The numbers of the names in one request, as far as they were known before it queued. None of them ever
/// changes once it is given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownNames {
    /// Of its source.
    pub source: Option<u32>,
    /// Of its id space.
    pub space: Option<u32>,
    /// Of its user agent.
    pub agent: Option<u32>,
    /// Of the types of its events.
    pub event_types: Vec<Option<u32>>,
    /// Of its session's id; that session may have become an alias of another.
    pub session: Option<SessionNo>,
}
