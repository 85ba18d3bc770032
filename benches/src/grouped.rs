//! Stores that one thread hands groups of requests, each group durable in one commit: the loop that all of them
//! are run by, so that they differ in nothing but the store. Knows no store.

use crate::Fault;
use crate::measure::{Measured, Window};
use crate::traffic::{Device, Traffic};
use spoor::{Clock, SystemClock, TrackRequest};
use std::time::{Duration, Instant};

/// A store that takes groups.
pub trait GroupStore {
    /// Stores `requests`, whole and durably, or fails. Returns the id of the profile of each, in their order.
    ///
    /// # Errors
    /// If the store cannot be written; the run is over then.
    fn commit(&mut self, requests: &[TrackRequest]) -> Result<Vec<String>, Fault>;

    /// Events stored so far, without repeats.
    fn stored(&self) -> u64;
}

/// Goes on until `events` more are stored, `group` requests in each commit. `progress` is told how many are.
///
/// # Errors
/// If the store fails.
pub fn run(
    store: &mut dyn GroupStore,
    traffic: &mut Traffic,
    events: u64,
    group: usize,
    mut progress: impl FnMut(u64),
) -> Result<(), Fault> {
    let goal = store.stored() + events;
    while store.stored() < goal {
        commit_next(store, traffic, group)?;
        progress(store.stored());
    }
    Ok(())
}

/// Goes on until `traffic` has made `events` events, in commits of `group` requests at most: the same events for every
/// store. `told` is told how many.
///
/// # Errors
/// If the store fails.
pub fn fill(
    store: &mut dyn GroupStore,
    traffic: &mut Traffic,
    events: u64,
    group: usize,
    told: &mut dyn FnMut(u64),
) -> Result<(), Fault> {
    while traffic.made() < events {
        let left = usize::try_from(events - traffic.made()).unwrap_or(group);
        commit_next(store, traffic, group.min(left))?;
        told(traffic.made());
    }
    Ok(())
}

/// Goes on for `warm_up`, and then for `duration`, which is measured: events stored, and the time that each
/// commit took.
///
/// # Errors
/// If the store fails.
pub fn run_for(
    store: &mut dyn GroupStore,
    traffic: &mut Traffic,
    group: usize,
    warm_up: Duration,
    duration: Duration,
) -> Result<Measured, Fault> {
    let end = Instant::now() + warm_up;
    while Instant::now() < end {
        commit_next(store, traffic, group)?;
    }
    let mut window = Window::open(Instant::now(), duration)?;
    while window.is_open(Instant::now()) {
        let (due, before) = (Instant::now(), store.stored());
        let sent = commit_next(store, traffic, group)?;
        let stored = store.stored() - before;
        window.answered(due, Instant::now(), stored, sent.saturating_sub(stored));
    }
    Ok(window.close())
}

/// Makes a group and stores it. Returns how many events were in it.
fn commit_next(store: &mut dyn GroupStore, traffic: &mut Traffic, group: usize) -> Result<u64, Fault> {
    let now = SystemClock.now();
    let made: Vec<(TrackRequest, Device)> = (0..group.max(1)).map(|_| traffic.next(now)).collect();
    let (requests, devices): (Vec<_>, Vec<_>) = made.into_iter().unzip();
    let given = store.commit(&requests)?;
    for (device, id) in devices.into_iter().zip(&given) {
        if traffic.waits(device) {
            traffic.learn(device, id);
        }
    }
    Ok(requests.iter().map(|request| request.events.len() as u64).sum())
}
