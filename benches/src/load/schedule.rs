//! When requests are due. In an open loop a thread of its own lets them go, since timers of an async runtime are a
//! millisecond late.

use super::Plan;
use serde::Serialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// The pacer sleeps no shorter: what is due within is let go together.
const NAP: Duration = Duration::from_micros(100);
/// How long after the end what was due may still be sent.
const PATIENCE: Duration = Duration::from_secs(10);

/// When a client sends its next request.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Pace {
    /// Once it has the answer to its last.
    Closed,
    /// When one is due and a client is free.
    Open {
        /// Requests due a second, of all clients together.
        requests_per_s: f64,
    },
}

/// The schedule of one run.
pub(super) struct Schedule {
    begin: Instant,
    warm: Instant,
    end: Instant,
    /// Between two requests, in an open loop.
    interval: Option<Duration>,
    clients: usize,
    /// Requests that are due in all.
    slots: u64,
    taken: AtomicU64,
    due: Semaphore,
    stopped: AtomicBool,
}

impl Schedule {
    pub(super) fn new(plan: &Plan, begin: Instant) -> Self {
        let warm = begin + plan.warm_up;
        let end = warm + plan.duration;
        let interval = match plan.pace {
            Pace::Closed => None,
            Pace::Open { requests_per_s } => Some(Duration::from_secs_f64(1.0 / requests_per_s.max(0.001))),
        };
        let slots = interval.map_or(0, |interval| {
            let slots = (end - begin).as_nanos().div_ceil(interval.as_nanos().max(1));
            u64::try_from(slots).unwrap_or(u64::MAX)
        });
        Self {
            begin,
            warm,
            end,
            interval,
            clients: plan.clients(),
            slots,
            taken: AtomicU64::new(0),
            due: Semaphore::new(0),
            stopped: AtomicBool::new(false),
        }
    }

    /// The end of the warm-up.
    pub(super) const fn warm(&self) -> Instant {
        self.warm
    }

    /// The end of the measured stretch.
    pub(super) const fn end(&self) -> Instant {
        self.end
    }

    /// When what was due and not sent counted as lost.
    pub(super) fn given_up_at(&self) -> Instant {
        self.end + PATIENCE
    }

    fn due_at(&self, slot: u64) -> Instant {
        let nanos = u128::from(slot) * self.interval.unwrap_or_default().as_nanos();
        self.begin + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// When the next request of a client is due, once it is; `None` when the run is over.
    pub(super) async fn next(&self) -> Option<Instant> {
        if self.interval.is_none() {
            let now = Instant::now();
            return (now < self.end && !self.stopped.load(Relaxed)).then_some(now);
        }
        // It is never closed.
        self.due.acquire().await.ok()?.forget();
        if self.stopped.load(Relaxed) || Instant::now() >= self.given_up_at() {
            return None;
        }
        let slot = self.taken.fetch_add(1, Relaxed);
        (slot < self.slots).then(|| self.due_at(slot))
    }

    /// Requests that were due, and that nobody came to send.
    pub(super) fn never_sent(&self) -> impl Iterator<Item = Instant> {
        (self.taken.load(Relaxed)..self.slots).map(|slot| self.due_at(slot))
    }

    /// Starts to let requests go, in an open loop.
    pub(super) fn start(self: &Arc<Self>) -> Option<JoinHandle<()>> {
        self.interval?;
        let schedule = Arc::clone(self);
        // Without the thread nothing is sent, which the counts show.
        std::thread::Builder::new().name("load-pace".to_owned()).spawn(move || schedule.pace()).ok()
    }

    fn pace(&self) {
        let mut released = 0;
        while released < self.slots && !self.stopped.load(Relaxed) {
            let mut ready = 0;
            while released + ready < self.slots && self.due_at(released + ready) <= Instant::now() {
                ready += 1;
            }
            self.release(ready);
            released += ready;
            let next = self.due_at(released).saturating_duration_since(Instant::now());
            std::thread::sleep(next.max(NAP));
        }
        // So that everybody learns that there are no more.
        self.release(self.clients as u64);
    }

    fn release(&self, requests: u64) {
        self.due.add_permits(usize::try_from(requests).unwrap_or(0));
    }

    /// Ends it before its time.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Relaxed);
        self.release(self.clients as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Target, Version};
    use super::*;
    use crate::load::protocol::Protocol;

    fn plan(pace: Pace) -> Plan {
        let address = ([127, 0, 0, 1], 1).into();
        let target = Target::Http { address, version: Version::One, protocol: Protocol::Json };
        Plan {
            pace,
            warm_up: Duration::from_millis(20),
            duration: Duration::from_millis(80),
            ..Plan::new(target)
        }
    }

    #[tokio::test]
    async fn an_open_loop_has_a_slot_for_each_interval_whoever_is_slow() {
        let open = plan(Pace::Open { requests_per_s: 1_000.0 });
        let schedule = Arc::new(Schedule::new(&open, Instant::now()));
        let pacer = schedule.start().unwrap();
        // Nobody takes anything for half of the time.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let mut dues = Vec::new();
        while let Some(due) = schedule.next().await {
            assert!(due <= Instant::now());
            dues.push(due);
        }
        pacer.join().unwrap();
        assert_eq!(dues.len(), 100);
        assert!(dues.windows(2).all(|pair| pair[1] - pair[0] == Duration::from_millis(1)));
        assert_eq!(schedule.never_sent().count(), 0);
    }

    #[tokio::test]
    async fn a_closed_loop_goes_on_until_the_end() {
        let schedule = Schedule::new(&plan(Pace::Closed), Instant::now());
        assert!(schedule.next().await.is_some());
        std::thread::sleep(Duration::from_millis(101));
        assert!(schedule.next().await.is_none());
    }
}
