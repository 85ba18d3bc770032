//! Sessions end by silence: what depends on time passing is decided here and enters the log as effects.

use super::decision::Effect;
use super::session::numbers_of;
use super::view::View;
use crate::error::Error;
use crate::ids::SessionNo;
use crate::time::Timestamp;

/// What is to be done about a session whose time to be looked at has come.
#[derive(Debug, Clone, PartialEq)]
pub enum Silence {
    /// It ends.
    Ends(Effect),
    /// It was heard of since: look again at that millisecond since 1970.
    LookAgain(u64),
    /// Nothing: it has ended, or is an alias of another.
    Nothing,
}

/// Looks at a session at `now`. Its silence is counted by receive time, so that history that is imported
/// does not end and begin again with every event.
///
/// # Errors
/// [`Error`] if the store could not be read.
pub fn look_at<V: View>(view: &V, session: SessionNo, now: Timestamp) -> Result<Silence, Error> {
    let Some(row) = view.sessions(&session)? else { return Ok(Silence::Nothing) };
    if row.alias_of.is_some() {
        return Ok(Silence::Nothing);
    }
    let numbers = numbers_of(view, session, &row)?;
    let Some(last) = numbers.last.filter(|_| numbers.ended_at(row.silent_at).is_none()) else {
        return Ok(Silence::Nothing);
    };
    let due_ms = numbers.received_last.millis().saturating_add(i64::from(numbers.timeout_ms));
    if due_ms <= now.millis() {
        return Ok(Silence::Ends(Effect::Ended { session, at: last.time }));
    }
    Ok(Silence::LookAgain(u64::try_from(due_ms).unwrap_or(0)))
}
