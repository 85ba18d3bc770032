//! What is counted of a session: sums, and extremes of the order of event time, so that the numbers are right
//! whatever the order of arrival, and parts can be added up.

use super::decimal::Decimal;
use super::decision::EventEffect;
use super::rows::Mark;
use crate::ids::AgentNo;
use crate::time::Timestamp;
use bincode::{Decode, Encode};

/// What is counted of some events of one session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Numbers {
    /// Silence after which the session ends, in milliseconds, as set when the part was opened; of several the longest.
    pub timeout_ms: u32,
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
}

impl Numbers {
    /// Adds an event. Right whatever the order of arrival: sums, and extremes of the order of event time.
    pub fn add_event(&mut self, event: &EventEffect, mark: Mark, stamp: Timestamp) {
        let earlier = |kept: Option<Mark>| kept.is_none_or(|kept| mark < kept);
        let later = |kept: Option<Mark>| kept.is_none_or(|kept| mark > kept);
        self.events += 1;
        if earlier(self.start) {
            self.start = Some(mark);
            self.agent = event.agent;
        }
        if later(self.last) {
            self.last = Some(mark);
        }
        if event.has(EventEffect::PAGE_VIEW) {
            self.page_views += 1;
            if earlier(self.entry) {
                self.entry = Some(mark);
            }
            if later(self.exit) {
                self.exit = Some(mark);
            }
        }
        if event.has(EventEffect::CONVERSION) {
            self.conversions += 1;
            if let Some(value) = event.value {
                self.value = Some(self.value.unwrap_or_default().saturating_add(value));
            }
        }
        if event.has(EventEffect::SESSION_END) && later(self.end) {
            self.end = Some(mark);
        }
        self.received_last = self.received_last.max(stamp);
    }

    /// Adds those of other events of the session.
    pub fn add(&mut self, other: &Self) {
        self.events += other.events;
        self.page_views += other.page_views;
        self.conversions += other.conversions;
        if let Some(value) = other.value {
            self.value = Some(self.value.unwrap_or_default().saturating_add(value));
        }
        if earlier(other.start, self.start) {
            self.start = other.start;
            self.agent = other.agent;
        }
        if earlier(other.entry, self.entry) {
            self.entry = other.entry;
        }
        self.last = self.last.max(other.last);
        self.exit = self.exit.max(other.exit);
        self.end = self.end.max(other.end);
        self.received_last = self.received_last.max(other.received_last);
        self.timeout_ms = self.timeout_ms.max(other.timeout_ms);
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
