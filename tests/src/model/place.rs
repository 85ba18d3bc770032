//! Sessions as they are kept: made by silence, bridged, ended and opened again.

use super::{Input, Model, Place, SessionRow};
use spoor::Timestamp;
use spoor::settings::SourceSettings;

/// The event type by which a client ends its session.
const SESSION_END: &str = "session-end";

impl Model {
    /// The session by inactivity that an event of a fragment belongs to, and whether it was made for it.
    ///
    /// 1. no session of this source and fragment has an event nearer than the timeout: a new one;
    /// 2. one has: the event joins it, before, between or after its events;
    /// 3. two have: the event bridges them; the one made first stays, the other becomes its alias.
    pub(super) fn place_by_inactivity(
        &mut self,
        source: &str,
        fragment: usize,
        time: Timestamp,
        stamp: Timestamp,
    ) -> (usize, bool) {
        let timeout_us = timeout_us(self.source(source));
        let near = |row: usize| {
            self.events_of_session(row).iter().any(|event| (event.time.0 - time.0).abs() < timeout_us)
        };
        let mut candidates: Vec<usize> = (0..self.sessions.len())
            .filter(|&row| {
                let session = &self.sessions[row];
                session.by_inactivity_of == Some(fragment)
                    && session.source == source
                    && session.alias_of.is_none()
                    && near(row)
            })
            .collect();
        if candidates.is_empty() {
            let id = self.draw("session");
            let mut row = SessionRow::new(self.space(source), id, source.to_owned(), stamp);
            row.by_inactivity_of = Some(fragment);
            row.parts.push(fragment);
            row.current = Some(fragment);
            self.sessions.push(row);
            return (self.sessions.len() - 1, true);
        }
        let stays = candidates.remove(0);
        for other in candidates {
            self.bridge(stays, other);
        }
        (stays, false)
    }

    fn bridge(&mut self, stays: usize, goes: usize) {
        for event in &mut self.events {
            if event.place == Place::Session(goes) {
                event.place = Place::Session(stays);
            }
        }
        let (last_receipt, ended_at) = (self.sessions[goes].last_receipt, self.sessions[goes].ended_at);
        self.sessions[goes].alias_of = Some(stays);
        let last = self.events_of_session(stays).last().map(|event| event.time);
        let session = &mut self.sessions[stays];
        session.last_receipt = session.last_receipt.max(last_receipt);
        session.ended_at = session.ended_at.max(ended_at).filter(|end| last.is_none_or(|last| last <= *end));
    }

    /// What an event that was just stored does to the end of its session.
    pub(super) fn note_event(&mut self, row: usize, event_type: &str, time: Timestamp, stamp: Timestamp) {
        let later = self.events_of_session(row).iter().any(|event| event.time > time);
        let session = &mut self.sessions[row];
        session.last_receipt = stamp;
        session.ended_at = session.ended_at.filter(|end| time <= *end);
        if event_type == SESSION_END && !later {
            session.ended_at = Some(time);
        }
    }

    /// Ends the sessions that have been silent for their source's timeout; returns how many.
    pub fn tick(&mut self, now: Timestamp) -> u64 {
        let mut ended = 0;
        self.inputs.push(Input::Tick(now));
        for row in 0..self.sessions.len() {
            let session = &self.sessions[row];
            let silent_us = now.0 - session.last_receipt.0;
            let open = session.ended_at.is_none() && session.alias_of.is_none();
            if open && silent_us >= timeout_us(self.source(&session.source)) {
                self.sessions[row].ended_at = self.events_of_session(row).last().map(|event| event.time);
                ended += 1;
            }
        }
        self.expire(now);
        ended
    }
}

fn timeout_us(source: &SourceSettings) -> i64 {
    source.inactivity_timeout_ms * 1_000
}
