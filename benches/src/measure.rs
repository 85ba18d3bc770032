//! What is noted of each request while a run is measured: how long it took, and when. Knows no protocol.

use crate::Fault;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::{Duration, Instant};

/// The longest time that is told apart from longer ones, in microseconds.
const LATENCY_MAX_US: u64 = 120_000_000;
/// Significant digits of a latency.
const LATENCY_DIGITS: u8 = 3;
/// Points of the curve over time.
const SLICES_MAX: u32 = 120;
/// No slice is shorter, in milliseconds.
const SLICE_MIN_MS: u128 = 100;
/// Shares of all requests at which the latency is told.
const PERCENTILES: [f64; 15] =
    [0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 98.0, 99.0, 99.5, 99.9, 99.95, 99.99, 99.999, 100.0];

/// A histogram of times in microseconds.
///
/// # Errors
/// None: the bounds are sound.
pub fn histogram() -> Result<Histogram<u64>, Fault> {
    Ok(Histogram::new_with_max(LATENCY_MAX_US, LATENCY_DIGITS)?)
}

/// Microseconds, as a histogram takes them.
#[must_use]
pub fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(LATENCY_MAX_US).clamp(1, LATENCY_MAX_US)
}

/// The measured stretch of one client: what is answered in it counts.
#[derive(Debug)]
pub struct Window {
    begin: Instant,
    end: Instant,
    /// Whether a request belongs to it by when it was due, and not by when it was answered.
    by_due: bool,
    last: Instant,
    slice: Duration,
    latency: Histogram<u64>,
    slices: Vec<Slice>,
    counts: Counts,
}

#[derive(Debug, Clone, Default)]
struct Slice {
    events: u64,
    worst_us: u64,
}

/// What was answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Requests answered, whatever the answer.
    pub requests: u64,
    /// Events stored.
    pub stored: u64,
    /// Events that had been stored before.
    pub repeated: u64,
    /// Requests, or items of one, that were refused or failed.
    pub failed: u64,
    /// Transactions that had to be tried again.
    pub retried: u64,
}

/// Shortest to longest, in microseconds.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Latency {
    /// Mean.
    pub mean_us: f64,
    /// Half of the requests took no longer.
    pub p50_us: u64,
    /// 90 of 100.
    pub p90_us: u64,
    /// 99 of 100.
    pub p99_us: u64,
    /// 999 of 1,000.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
    /// Pairs of a percentile and its latency in microseconds, for the curve.
    pub curve: Vec<(f64, u64)>,
}

/// The rate at a time.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Point {
    /// Since the beginning of the measured stretch, in seconds; the end of the slice.
    pub at_s: f64,
    /// Events stored a second in it.
    pub events_per_s: f64,
    /// The longest latency in it, in microseconds.
    pub worst_us: u64,
}

/// What a run came to.
#[derive(Debug)]
pub struct Measured {
    /// Length of the stretch, in seconds.
    pub seconds: f64,
    /// What was answered in it.
    pub counts: Counts,
    /// How long that took.
    pub latency: Histogram<u64>,
    slices: Vec<Slice>,
    slice: Duration,
}

impl Window {
    /// Begins at `begin`, for `duration`.
    ///
    /// # Errors
    /// As [`histogram`].
    pub fn open(begin: Instant, duration: Duration) -> Result<Self, Fault> {
        let slice_ms = (duration.as_millis() / u128::from(SLICES_MAX)).max(SLICE_MIN_MS);
        Ok(Self {
            begin,
            end: begin + duration,
            by_due: false,
            last: begin,
            slice: Duration::from_millis(u64::try_from(slice_ms)?),
            latency: histogram()?,
            slices: Vec::new(),
            counts: Counts::default(),
        })
    }

    /// As [`Window::open`], of requests that are due in it, whenever they are answered: it lasts until the last one
    /// is, so that a server that falls behind shows.
    ///
    /// # Errors
    /// As [`histogram`].
    pub fn open_by_due(begin: Instant, duration: Duration) -> Result<Self, Fault> {
        Ok(Self { by_due: true, ..Self::open(begin, duration)? })
    }

    /// Whether requests belong to it by when they were due.
    #[must_use]
    pub const fn by_due(&self) -> bool {
        self.by_due
    }

    fn holds(&self, at: Instant) -> bool {
        (self.begin..self.end).contains(&at)
    }

    /// Whether it has not ended at `now`.
    #[must_use]
    pub fn is_open(&self, now: Instant) -> bool {
        now < self.end
    }

    /// Notes an answer at `now` to a request that was due at `due`, if it belongs here.
    pub fn answered(&mut self, due: Instant, now: Instant, stored: u64, repeated: u64) {
        if !self.holds(if self.by_due { due } else { now }) {
            return;
        }
        self.last = self.last.max(now);
        let us = micros(now.saturating_duration_since(due));
        // It fails only beyond the bounds, which `micros` keeps.
        let _ = self.latency.record(us);
        self.counts.requests += 1;
        self.counts.stored += stored;
        self.counts.repeated += repeated;
        let at = (now - self.begin).as_millis() / self.slice.as_millis().max(1);
        let at = usize::try_from(at).unwrap_or(0);
        if self.slices.len() <= at {
            self.slices.resize(at + 1, Slice::default());
        }
        if let Some(slice) = self.slices.get_mut(at) {
            slice.events += stored;
            slice.worst_us = slice.worst_us.max(us);
        }
    }

    /// Notes that `failed` items were refused or failed, and that `retried` transactions were tried again, of a
    /// request that belongs here by `at`.
    pub fn troubled(&mut self, at: Instant, failed: u64, retried: u64) {
        if self.holds(at) {
            self.counts.failed += failed;
            self.counts.retried += retried;
        }
    }

    /// Ends it.
    #[must_use]
    pub fn close(mut self) -> Measured {
        let length = self.last.max(self.end) - self.begin;
        // A client that waited to the end has slices without an answer.
        let whole = length.as_millis() / self.slice.as_millis().max(1);
        self.slices.resize(usize::try_from(whole).unwrap_or(0).max(self.slices.len()), Slice::default());
        Measured {
            seconds: length.as_secs_f64(),
            counts: self.counts,
            latency: self.latency,
            slices: self.slices,
            slice: self.slice,
        }
    }
}

impl Measured {
    /// Adds what another client of the same run measured.
    ///
    /// # Errors
    /// None: all histograms have the same bounds.
    pub fn add(&mut self, other: &Self) -> Result<(), Fault> {
        self.seconds = self.seconds.max(other.seconds);
        self.latency.add(&other.latency)?;
        let (mine, theirs) = (&mut self.counts, &other.counts);
        mine.requests += theirs.requests;
        mine.stored += theirs.stored;
        mine.repeated += theirs.repeated;
        mine.failed += theirs.failed;
        mine.retried += theirs.retried;
        if self.slices.len() < other.slices.len() {
            self.slices.resize(other.slices.len(), Slice::default());
        }
        for (mine, theirs) in self.slices.iter_mut().zip(&other.slices) {
            mine.events += theirs.events;
            mine.worst_us = mine.worst_us.max(theirs.worst_us);
        }
        Ok(())
    }

    /// Events stored a second.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    pub fn events_per_s(&self) -> f64 {
        self.counts.stored as f64 / self.seconds
    }

    /// The latencies, summed up.
    #[must_use]
    pub fn latency(&self) -> Latency {
        summed_up(&self.latency)
    }

    /// The rate over time; the last slice is left out if it is not a whole one.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "for people")]
    pub fn points(&self) -> Vec<Point> {
        let slice_s = self.slice.as_secs_f64();
        let ends = (1..).map(|number: u32| slice_s * f64::from(number));
        let whole = ends.zip(&self.slices).take_while(|(end, _)| *end <= self.seconds + slice_s / 100.0);
        whole
            .map(|(at_s, slice)| Point {
                at_s,
                events_per_s: slice.events as f64 / slice_s,
                worst_us: slice.worst_us,
            })
            .collect()
    }
}

/// A histogram of microseconds, summed up.
#[must_use]
pub fn summed_up(times: &Histogram<u64>) -> Latency {
    Latency {
        mean_us: times.mean(),
        p50_us: times.value_at_quantile(0.5),
        p90_us: times.value_at_quantile(0.9),
        p99_us: times.value_at_quantile(0.99),
        p999_us: times.value_at_quantile(0.999),
        max_us: times.max(),
        curve: PERCENTILES.iter().map(|&at| (at, times.value_at_percentile(at))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_answered_within_counts_and_from_when_it_was_due() {
        let begin = Instant::now();
        let after = |ms| begin + Duration::from_millis(ms);
        let mut window = Window::open(after(1_000), Duration::from_secs(1)).unwrap();
        window.answered(begin, after(999), 1, 0);
        window.answered(after(900), after(1_100), 1, 0);
        window.answered(after(1_450), after(1_500), 2, 1);
        window.answered(after(1_999), after(2_000), 1, 0);
        window.troubled(after(1_500), 1, 2);
        let measured = window.close();
        let counts = Counts { requests: 2, stored: 3, repeated: 1, failed: 1, retried: 2 };
        assert_eq!(measured.counts, counts);
        assert!((measured.seconds - 1.0).abs() < 1e-9);
        let latency = measured.latency();
        assert!((199_000..=201_000).contains(&latency.max_us), "{latency:?}");
        assert!((49_900..=50_100).contains(&latency.p50_us), "{latency:?}");
        let points = measured.points();
        assert_eq!(points.len(), 10);
        assert!((points[1].events_per_s - 10.0).abs() < 1e-6, "{points:?}");
        assert!((points[5].events_per_s - 20.0).abs() < 1e-6, "{points:?}");
    }

    #[test]
    fn what_was_due_within_counts_however_late_it_is_answered() {
        let begin = Instant::now();
        let after = |ms| begin + Duration::from_millis(ms);
        let mut window = Window::open_by_due(after(0), Duration::from_secs(1)).unwrap();
        window.answered(after(999), after(3_000), 1, 0);
        window.answered(after(1_000), after(1_001), 1, 0);
        let measured = window.close();
        assert_eq!(measured.counts.requests, 1);
        assert!((measured.events_per_s() - 1.0 / 3.0).abs() < 1e-9, "{}", measured.seconds);
        assert!(measured.latency().p50_us >= 2_000_000);
    }

    #[test]
    fn clients_add_up() {
        let begin = Instant::now();
        let client = |us| {
            let mut window = Window::open(begin, Duration::from_secs(1)).unwrap();
            window.answered(begin, begin + Duration::from_micros(us), 1, 0);
            window.close()
        };
        let mut all = client(100);
        all.add(&client(300_000)).unwrap();
        assert_eq!((all.counts.requests, all.counts.stored), (2, 2));
        assert_eq!(all.latency().p50_us, 100);
        assert!(all.latency().max_us >= 299_000);
        assert_eq!(all.points().len(), 10);
    }
}
