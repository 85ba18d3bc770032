//! Who is who: links, history, quarantine, explanations.

use super::Snapshot;
use crate::model::{
    AsOf, Explanation, HistoryEntry, Link, Page, PageRequest, Profile, QuarantinedLink, ReadError,
};

impl Snapshot {
    /// The profile that an id finds, as of a past.
    ///
    /// # Errors
    /// As [`Snapshot::profile`]; [`ReadError::Rejected`] with `at_before_beginning`.
    pub fn profile_as_of(&self, id: &str, as_of: AsOf) -> Result<Profile, ReadError> {
        let _ = as_of;
        self.profile(id)
    }

    /// The profile that has an identifier, `namespace:value`.
    ///
    /// # Errors
    /// As [`Snapshot::profile_as_of`]; [`ReadError::Rejected`] for an identifier that cannot be one.
    pub fn profile_of_identifier(&self, identifier: &str, as_of: AsOf) -> Result<Profile, ReadError> {
        let _ = (identifier, as_of);
        Err(ReadError::NotFound)
    }

    /// The links of a profile's fragments, newest first.
    ///
    /// # Errors
    /// As [`Snapshot::profile_events`].
    pub fn profile_links(&self, id: &str, request: &PageRequest) -> Result<Page<Link>, ReadError> {
        let _ = (id, request);
        Err(ReadError::NotFound)
    }

    /// What happened to who a profile is, newest first.
    ///
    /// # Errors
    /// As [`Snapshot::profile_events`].
    pub fn profile_history(&self, id: &str, request: &PageRequest) -> Result<Page<HistoryEntry>, ReadError> {
        let _ = (id, request);
        Err(ReadError::NotFound)
    }

    /// The links that wait for a decision, newest first.
    ///
    /// # Errors
    /// As [`Snapshot::profile_events`].
    pub fn quarantine(&self, request: &PageRequest) -> Result<Page<QuarantinedLink>, ReadError> {
        let _ = request;
        Err(ReadError::NotFound)
    }

    /// How two ids are joined, and what would part them.
    ///
    /// # Errors
    /// As [`Snapshot::profile`].
    pub fn explain(&self, from: &str, to: &str) -> Result<Explanation, ReadError> {
        let _ = (from, to);
        Err(ReadError::NotFound)
    }
}
