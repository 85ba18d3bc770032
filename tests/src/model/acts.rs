//! What a person does to who is who.

use super::Model;
use spoor::{Act, ActError, ActReply, Rejection, Timestamp};

impl Model {
    /// Does an act that was received at `received`, or with `dry_run` says what it would do.
    ///
    /// # Errors
    /// Why not; nothing was changed then.
    pub fn act(&mut self, act: &Act, dry_run: bool, received: Timestamp) -> Result<ActReply, ActError> {
        let _ = (act, dry_run, received);
        Err(ActError::NotFound(Rejection::new("merge_unknown", "merge", "the model says no")))
    }
}
