//! Makes groups durable, on a thread of its own where that pays, so that the writer decides the next group while
//! one is synced.
//!
//! ```text
//! writer:    decide 1 | decide 2 ...... | decide 3 ......
//! committer:          | sync 1, answer  | sync 2, answer
//! ```
//!
//! At most one group is in flight. What the writer decides meanwhile has seen that group, so none of it is
//! answered before the group has landed: groups land in order. A single request that nobody follows is synced
//! by the writer itself, which spares it the way to another thread and back; so is a group that took much longer
//! to decide than the last one took to sync, since there is little to gain and a processor to share.
//!
//! It knows nothing of what is decided.

use super::layers::Version;
use super::log::{Group, Log, LogPosition};
use super::mailbox::{Done, Shared};
use super::overlay::Horizon;
use crate::core::outcome::Outcome;
use crate::core::prepare::Command;
use crate::error::{Error, TrackError};
use crate::ids::EventSeq;
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use parking_lot::{Condvar, Mutex};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// A group is sent off if the disk may take at least this share of the time that deciding took: one in so many.
const SYNC_SHARE: u32 = 2;

/// A request that is decided and waits to be durable.
pub struct Decided {
    /// Called once.
    pub done: Done,
    /// What was asked.
    pub command: Box<Command>,
    /// What it came to.
    pub outcome: Outcome,
}

/// A group on its way to the disk.
struct Flight {
    group: Group,
    /// What readers see once it is there.
    version: Version,
    decided: Vec<Decided>,
}

/// A group that arrived, or did not.
pub struct Landing {
    group: Group,
    result: Result<Horizon, Error>,
    /// How long the disk took.
    took: Duration,
}

/// How far the log is known to be durable: for whoever must read what is in flight.
#[derive(Debug, Default)]
pub struct Landed {
    state: Mutex<(EventSeq, bool)>,
    changed: Condvar,
}

impl Landed {
    /// Waits until `seq` is in the log.
    ///
    /// # Errors
    /// [`Error::Closed`] if it never will be.
    pub fn wait(&self, seq: EventSeq) -> Result<(), Error> {
        let mut state = self.state.lock();
        while state.0 < seq && !state.1 {
            self.changed.wait(&mut state);
        }
        match *state {
            (landed, _) if landed >= seq => Ok(()),
            _ => Err(Error::Closed { reason: "what it depends on could not be stored".into() }),
        }
    }

    fn set(&self, result: Option<EventSeq>) {
        let mut state = self.state.lock();
        match result {
            Some(seq) => state.0 = seq,
            None => state.1 = true,
        }
        drop(state);
        self.changed.notify_all();
    }
}

/// What the writer's thread and the committing thread share.
struct Runway {
    log: Mutex<Log>,
    landed: Arc<Landed>,
    shared: Arc<Shared>,
}

impl Runway {
    /// Appends and syncs a group and shows it to readers. Nobody has an answer yet.
    fn land(&self, mut group: Group, version: Version) -> Landing {
        let (seq, unions, events) = (version.counters.seq, version.counters.unions, group.events());
        let begun = Instant::now();
        let appended = self.log.lock().append(&mut group);
        let took = begun.elapsed();
        group.clear();
        let result = match appended {
            Ok(_) => {
                self.landed.set(Some(seq));
                self.shared.counting.committed(events, took, unions);
                Ok(self.shared.published.publish(version))
            }
            Err(error) => {
                // Before anyone hears of it, the engine is closed.
                self.shared.fail(&error);
                self.landed.set(None);
                Err(error)
            }
        };
        Landing { group, result, took }
    }

    fn run(&self, flights: &Receiver<Flight>, landings: &Sender<Landing>) {
        while let Ok(Flight { group, version, decided }) = flights.recv() {
            let landing = self.land(group, version);
            let result = landing.result.as_ref().map(|_| ()).map_err(Clone::clone);
            // The writer may be gone: those who wait are answered nevertheless.
            let _ = landings.send(landing);
            answer(decided, &result);
        }
    }
}

/// The writer's hold on the log.
pub struct Committer {
    runway: Arc<Runway>,
    /// `None` once the thread is to end.
    flights: Option<Sender<Flight>>,
    landings: Receiver<Landing>,
    thread: Option<JoinHandle<()>>,
    in_flight: bool,
    /// How long the disk took for the last group.
    last_took: Duration,
    /// Memory for the next group.
    spare: Option<Group>,
}

impl Committer {
    /// Starts the thread.
    ///
    /// # Errors
    /// [`Error::Io`] if there can be no thread.
    pub fn start(log: Log, landed: Arc<Landed>, shared: Arc<Shared>) -> Result<Self, Error> {
        let spare = Some(log.group());
        landed.set(Some(EventSeq(log.position().next_seq.0.saturating_sub(1))));
        let runway = Arc::new(Runway { log: Mutex::new(log), landed, shared });
        let (flights, taken) = bounded(1);
        let (given, landings) = bounded(1);
        let thread = super::opening::spawn("spoor-commit", {
            let runway = Arc::clone(&runway);
            move || runway.run(&taken, &given)
        })?;
        let (flights, thread) = (Some(flights), Some(thread));
        let last_took = Duration::ZERO;
        Ok(Self { runway, flights, landings, thread, in_flight: false, last_took, spare })
    }

    /// Whether a group is on its way.
    pub const fn in_flight(&self) -> bool {
        self.in_flight
    }

    /// Whether sending a group off is worth it, if deciding it took so long.
    pub fn pays(&self, deciding: Duration) -> bool {
        self.last_took * SYNC_SHARE >= deciding
    }

    /// Where groups arrive; what comes from it goes to [`Self::take`].
    pub const fn landings(&self) -> &Receiver<Landing> {
        &self.landings
    }

    /// The end of the log. Nothing is in flight.
    pub fn position(&self) -> LogPosition {
        self.runway.log.lock().position()
    }

    /// Sends a group off, and puts an empty one in its place. Nothing is in flight.
    ///
    /// # Errors
    /// [`Error::Closed`] if the thread is gone; those who wait are answered.
    pub fn send(&mut self, group: &mut Group, version: Version, decided: Vec<Decided>) -> Result<(), Error> {
        let group = std::mem::replace(group, self.next_group());
        let flight = Flight { group, version, decided };
        let unsent = match &self.flights {
            Some(flights) => flights.send(flight).err().map(crossbeam_channel::SendError::into_inner),
            None => Some(flight),
        };
        self.in_flight = unsent.is_none();
        match unsent {
            None => Ok(()),
            Some(flight) => {
                self.runway.shared.fail(&gone());
                answer(flight.decided, &Err(gone()));
                Err(gone())
            }
        }
    }

    /// Makes a group durable on this thread. Nothing is in flight.
    ///
    /// # Errors
    /// As [`Log::append`]; those who wait are answered.
    pub fn commit(
        &mut self,
        group: &mut Group,
        version: Version,
        decided: Vec<Decided>,
    ) -> Result<Horizon, Error> {
        let whole = std::mem::replace(group, self.next_group());
        let landing = self.runway.land(whole, version);
        (self.spare, self.last_took) = (Some(landing.group), landing.took);
        answer(decided, &landing.result.as_ref().map(|_| ()).map_err(Clone::clone));
        landing.result
    }

    /// Takes what arrived.
    ///
    /// # Errors
    /// Why it could not be made durable; those who waited are answered.
    pub fn take(&mut self, landing: Landing) -> Result<Horizon, Error> {
        self.in_flight = false;
        (self.spare, self.last_took) = (Some(landing.group), landing.took);
        landing.result
    }

    /// Waits for the group that is in flight, if one is.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn wait(&mut self) -> Result<Option<Horizon>, Error> {
        if !self.in_flight {
            return Ok(None);
        }
        let landing = self.landings.recv().map_err(|_| gone())?;
        self.take(landing).map(Some)
    }

    /// Takes what arrived, if anything did, and does not wait.
    ///
    /// # Errors
    /// As [`Self::take`].
    pub fn poll(&mut self) -> Result<Option<Horizon>, Error> {
        match self.landings.try_recv() {
            Ok(landing) => self.take(landing).map(Some),
            Err(TryRecvError::Disconnected) if self.in_flight => Err(gone()),
            Err(_) => Ok(None),
        }
    }

    /// Ends the thread and closes the log.
    ///
    /// # Errors
    /// As [`Log::close`].
    pub fn close(mut self) -> Result<(), Error> {
        self.end();
        let runway = Arc::clone(&self.runway);
        drop(self);
        let log = Arc::into_inner(runway).ok_or_else(gone)?.log.into_inner();
        log.close().map(|_: LogPosition| ())
    }

    fn next_group(&mut self) -> Group {
        self.spare.take().unwrap_or_else(|| self.runway.log.lock().group())
    }

    /// What is in flight lands before this returns.
    fn end(&mut self) {
        drop(self.flights.take());
        if let Some(thread) = self.thread.take() {
            // If it panicked, its own message told.
            let _ = thread.join();
        }
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        self.end();
    }
}

/// Tells everyone who waits what became of it.
pub fn answer(decided: Vec<Decided>, result: &Result<(), Error>) {
    for Decided { done, command, outcome } in decided {
        match result {
            Ok(()) => done(Ok((command, outcome))),
            Err(error) => {
                let reason = error.to_string().into();
                done(Err(TrackError::Failed(Error::Indeterminate { reason })));
            }
        }
    }
}

fn gone() -> Error {
    Error::Closed { reason: "the committing thread is gone".into() }
}
