//! An import straight into the store, with thousands of requests on their way at once.
//!
//! Requests are handed over in order, and what finds the mailbox full is handed over again before anything behind
//! it. Answers are put into words and counted on a thread of their own, so that neither the reading of lines nor the
//! writer waits for that.

use super::Sink;
use super::tally::{Failed, Origination, Rejected, Tally};
use crate::limits::{IMPORT_IN_FLIGHT_MAX, IMPORT_RETRY_MS};
use crate::protocol::json::{self, Body};
use crate::store::{LazyReply, Store};
use spoor::{Error, TrackError, TrackRequest};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

type Outcome = (Origination, Result<LazyReply, TrackError>);

/// Straight into the store.
pub struct StoreSink {
    store: Arc<dyn Store>,
    flight: Arc<Flight>,
    outcomes: Sender<Outcome>,
    tally: Arc<Mutex<Tally>>,
    tallier: JoinHandle<()>,
}

/// Requests on their way, bounded, and those that the store had no room for.
#[derive(Debug, Default)]
struct Flight {
    state: Mutex<FlightState>,
    landed: Condvar,
}

#[derive(Debug, Default)]
struct FlightState {
    under_way: usize,
    /// Told *overloaded*.
    turned_away: Vec<Origination>,
    /// Why the store takes no more.
    failed: Option<String>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Flight {
    /// Waits for room, and takes it.
    fn take_off(&self) -> Result<(), String> {
        let mut state = locked(&self.state);
        while state.under_way >= IMPORT_IN_FLIGHT_MAX && state.failed.is_none() {
            state = self.landed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(reason) = &state.failed {
            return Err(reason.clone());
        }
        state.under_way += 1;
        Ok(())
    }

    fn land(&self, change: impl FnOnce(&mut FlightState)) {
        let mut state = locked(&self.state);
        state.under_way = state.under_way.saturating_sub(1);
        change(&mut state);
        drop(state);
        self.landed.notify_all();
    }

    /// Whether this one was turned away; it is not afterwards.
    fn was_turned_away(&self, origination: Origination) -> bool {
        let turned_away = &mut locked(&self.state).turned_away;
        let found = turned_away.iter().position(|other| *other == origination);
        found.map(|index| turned_away.swap_remove(index)).is_some()
    }
}

impl StoreSink {
    /// Into `store`, counted by `tally`.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, tally: Tally) -> Self {
        let (outcomes, received) = mpsc::channel();
        let flight = Arc::new(Flight::default());
        let tally = Arc::new(Mutex::new(tally));
        let (counted, landing) = (Arc::clone(&tally), Arc::clone(&flight));
        let tallier = std::thread::spawn(move || count(&received, &counted, &landing));
        Self { store, flight, outcomes, tally, tallier }
    }

    /// Hands one request over until the store has room for it; `again` makes it anew.
    ///
    /// That there is no room is said before `submit` returns, so that nothing behind it has been handed over yet.
    fn submit(
        &self,
        origination: Origination,
        request: TrackRequest,
        again: impl Fn() -> Option<TrackRequest>,
    ) -> Result<(), String> {
        let mut next = Some(request);
        while let Some(request) = next.take() {
            self.flight.take_off()?;
            let (outcomes, flight) = (self.outcomes.clone(), Arc::clone(&self.flight));
            let done = move |outcome| match outcome {
                Err(TrackError::Failed(Error::Overloaded)) => {
                    flight.land(|state| state.turned_away.push(origination));
                }
                // The receiver lives as long as there are senders.
                outcome => drop(outcomes.send((origination, outcome))),
            };
            self.store.submit(TrackRequest { origin: request.origin.imported(), ..request }, Box::new(done));
            if self.flight.was_turned_away(origination) {
                std::thread::sleep(Duration::from_millis(IMPORT_RETRY_MS));
                next = again();
            }
        }
        Ok(())
    }
}

/// Reads a request once more: keeping a copy of each would cost more than the few that need it.
fn reread(text: &[u8], item: Option<usize>) -> Option<TrackRequest> {
    match (json::read(text).ok()?, item) {
        (Body::One(request), None) => Some(*request),
        (Body::Many(items), Some(index)) => items.into_iter().nth(index)?.ok(),
        _ => None,
    }
}

/// Puts replies into words and counts them, off the writer's thread.
fn count(received: &Receiver<Outcome>, tally: &Mutex<Tally>, flight: &Flight) {
    while let Ok(((line, item), outcome)) = received.recv() {
        let mut failed = None;
        match outcome {
            Ok(reply) => locked(tally).answered(reply().events.into_iter().map(|event| event.status)),
            Err(TrackError::Rejected(rejection)) => {
                locked(tally).reject(Rejected { line, item, error: rejection.into() });
            }
            Err(TrackError::Failed(error)) => failed = Some(error.to_string()),
        }
        flight.land(|state| state.failed = state.failed.take().or(failed));
    }
}

impl Sink for StoreSink {
    fn put(&mut self, line: u64, text: &[u8]) -> Result<(), String> {
        match json::read(text) {
            Ok(Body::One(request)) => self.submit((line, None), *request, || reread(text, None)),
            Ok(Body::Many(items)) => {
                for (index, item) in items.into_iter().enumerate() {
                    match item {
                        Ok(request) => {
                            let item = Some(index);
                            self.submit((line, item), request, || reread(text, item))?;
                        }
                        Err(rejection) => {
                            self.reject(Rejected { line, item: Some(index), error: rejection.into() });
                        }
                    }
                }
                Ok(())
            }
            Err(rejection) => {
                self.reject(Rejected { line, item: None, error: rejection.into() });
                Ok(())
            }
        }
    }

    fn reject(&mut self, rejected: Rejected) {
        locked(&self.tally).reject(rejected);
    }

    fn done(&self) -> String {
        locked(&self.tally).numbers()
    }

    fn finish(self, outcome: Result<(), String>) -> Result<Tally, Failed> {
        let Self { store, flight, outcomes, tally, tallier } = self;
        // The last callback drops the last sender, and with it the thread ends.
        drop((store, outcomes));
        let counted = tallier.join().map_err(|_| "counting failed".to_owned());
        let state = std::mem::take(&mut *locked(&flight.state));
        let mut tally = std::mem::take(&mut *locked(&tally));
        for (line, item) in state.turned_away {
            tally.reject(Rejected::new(line, item, "overloaded", "the store had no room; import it again"));
        }
        tally.close(outcome.and(counted).and(state.failed.map_or(Ok(()), Err)))
    }
}
