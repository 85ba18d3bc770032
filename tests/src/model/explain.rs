//! Questions about who is who.

use super::Model;
use spoor::model::{
    AsOf, Explanation, HistoryEntry, Link, Page, PageRequest, Profile, QuarantinedLink, ReadError,
};

impl Model {
    /// The profile that an id finds, as of a past.
    ///
    /// # Errors
    /// As [`Model::profile`].
    pub fn profile_as_of(&self, id: &str, as_of: AsOf) -> Result<Profile, ReadError> {
        let _ = as_of;
        self.profile(id)
    }

    /// The profile that has an identifier.
    ///
    /// # Errors
    /// As [`Model::profile`].
    pub fn profile_of_identifier(&self, identifier: &str, as_of: AsOf) -> Result<Profile, ReadError> {
        let _ = (identifier, as_of);
        Err(ReadError::NotFound)
    }

    /// The links of a profile, newest first.
    ///
    /// # Errors
    /// As [`Model::profile`].
    pub fn profile_links(&self, id: &str, page: &PageRequest) -> Result<Page<Link>, ReadError> {
        let _ = (id, page);
        Err(ReadError::NotFound)
    }

    /// What happened to who a profile is, newest first.
    ///
    /// # Errors
    /// As [`Model::profile`].
    pub fn profile_history(&self, id: &str, page: &PageRequest) -> Result<Page<HistoryEntry>, ReadError> {
        let _ = (id, page);
        Err(ReadError::NotFound)
    }

    /// The links that wait for a decision, newest first.
    ///
    /// # Errors
    /// As [`Model::profile`].
    pub fn quarantine(&self, page: &PageRequest) -> Result<Page<QuarantinedLink>, ReadError> {
        let _ = page;
        Err(ReadError::NotFound)
    }

    /// How two ids are joined.
    ///
    /// # Errors
    /// As [`Model::profile`].
    pub fn explain(&self, from: &str, to: &str) -> Result<Explanation, ReadError> {
        let _ = (from, to);
        Err(ReadError::NotFound)
    }
}
