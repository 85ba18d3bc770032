//! Links that expire: those that nobody said again in time.

use super::resolve::{Moment, Verdict};
use super::{Identifier, LinkTo, Model, State};
use spoor::Timestamp;

impl Model {
    fn has_expired(&self, identifier: &Identifier, last_seen: Timestamp, now: Timestamp) -> bool {
        let settings = self.settings.identifiers.get(&identifier.namespace);
        let after = settings.and_then(|settings| settings.expires_after_ms);
        after.is_some_and(|after| last_seen.millis() + i64::try_from(after).expect("a time") <= now.millis())
    }

    /// Whether what is said now is of so long ago that it says nothing any more.
    pub(super) fn says_too_late(&self, identifier: &Identifier, moment: Moment<'_>) -> bool {
        self.has_expired(identifier, moment.time, moment.stamp)
    }

    /// What becomes of it.
    pub(super) fn said_too_late(&self, fragment: usize, identifier: &Identifier) -> Verdict {
        match self.link_row(fragment, identifier) {
            Some(row) if self.links[row].state == State::Holds => Verdict::KnownStill,
            _ => Verdict::Refuse("expired"),
        }
    }

    /// Takes away what has expired.
    pub(super) fn expire(&mut self, now: Timestamp) {
        let mut due: Vec<(usize, Identifier, usize)> = Vec::new();
        for (row, link) in self.links.iter().enumerate() {
            if let LinkTo::Identifier(identifier) = &link.to
                && link.state == State::Holds
                && self.has_expired(identifier, link.last_seen, now)
            {
                due.push((link.fragment, identifier.clone(), row));
            }
        }
        if due.is_empty() {
            return;
        }
        due.sort_by(|one, other| (one.0, &one.1.value).cmp(&(other.0, &other.1.value)));
        self.sequence += 1;
        let stamp = self.stamp(now);
        for (fragment, identifier, row) in due {
            self.links[row].state = State::Expired;
            self.note(stamp, "expired", fragment, |row| row.identifier = Some(identifier.to_string()));
        }
        self.note_carriers();
    }
}
