//! What the store counts of its own work since it was opened, for an operator to look at. Atomics, no lock: the
//! threads that work add, and whoever asks may find one number a moment younger than another. Knows nothing of what
//! is stored.

use crate::model::{Distribution, Figures};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Upper bounds of the sizes of groups, in events.
const GROUP_BOUNDS: [u64; 8] = [1, 4, 16, 64, 256, 1_024, 2_048, 4_096];
/// Upper bounds of the time that the disk takes for a group, in microseconds.
const COMMIT_BOUNDS_US: [u64; 12] =
    [100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 500_000, 2_500_000];
/// Upper bounds of the time that a checkpoint takes, in milliseconds.
const CHECKPOINT_BOUNDS_MS: [u64; 8] = [10, 50, 250, 1_000, 5_000, 15_000, 60_000, 300_000];

/// Numbers by their size.
#[derive(Debug)]
struct Counts<const N: usize> {
    bounds: &'static [u64; N],
    below: [AtomicU64; N],
    beyond: AtomicU64,
    sum: AtomicU64,
}

impl<const N: usize> Counts<N> {
    const fn new(bounds: &'static [u64; N]) -> Self {
        Self {
            bounds,
            below: [const { AtomicU64::new(0) }; N],
            beyond: AtomicU64::new(0),
            sum: AtomicU64::new(0),
        }
    }

    fn add(&self, number: u64) {
        let place = self.bounds.partition_point(|bound| *bound < number);
        self.below.get(place).unwrap_or(&self.beyond).fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(number, Ordering::Relaxed);
    }

    fn read(&self) -> Distribution {
        let below = self.bounds.iter().zip(&self.below);
        Distribution {
            below: below.map(|(bound, count)| (*bound, count.load(Ordering::Relaxed))).collect(),
            beyond: self.beyond.load(Ordering::Relaxed),
            sum: self.sum.load(Ordering::Relaxed),
        }
    }
}

/// The counts of a store that is open.
#[derive(Debug)]
pub struct Counting {
    opened: Instant,
    group_events: Counts<8>,
    commit_us: Counts<12>,
    checkpoint_ms: Counts<8>,
    /// When the last checkpoint was done, in milliseconds since opening.
    checkpointed_ms: AtomicU64,
    /// Unions of two persons that there are.
    unions: AtomicU64,
    merges: AtomicU64,
    partings: AtomicU64,
}

impl Counting {
    /// Of a store in which so many persons were united when it was opened.
    #[must_use]
    pub fn new(unions: u64) -> Self {
        Self {
            opened: Instant::now(),
            group_events: Counts::new(&GROUP_BOUNDS),
            commit_us: Counts::new(&COMMIT_BOUNDS_US),
            checkpoint_ms: Counts::new(&CHECKPOINT_BOUNDS_MS),
            checkpointed_ms: AtomicU64::new(0),
            unions: AtomicU64::new(unions),
            merges: AtomicU64::new(0),
            partings: AtomicU64::new(0),
        }
    }

    /// A group is durable: its events, the time that the disk took, and the unions that there are now. Called for
    /// one group after the other.
    pub fn committed(&self, events: u32, took: Duration, unions: u64) {
        self.group_events.add(u64::from(events));
        self.commit_us.add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        let before = self.unions.swap(unions, Ordering::Relaxed);
        self.merges.fetch_add(unions.saturating_sub(before), Ordering::Relaxed);
        self.partings.fetch_add(before.saturating_sub(unions), Ordering::Relaxed);
    }

    /// A checkpoint is done.
    pub fn checkpointed(&self, took: Duration) {
        self.checkpoint_ms.add(millis(took));
        self.checkpointed_ms.store(millis(self.opened.elapsed()), Ordering::Relaxed);
    }

    /// All of it now.
    #[must_use]
    pub fn read(&self) -> Figures {
        let since = millis(self.opened.elapsed());
        Figures {
            group_events: self.group_events.read(),
            commit_us: self.commit_us.read(),
            checkpoint_ms: self.checkpoint_ms.read(),
            checkpoint_age_ms: since.saturating_sub(self.checkpointed_ms.load(Ordering::Relaxed)),
            merges: self.merges.load(Ordering::Relaxed),
            partings: self.partings.load(Ordering::Relaxed),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_counted_below_the_first_bound_that_it_does_not_exceed() {
        let counting = Counting::new(3);
        for (events, unions) in [(1, 3), (4, 5), (5, 5), (5_000, 4)] {
            counting.committed(events, Duration::from_micros(100), unions);
        }
        let read = counting.read();
        let counts: Vec<u64> = read.group_events.below.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts, [1, 1, 1, 0, 0, 0, 0, 0]);
        assert_eq!((read.group_events.beyond, read.group_events.sum), (1, 5_010));
        assert_eq!(read.commit_us.below.first(), Some(&(100, 4)));
        assert_eq!((read.merges, read.partings), (2, 1));
    }
}
