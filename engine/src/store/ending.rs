//! Sessions that fell silent: the writer ends them a slice at a time, with the groups that it commits anyway.
//!
//! Thousands may fall silent within one second, and whoever looks at them finds them cold: ended all at once
//! they would hold every acknowledgement for a fifth of a second. Once a second the writer begins a round; each
//! group takes a slice of it along, and while nothing waits, slices are committed by themselves.
//!
//! It knows which sessions are to be looked at; what then becomes of one is decided in `core/silence.rs`.

use super::index::{Order, TableId};
use super::layers::{Layers, number_at};
use super::record::Cause;
use super::writer::Writer;
use crate::core::apply::apply;
use crate::core::decide::Stamp;
use crate::core::decision::Decision;
use crate::core::silence::{Silence, look_at};
use crate::error::Error;
use crate::ids::SessionNo;
use crate::limits::{ENDS_IN_GROUP_MAX_SESSIONS, ENDS_MAX_SESSIONS};
use crate::time::Timestamp;
use std::collections::VecDeque;

/// How often the writer looks for sessions that fell silent, in milliseconds.
pub(super) const TICK_MS: u64 = 1_000;

/// A session, and the millisecond since 1970 at which it is to be looked at.
type Due = (u64, SessionNo);

/// Where the writer stands in ending sessions.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// When the last round began.
    begun: Timestamp,
    /// A round goes on: whoever was due when it began and was not looked at yet, is to be.
    going_on: bool,
    /// What is looked at next. Each is still listed where it was found, so nothing is sought while this lasts.
    queue: VecDeque<Due>,
    /// In the base, everything before this was looked at.
    base_from: u64,
}

impl Ending {
    /// Begins a round if the last one is a tick ago.
    pub(super) fn begin_if_time(&mut self, now: Timestamp) {
        if now.millis() - self.begun.millis() >= TICK_MS.cast_signed() {
            (self.begun, self.going_on) = (now, true);
        }
    }

    /// Whether there is more to look at.
    pub(super) const fn goes_on(&self) -> bool {
        self.going_on
    }

    /// There is another base. What is in memory is looked at before the base is, so it holds nothing that was
    /// passed over, unless the clock was set back: so it is looked through from its beginning once.
    pub(super) const fn base_changed(&mut self) {
        self.base_from = 0;
    }

    /// Seeks what is due at `now`, if nothing is left of what was sought before.
    fn seek(&mut self, layers: &Layers, now: Timestamp) -> Result<(), Error> {
        if !self.queue.is_empty() {
            return Ok(());
        }
        let end = (u64::try_from(now.millis()).unwrap_or(0) + 1, SessionNo(0));
        self.queue.extend(layers.active.due.lock().range(..end).take(ENDS_MAX_SESSIONS));
        let done = layers.active.due_done.lock();
        if let Some(frozen) = &layers.frozen {
            let room = ENDS_MAX_SESSIONS.saturating_sub(self.queue.len());
            let due = frozen.due.lock();
            self.queue.extend(due.range(..end).filter(|entry| !done.contains(entry)).take(room));
        }
        let frozen_done = layers.frozen.as_ref().map(|frozen| frozen.due_done.lock());
        let (from, to) = (self.base_from.to_be_bytes(), end.0.to_be_bytes());
        for row in layers.base.reader().range(TableId::Due, &from, Some(&to), Order::Ascending)? {
            let (key, _) = row?;
            let entry = (number_at(&key, 0), SessionNo(number_at(&key, 8)));
            self.base_from = entry.0;
            if self.queue.len() >= ENDS_MAX_SESSIONS {
                break;
            }
            if !done.contains(&entry) && frozen_done.as_ref().is_none_or(|done| !done.contains(&entry)) {
                self.queue.push_back(entry);
            }
        }
        Ok(())
    }
}

impl Writer {
    /// Ends sessions whose silence has lasted, all of them; durable on return. Returns how many.
    pub(super) fn end_silent(&mut self) -> Result<u64, Error> {
        let now = self.shared.clock.now();
        let mut ended = 0;
        (self.progress.ending.begun, self.progress.ending.going_on) = (now, true);
        while self.progress.ending.goes_on() {
            ended += self.end_slice(now, ENDS_MAX_SESSIONS)?;
            self.commit()?;
        }
        Ok(ended)
    }

    /// Goes on with a round as long as nobody waits. Durable on return.
    pub(super) fn end_while_idle(&mut self) -> Result<(), Error> {
        while self.progress.ending.goes_on() && self.mailbox.is_empty() {
            let now = self.shared.clock.now();
            self.end_slice(now, ENDS_IN_GROUP_MAX_SESSIONS)?;
            self.commit()?;
        }
        Ok(())
    }

    /// Looks at the next sessions of a round, at most so many, and adds a record of those that end to the group.
    /// Returns how many.
    pub(super) fn end_slice(&mut self, now: Timestamp, sessions_max: usize) -> Result<u64, Error> {
        self.progress.ending.seek(&self.staging.layers, now)?;
        let stamp = Stamp { received: now.max(self.staging.counters.received), entropy: 0 };
        self.staging.stamp = self.staging.counters.seq.0 + 1;
        let mut decision = Decision::default();
        for _ in 0..sessions_max {
            let Some((due_ms, session)) = self.progress.ending.queue.pop_front() else {
                break;
            };
            match look_at(&self.staging, session, now)? {
                Silence::Ends(effect) => {
                    apply(&mut self.staging, stamp.received, &effect)?;
                    decision.effects.push(effect);
                }
                Silence::LookAgain(later_ms) => {
                    self.staging.layers.active.due.lock().insert((later_ms, session));
                }
                Silence::Nothing => {}
            }
            self.done_looking((due_ms, session));
        }
        if self.progress.ending.queue.is_empty() {
            self.progress.ending.seek(&self.staging.layers, now)?;
            self.progress.ending.going_on = !self.progress.ending.queue.is_empty();
        }
        self.record(stamp, false, Cause::Engine, &decision)?;
        Ok(decision.effects.len() as u64)
    }

    fn done_looking(&self, entry: Due) {
        let active = &self.staging.layers.active;
        if !active.due.lock().remove(&entry) {
            active.due_done.lock().insert(entry);
        }
    }
}
