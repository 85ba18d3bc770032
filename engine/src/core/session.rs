//! A session as the sum of its parts, and sessions that the server makes from the gaps between events.

use super::apply::missing;
use super::decimal::Decimal;
use super::rows::{GapKey, Mark, PartRow, SessionRow};
use super::view::View;
use crate::error::Error;
use crate::ids::{AgentNo, FragmentNo, PartNo, SessionNo, SourceNo};
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

/// All parts of a session, in the order in which they were added.
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

/// What is known of a session or of some of its parts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionNumbers {
    /// Events.
    pub events: u64,
    /// Page views.
    pub page_views: u64,
    /// Conversions.
    pub conversions: u64,
    /// Sum of the values of conversions, if one had a value.
    pub value: Option<Decimal>,
    /// First event by event time.
    pub start: Option<Mark>,
    /// Last event by event time.
    pub last: Option<Mark>,
    /// First page view by event time.
    pub entry: Option<Mark>,
    /// Last page view by event time.
    pub exit: Option<Mark>,
    /// Last `session-end` by event time.
    pub end: Option<Mark>,
    /// User agent of the first event, or number 0.
    pub agent: AgentNo,
    /// When the latest arrival was received.
    pub received_last: Timestamp,
    /// Longest timeout of its parts, in milliseconds.
    pub timeout_ms: u32,
}

impl SessionNumbers {
    /// Adds a part.
    pub fn add(&mut self, part: &PartRow) {
        self.events += part.events;
        self.page_views += part.page_views;
        self.conversions += part.conversions;
        if let Some(value) = part.value {
            self.value = Some(self.value.unwrap_or_default().saturating_add(value));
        }
        if earlier(part.start, self.start) {
            self.start = part.start;
            self.agent = part.agent;
        }
        if earlier(part.entry, self.entry) {
            self.entry = part.entry;
        }
        self.last = self.last.max(part.last);
        self.exit = self.exit.max(part.exit);
        self.end = self.end.max(part.end);
        self.received_last = self.received_last.max(part.received_last);
        self.timeout_ms = self.timeout_ms.max(part.timeout_ms);
    }

    /// When the session ended, if it has: at its `session-end` if no event is later, or at the event after
    /// which it fell silent (`silent_at`) if none is later.
    #[must_use]
    pub fn ended_at(&self, silent_at: Option<Timestamp>) -> Option<Timestamp> {
        let last = self.last?;
        let said = self.end.map(|end| end.time).filter(|end| *end >= last.time);
        said.or_else(|| silent_at.filter(|silent| last.time <= *silent))
    }
}

fn earlier(one: Option<Mark>, other: Option<Mark>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one < other,
        (one, None) => one.is_some(),
        (None, Some(_)) => false,
    }
}

/// Sums a session's parts.
///
/// # Errors
/// [`Error`] if a part could not be read.
pub fn numbers_of<V: View>(view: &V, session: SessionNo, row: &SessionRow) -> Result<SessionNumbers, Error> {
    let mut numbers = SessionNumbers::default();
    for part in parts_of(view, session, row)? {
        numbers.add(&*view.parts(&part)?.ok_or_else(|| missing("part"))?);
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
