//! The writer: one thread that takes what waits, decides it, and has it made durable as one frame of the log.
//!
//! ```text
//! mailbox -> for each request: decide and apply to the staging view -> committer: frame, synced -> publish -> answer
//!                       \-- active generation full: freeze it --> checkpoint thread --> new base
//! ```
//!
//! A group is what waits when the writer comes round, and what comes while the group before it is synced; there
//! is no timer, but for the time that the writer leaves to a checkpoint that falls behind. After a storage error
//! everyone who waits is told *indeterminate*, and the writer takes nothing more.

use super::base::Base;
use super::checkpoint::{Errand, Job, Meta};
use super::committer::{Committer, Decided, Landing, answer};
use super::ending::{Ending, TICK_MS};
use super::index::Pace;
use super::layers::{Layers, Staging, Version};
use super::mailbox::{ActJob, Acted, Message, Shared, TrackJob};
use super::overlay::Generation;
use super::record::{Cause, encode_record, seqs_of};
use crate::core::acts::plan;
use crate::core::apply::apply;
use crate::core::decide::{Stamp, decide};
use crate::core::decision::Decision;
use crate::error::{Error, TrackError};
use crate::limits::{
    ENDS_IN_GROUP_MAX_SESSIONS, GROUP_MAX_BYTES, GROUP_MAX_EVENTS, PAUSE_FROM_PER_MILLE, PAUSE_MAX_FACTOR,
    PAUSE_MAX_MS,
};
use crate::time::Timestamp;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, select};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How often an idle store is checkpointed if it changed, in milliseconds.
const IDLE_CHECKPOINT_MS: i64 = 60_000;

/// The writer's own.
pub struct Writer {
    /// What it shares.
    pub shared: Arc<Shared>,
    /// What it works on.
    pub staging: Staging,
    /// To the log.
    pub committer: Committer,
    /// Bytes of one generation at which it is frozen.
    pub generation_bytes: usize,
    /// The hurry of checkpoints.
    pub pace: Arc<Pace>,
    /// Requests.
    pub mailbox: Receiver<Message>,
    /// To the checkpoint thread.
    pub jobs: Sender<Errand>,
    /// From it.
    pub bases: Receiver<Result<Base, Error>>,
    /// State of the loop.
    pub progress: Progress,
}

/// Where the writer's loop stands.
#[derive(Default)]
pub struct Progress {
    record: Vec<u8>,
    waiting: Vec<Sender<Result<(), Error>>>,
    waiting_next: Vec<Sender<Result<(), Error>>>,
    pub(super) ending: Ending,
    last_checkpoint: Timestamp,
    /// How long it took to decide the groups since the writer last came by [`Writer::between_groups`].
    deciding: Duration,
    /// The requests of the group that is being filled.
    decided: Vec<Decided>,
}

/// What ended a group before its caps did.
enum Next {
    Nothing,
    Control(Message),
    Stop,
}

impl Writer {
    /// Runs until it is closed, or fails.
    pub fn run(mut self) {
        self.progress.last_checkpoint = self.shared.clock.now();
        let result = self.serve();
        if let Err(error) = &result {
            self.shared.fail(error);
            // The group that was being filled: nothing of it was written.
            let closed = Error::Closed { reason: error.to_string().into() };
            for Decided { done, .. } in std::mem::take(&mut self.progress.decided) {
                done(Err(TrackError::Failed(closed.clone())));
            }
        }
        self.finish(result);
    }

    fn serve(&mut self) -> Result<Option<Sender<Result<(), Error>>>, Error> {
        let tick = Duration::from_millis(TICK_MS);
        loop {
            let message = select! {
                recv(self.mailbox) -> message => message.ok(),
                recv(self.committer.landings()) -> landing => {
                    self.landed(landing.map_err(|_| gone())?)?;
                    self.between_groups()?;
                    continue;
                }
                recv(self.bases) -> base => {
                    self.take_base(base.map_err(|_| gone())?)?;
                    continue;
                }
                default(tick) => {
                    self.idle()?;
                    continue;
                }
            };
            let next = match message {
                Some(Message::Track(job)) => self.group(job)?,
                Some(control) => Next::Control(control),
                None => Next::Stop,
            };
            match next {
                Next::Nothing => {}
                Next::Control(Message::Close(done)) => return Ok(Some(done)),
                Next::Control(Message::Abandon) => {
                    return Err(Error::Closed { reason: "it was abandoned".into() });
                }
                Next::Control(control) => self.control(control)?,
                Next::Stop => return Ok(None),
            }
            self.between_groups()?;
        }
    }

    fn control(&mut self, message: Message) -> Result<(), Error> {
        self.settle()?;
        match message {
            Message::Track(job) => {
                self.group(job)?;
            }
            Message::Act(job) => self.act(*job)?,
            Message::Tick(done) => {
                let ended = self.end_silent();
                if let Err(error) = &ended {
                    self.shared.fail(error);
                }
                // If nobody waits any more, there is nothing to tell.
                let _ = done.send(ended.clone());
                ended?;
            }
            Message::Checkpoint(done) => {
                if self.staging.layers.frozen.is_some() {
                    self.progress.waiting_next.push(done);
                } else {
                    self.progress.waiting.push(done);
                    self.freeze()?;
                }
            }
            Message::Close(done) => {
                let _ = done.send(Ok(()));
            }
            Message::Abandon => {}
        }
        Ok(())
    }

    /// Decides what waits, up to the caps, and sends it off to be made durable.
    fn group(&mut self, first: TrackJob) -> Result<Next, Error> {
        let begun = Instant::now();
        let mut next = self.fill(first)?;
        // The group before it is still on its way: what comes until then goes along.
        while matches!(next, Next::Nothing) && self.committer.in_flight() && self.has_room() {
            next = select! {
                recv(self.mailbox) -> message => match message {
                    Ok(Message::Track(job)) => self.fill(job)?,
                    Ok(control) => Next::Control(control),
                    Err(_) => Next::Stop,
                },
                recv(self.committer.landings()) -> landing => {
                    self.landed(landing.map_err(|_| gone())?)?;
                    break;
                }
            };
        }
        self.end_with_group(self.shared.clock.now())?;
        let deciding = begun.elapsed();
        self.progress.deciding += deciding;
        self.send_off(deciding)?;
        Ok(next)
    }

    /// Decides a request and what waits behind it.
    fn fill(&mut self, first: TrackJob) -> Result<Next, Error> {
        let now = self.shared.clock.now();
        // What comes while these are decided waits for the next group: else a group grows as long as requests
        // come faster than they are decided, and the first in it waits for the last.
        let mut waiting = self.mailbox.len();
        self.decide_one(first, now)?;
        while waiting > 0 && self.has_room() {
            waiting -= 1;
            match self.mailbox.try_recv() {
                Ok(Message::Track(job)) => self.decide_one(job, now)?,
                Ok(control) => return Ok(Next::Control(control)),
                Err(_) => break,
            }
        }
        Ok(Next::Nothing)
    }

    /// Sends off the group that took so long to decide, or makes it durable here if that is better.
    fn send_off(&mut self, deciding: Duration) -> Result<(), Error> {
        let is_alone =
            self.progress.decided.len() <= 1 && self.mailbox.is_empty() && !self.committer.in_flight();
        if self.staging.group.is_empty() || is_alone {
            return self.commit();
        }
        self.settle()?;
        if !self.committer.pays(deciding) {
            return self.commit();
        }
        let version = self.version();
        let decided = std::mem::take(&mut self.progress.decided);
        // Rows of this group must stay as they are until it is published, whatever is decided meanwhile.
        self.staging.horizon.published = self.staging.counters.seq.0;
        self.staging.group_first = self.staging.counters.seq.next();
        self.committer.send(&mut self.staging.group, version, decided)
    }

    fn landed(&mut self, landing: Landing) -> Result<(), Error> {
        self.staging.horizon = self.committer.take(landing)?;
        Ok(())
    }

    /// Waits until nothing is in flight.
    pub(super) fn settle(&mut self) -> Result<(), Error> {
        if let Some(horizon) = self.committer.wait()? {
            self.staging.horizon = horizon;
        }
        Ok(())
    }

    /// Does what a person decided: a record and a group of its own.
    fn act(&mut self, job: ActJob) -> Result<(), Error> {
        let received = self.shared.clock.now().max(Timestamp(self.staging.counters.received.0 + 1));
        let stamp = Stamp { received, entropy: job.entropy };
        let mut plan = match job.plan {
            Some(plan) if plan.still_holds(&self.staging)? => plan,
            Some(_) if !job.insist => {
                // If nobody waits any more, there is nothing to tell.
                let _ = job.done.send(Ok(Acted::Stale));
                return Ok(());
            }
            _ => match plan(&self.staging, &self.shared.registry, &job.deed, stamp)? {
                Ok(plan) => Box::new(plan),
                Err(refusal) => {
                    let _ = job.done.send(Ok(Acted::Refused(refusal)));
                    return Ok(());
                }
            },
        };
        self.staging.stamp = self.staging.counters.seq.0 + 1;
        self.staging.prepared = std::mem::take(&mut plan.prepared);
        let applied =
            plan.decision.effects.iter().try_for_each(|effect| apply(&mut self.staging, received, effect));
        let seq = self.staging.counters.seq;
        let cause = job.encoded.as_deref().map_or(Cause::Engine, Cause::Act);
        let recorded = applied
            .and_then(|()| self.record(stamp, plan.drew, cause, &plan.decision))
            .and_then(|()| self.commit());
        if let Err(error) = &recorded {
            self.shared.fail(error);
            let reason = error.to_string().into();
            let _ = job.done.send(Err(Error::Indeterminate { reason }));
        } else {
            let _ = job.done.send(Ok(Acted::Done(seq, plan)));
        }
        recorded
    }

    /// A round of session ends goes on with each group.
    fn end_with_group(&mut self, now: Timestamp) -> Result<(), Error> {
        if self.progress.ending.goes_on() {
            self.end_slice(now, ENDS_IN_GROUP_MAX_SESSIONS)?;
        }
        Ok(())
    }

    fn has_room(&self) -> bool {
        let group = &self.staging.group;
        usize::try_from(group.events()).unwrap_or(usize::MAX) < GROUP_MAX_EVENTS
            && group.bytes() < GROUP_MAX_BYTES
    }

    fn decide_one(&mut self, job: TrackJob, now: Timestamp) -> Result<(), Error> {
        let TrackJob { command, entropy, absent, done } = job;
        let received = now.max(Timestamp(self.staging.counters.received.0 + 1));
        let stamp = Stamp { received, entropy };
        self.staging.stamp = self.staging.counters.seq.0 + 1;
        let checkpoint = self.staging.layers.base.counters.seq;
        self.staging.absent_below = absent.filter(|(_, of)| *of == checkpoint).map(|(key, _)| key);
        let result = decide(&mut self.staging, &self.shared.registry, &command, stamp).and_then(
            |(decision, outcome, drew)| {
                self.record(stamp, drew, Cause::Request(&command.encoded), &decision)?;
                Ok(outcome)
            },
        );
        match result {
            Ok(outcome) => {
                self.progress.decided.push(Decided { done, command, outcome });
                Ok(())
            }
            Err(error) => {
                // Before anyone hears of it, the engine is closed.
                self.shared.fail(&error);
                done(Err(TrackError::Failed(error.clone())));
                Err(error)
            }
        }
    }

    /// Adds a record to the group; nothing if nothing was decided.
    pub(super) fn record(
        &mut self,
        stamp: Stamp,
        drew: bool,
        cause: Cause<'_>,
        decision: &Decision,
    ) -> Result<(), Error> {
        let seqs = seqs_of(decision);
        if seqs == 0 {
            return if decision.effects.is_empty() { Ok(()) } else { Err(unnumbered()) };
        }
        let record = &mut self.progress.record;
        let parts = encode_record(record, stamp, drew, cause, decision);
        self.staging.group.push(seqs, &parts).map_err(|_| too_large())
    }

    /// Appends the group, syncs it, shows it to readers and answers those who wait, all before it returns.
    pub(super) fn commit(&mut self) -> Result<(), Error> {
        // What was decided may rest on what is in flight, if only as a repeat of it.
        self.settle()?;
        let decided = std::mem::take(&mut self.progress.decided);
        if self.staging.group.is_empty() {
            answer(decided, &Ok(()));
            return Ok(());
        }
        let version = self.version();
        self.staging.group_first = self.staging.counters.seq.next();
        self.staging.horizon = self.committer.commit(&mut self.staging.group, version, decided)?;
        Ok(())
    }

    fn version(&self) -> Version {
        Version {
            layers: self.staging.layers.clone(),
            counters: self.staging.counters,
            log: self.staging.log.clone(),
            path: Arc::clone(&self.staging.path),
        }
    }

    /// Shows other layers to readers. Nothing is in flight, and no group begun.
    fn publish(&mut self) {
        self.staging.horizon = self.shared.published.publish(self.version());
    }

    fn between_groups(&mut self) -> Result<(), Error> {
        if let Some(horizon) = self.committer.poll()? {
            self.staging.horizon = horizon;
        }
        while let Ok(base) = self.bases.try_recv() {
            self.take_base(base)?;
        }
        let deciding = std::mem::take(&mut self.progress.deciding);
        let bytes = self.staging.layers.active.bytes();
        if self.staging.layers.frozen.is_some() {
            let fill = per_mille(bytes, self.generation_bytes);
            self.pace.set_urgency(fill);
            if fill < 1_000 {
                self.leave_time(pause_after(deciding, fill))?;
            }
        }
        if bytes >= self.generation_bytes {
            // The last resort: the mailbox fills while the writer waits here.
            while self.staging.layers.frozen.is_some() {
                let base = self.bases.recv().map_err(|_| gone())?;
                self.take_base(base)?;
            }
            self.freeze()?;
        }
        self.progress.ending.begin_if_time(self.shared.clock.now());
        if self.committer.in_flight() {
            return Ok(());
        }
        self.end_while_idle()
    }

    /// Leaves the processor to the checkpoint for so long, or until it is done. What is in flight lands meanwhile, and
    /// is answered.
    fn leave_time(&mut self, pause: Duration) -> Result<(), Error> {
        if pause.is_zero() {
            return Ok(());
        }
        match self.bases.recv_timeout(pause) {
            Ok(base) => self.take_base(base),
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) => Err(gone()),
        }
    }

    fn idle(&mut self) -> Result<(), Error> {
        let now = self.shared.clock.now();
        self.progress.ending.begin_if_time(now);
        self.end_while_idle()?;
        let changed = self.staging.counters.seq > self.staging.layers.base.counters.seq;
        let long_ago = now.millis() - self.progress.last_checkpoint.millis() >= IDLE_CHECKPOINT_MS;
        if changed && long_ago && self.staging.layers.frozen.is_none() {
            self.freeze()?;
        }
        Ok(())
    }

    /// Hands the active generation to the checkpoint thread and begins a new one. Between groups only.
    fn freeze(&mut self) -> Result<(), Error> {
        self.settle()?;
        let frozen = std::mem::take(&mut self.staging.layers.active);
        self.staging.layers.frozen = Some(Arc::clone(&frozen));
        self.pace.set_urgency(0);
        self.progress.last_checkpoint = self.shared.clock.now();
        self.publish();
        let meta = Meta { position: Some(self.committer.position()), counters: self.staging.counters };
        let base = Arc::clone(&self.staging.layers.base);
        self.jobs.send(Errand::Write(Job { frozen, meta, base })).map_err(|_| gone())
    }

    /// A checkpoint is done: its generation is in the base now.
    fn take_base(&mut self, base: Result<Base, Error>) -> Result<(), Error> {
        self.settle()?;
        let old_base = std::mem::replace(&mut self.staging.layers.base, Arc::new(base?));
        let written = self.staging.layers.frozen.take();
        self.progress.ending.base_changed();
        self.publish();
        // Millions of small pieces of memory: not on this thread.
        self.jobs.send(Errand::LetGo(old_base, written)).map_err(|_| gone())?;
        for done in self.progress.waiting.drain(..) {
            let _ = done.send(Ok(()));
        }
        if !self.progress.waiting_next.is_empty() {
            self.progress.waiting = std::mem::take(&mut self.progress.waiting_next);
            self.freeze()?;
        }
        Ok(())
    }

    /// Takes what still waits, writes the last checkpoint, and tells whoever closes.
    fn finish(mut self, result: Result<Option<Sender<Result<(), Error>>>, Error>) {
        let done = match result {
            Ok(done) => done,
            Err(error) => {
                self.refuse_all(&error);
                return;
            }
        };
        let outcome = self.drain().and_then(|()| self.last_checkpoint());
        self.shared.failure.lock().get_or_insert_with(|| "it was closed".into());
        let closed = Error::Closed { reason: "it was closed".into() };
        self.refuse_all(outcome.as_ref().err().unwrap_or(&closed));
        // The checkpoint thread holds the directory's lock until the jobs end: the log goes first.
        let Self { committer, jobs, .. } = self;
        let outcome = outcome.and_then(|()| committer.close());
        drop(jobs);
        if let Some(done) = done {
            let _ = done.send(outcome);
        }
    }

    /// What was in the mailbox before the engine was closed is still stored.
    fn drain(&mut self) -> Result<(), Error> {
        while let Ok(message) = self.mailbox.try_recv() {
            match message {
                Message::Track(job) => match self.group(job)? {
                    Next::Control(control) => self.control(control)?,
                    Next::Nothing | Next::Stop => {}
                },
                control => self.control(control)?,
            }
        }
        Ok(())
    }

    fn last_checkpoint(&mut self) -> Result<(), Error> {
        self.pace.set_urgency(Pace::URGENCY_MAX);
        while self.staging.layers.frozen.is_some() {
            let base = self.bases.recv().map_err(|_| gone())?;
            self.take_base(base)?;
        }
        if self.staging.counters.seq > self.staging.layers.base.counters.seq {
            self.freeze()?;
            self.pace.set_urgency(Pace::URGENCY_MAX);
            while self.staging.layers.frozen.is_some() {
                let base = self.bases.recv().map_err(|_| gone())?;
                self.take_base(base)?;
            }
        }
        Ok(())
    }

    /// Answers everyone who still waits, and everyone who was about to send when the engine closed.
    fn refuse_all(&mut self, error: &Error) {
        while self.shared.senders.load(Ordering::SeqCst) > 0 {
            self.refuse_waiting(error);
            std::thread::yield_now();
        }
        self.refuse_waiting(error);
    }

    fn refuse_waiting(&mut self, error: &Error) {
        for done in self.progress.waiting.drain(..).chain(self.progress.waiting_next.drain(..)) {
            let _ = done.send(Err(error.clone()));
        }
        while let Ok(message) = self.mailbox.try_recv() {
            let closed = Error::Closed { reason: error.to_string().into() };
            match message {
                Message::Track(job) => (job.done)(Err(TrackError::Failed(closed))),
                Message::Act(job) => drop(job.done.send(Err(closed))),
                Message::Abandon => {}
                Message::Tick(done) => drop(done.send(Err(closed))),
                Message::Checkpoint(done) | Message::Close(done) => drop(done.send(Err(closed))),
            }
        }
    }
}

/// An empty active generation over the frozen one and the base.
#[must_use]
pub fn layers_over(base: Base) -> Layers {
    Layers { active: Arc::new(Generation::new()), frozen: None, base: Arc::new(base) }
}

/// How full a generation is.
fn per_mille(bytes: usize, of: usize) -> u32 {
    u32::try_from(bytes.saturating_mul(1_000) / of.max(1)).unwrap_or(u32::MAX)
}

/// How long the writer stands back after it has decided for so long, while a checkpoint runs and the generation that is
/// being filled is so full. Nothing in the first half, which a checkpoint that keeps up with the writer does not see the
/// end of; then the more, the fuller, so that many groups wait a little instead of one for the whole checkpoint.
fn pause_after(deciding: Duration, fill_per_mille: u32) -> Duration {
    let beyond = fill_per_mille.min(1_000).saturating_sub(PAUSE_FROM_PER_MILLE);
    let share = deciding * PAUSE_MAX_FACTOR * beyond / (1_000 - PAUSE_FROM_PER_MILLE);
    share.min(Duration::from_millis(PAUSE_MAX_MS))
}

fn gone() -> Error {
    Error::Closed { reason: "the checkpoint thread is gone".into() }
}

fn unnumbered() -> Error {
    Error::Closed { reason: "a decision has effects and takes no sequence number".into() }
}

fn too_large() -> Error {
    Error::Closed { reason: "a record does not fit into a group".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_grows_with_the_fill_and_has_an_end() {
        let deciding = Duration::from_millis(4);
        assert_eq!(pause_after(deciding, 0), Duration::ZERO);
        assert_eq!(pause_after(deciding, PAUSE_FROM_PER_MILLE), Duration::ZERO);
        let pauses: Vec<Duration> =
            (PAUSE_FROM_PER_MILLE..=1_000).step_by(50).map(|fill| pause_after(deciding, fill)).collect();
        assert!(pauses.is_sorted_by(|less, more| less < more), "{pauses:?}");
        assert_eq!(pauses.last(), Some(&(deciding * PAUSE_MAX_FACTOR)));
        assert_eq!(pause_after(deciding, 5_000), deciding * PAUSE_MAX_FACTOR, "no fuller than full");
        assert_eq!(pause_after(Duration::from_secs(9), 1_000), Duration::from_millis(PAUSE_MAX_MS));
        assert_eq!(pause_after(Duration::ZERO, 1_000), Duration::ZERO);
    }

    #[test]
    fn a_generation_without_room_is_full() {
        assert_eq!([per_mille(1, 4), per_mille(6, 4), per_mille(1, 0)], [250, 1_500, 1_000]);
        assert_eq!(per_mille(usize::MAX, 1), u32::MAX);
    }
}
