//! A session as the sum of its parts, and sessions that the server makes from the gaps between events.

use super::apply::missing;
use super::numbers::Numbers;
use super::rows::{GapKey, SessionRow};
use super::view::View;
use crate::error::Error;
use crate::ids::{FragmentNo, PartNo, SessionNo, SourceNo};
use crate::time::Timestamp;
use std::sync::Arc;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// The row of a session that must be there, and its number, after following aliases.
///
/// # Errors
/// [`Error`] if it could not be read.
pub fn session_row<V: View>(view: &V, session: SessionNo) -> Result<(SessionNo, Arc<SessionRow>), Error> {
    let mut at = session;
    loop {
        let row = view.sessions(&at)?.ok_or_else(|| missing("session"))?;
        match row.alias_of {
            Some(kept) => at = kept,
            None => return Ok((at, row)),
        }
    }
}

/// All parts of a session: the first that it had, then the others in order of number, whenever they came to it.
///
/// # Errors
/// [`Error`] if the list could not be read.
pub fn parts_of<V: View>(view: &V, session: SessionNo, row: &SessionRow) -> Result<Vec<PartNo>, Error> {
    let mut parts = vec![row.first.part];
    if row.parts > 1 {
        parts.extend(view.session_parts(session)?);
    }
    Ok(parts)
}

/// The part of a session that belongs to a fragment, or to none.
///
/// # Errors
/// [`Error`] if it could not be read.
pub fn part_for<V: View>(
    view: &V,
    session: SessionNo,
    row: &SessionRow,
    fragment: Option<FragmentNo>,
) -> Result<Option<PartNo>, Error> {
    if row.first.fragment == fragment {
        return Ok(Some(row.first.part));
    }
    if row.parts == 1 {
        return Ok(None);
    }
    Ok(view.part_keys(&(session, fragment.unwrap_or_default()))?.map(|part| *part))
}

/// Sums a session's parts.
///
/// # Errors
/// [`Error`] if a part could not be read.
pub fn numbers_of<V: View>(view: &V, session: SessionNo, row: &SessionRow) -> Result<Numbers, Error> {
    let mut numbers = Numbers::default();
    for part in parts_of(view, session, row)? {
        numbers.add(&view.parts(&part)?.ok_or_else(|| missing("part"))?.numbers);
    }
    Ok(numbers)
}

/// Day since 1970 of an event time.
#[must_use]
pub fn day_of(time: Timestamp) -> u32 {
    u32::try_from(time.millis().div_euclid(DAY_MS)).unwrap_or(0)
}

/// Sessions by inactivity of a fragment in a source that an event at `time` belongs to: those that it is
/// no further from than the timeout. Oldest first.
///
/// # Errors
/// [`Error`] if a row could not be read.
pub fn sessions_near<V: View>(
    view: &V,
    fragment: FragmentNo,
    source: SourceNo,
    time: Timestamp,
    timeout_ms: i64,
) -> Result<Vec<SessionNo>, Error> {
    let mut near = Vec::new();
    let from = day_of(Timestamp::from_millis((time.millis() - timeout_ms).max(0)));
    let to = day_of(Timestamp::from_millis(time.millis() + timeout_ms));
    for day in from..=to {
        let Some(gap) = view.gaps(&GapKey { fragment, source, day })? else { continue };
        for session in &gap.0 {
            let (session, row) = session_row(view, *session)?;
            let numbers = numbers_of(view, session, &row)?;
            let (Some(start), Some(last)) = (numbers.start, numbers.last) else { continue };
            let reaches = time.millis() >= start.time.millis() - timeout_ms
                && time.millis() <= last.time.millis() + timeout_ms;
            if reaches && !near.contains(&session) {
                near.push(session);
            }
        }
    }
    near.sort_unstable();
    Ok(near)
}
