//! Time as the engine counts it: microseconds since 1970 in UTC.
//!
//! Outside, every time is RFC 3339 with milliseconds. The microseconds below carry the position of an
//! event within its request (docs/decisions/0003-order-of-events.md), so that events of one request
//! keep their order. The engine reads no clock here: [`Clock`] is an input.

use bincode::{Decode, Encode};
use std::fmt;

/// Microseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// From milliseconds since 1970; saturates.
    #[must_use]
    pub const fn from_millis(ms: i64) -> Self {
        Self(ms.saturating_mul(1_000))
    }

    /// Milliseconds since 1970, rounded down.
    #[must_use]
    pub const fn millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Reads RFC 3339 with any offset, such as `2026-01-31T09:30:00.250+05:30`.
    ///
    /// `None` if the text is not a time, lies before 1970 or after the year 9999.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if !is_rfc3339(text) {
            return None;
        }
        let time: jiff::Timestamp = text.parse().ok()?;
        let us = time.as_microsecond();
        (us >= 0 && us / 1_000 <= crate::limits::TIME_MAX_MS).then_some(Self(us))
    }
}

/// Whether a text has the form of RFC 3339, which is narrower than what the time library reads:
/// `DDDD-DD-DDTDD:DD:DD[.D+](Z|±DD:DD)`, at most nine decimals.
fn is_rfc3339(text: &str) -> bool {
    const FORM: &[u8] = b"DDDD-DD-DDTDD:DD:DD";
    let bytes = text.as_bytes();
    let Some((head, rest)) = bytes.split_at_checked(FORM.len()) else { return false };
    let shaped = head.iter().zip(FORM).all(|(byte, form)| match form {
        b'D' => byte.is_ascii_digit(),
        b'T' => matches!(byte, b'T' | b't' | b' '),
        _ => byte == form,
    });
    let decimals =
        rest.strip_prefix(b".").map_or(0, |tail| tail.iter().take_while(|b| b.is_ascii_digit()).count());
    let zone = if rest.first() == Some(&b'.') { rest.get(decimals + 1..) } else { Some(rest) };
    let fraction = rest.first() != Some(&b'.') || (1..=9).contains(&decimals);
    let zoned = match zone {
        Some([b'Z' | b'z']) => true,
        Some([b'+' | b'-', h1, h2, b':', m1, m2]) => {
            [h1, h2, m1, m2].iter().all(|digit| digit.is_ascii_digit())
        }
        _ => false,
    };
    shaped && fraction && zoned
}

/// RFC 3339 in UTC with milliseconds, such as `2026-01-31T04:00:00.250Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.millis()) {
            Ok(time) => write!(f, "{time:.3}"),
            Err(_) => f.write_str("9999-12-31T23:59:59.999Z"),
        }
    }
}

/// Where receive stamps come from. Tests bring their own.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present. May go back; the engine's stamps never do.
    fn now(&self) -> Timestamp;
}

/// The clock of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }
}

/// A clock that stands still until it is told to move, for tests.
#[derive(Debug, Default)]
pub struct ManualClock(std::sync::atomic::AtomicI64);

impl ManualClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        Self(std::sync::atomic::AtomicI64::new(now.0))
    }

    /// Shows `now` from here on.
    pub fn set(&self, now: Timestamp) {
        self.0.store(now.0, std::sync::atomic::Ordering::SeqCst);
    }

    /// Moves on by `ms` milliseconds.
    pub fn advance_ms(&self, ms: i64) {
        self.0.fetch_add(ms * 1_000, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_offsets_and_writes_utc_with_milliseconds() {
        let time = Timestamp::parse("2026-01-31T09:30:00.250+05:30").unwrap();
        assert_eq!(time.to_string(), "2026-01-31T04:00:00.250Z");
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn refuses_what_is_out_of_range_or_not_a_time() {
        for text in [
            "1969-12-31T23:59:59Z",
            "+10000-01-01T00:00:00Z",
            "2026-01-31",
            "2026-01-31T09:30Z",
            "20260131T093000Z",
            "2026-01-31T09:30:00,5Z",
            "2026-01-31T09:30:00.Z",
            "2026-01-31T09:30:00+05",
            "2026-01-31T09:30:00+0530",
            "2026-01-31T09:30:00Z[Europe/Paris]",
            "2026-13-31T09:30:00Z",
            "now",
            "",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }
}
