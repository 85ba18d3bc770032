//! Time as the engine counts it: microseconds since 1970 in UTC.
//!
//! Outside, every time is RFC 3339 with milliseconds. The microseconds below carry the position of an
//! event within its request (docs/decisions/0003-order-of-events.md), so that events of one request
//! keep their order. The engine reads no clock here: [`Clock`] is an input.

use bincode::{Decode, Encode};
use jiff::SignedDuration;
use jiff::civil::DateTime;
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

    /// Reads RFC 3339 with any offset, such as `2026-01-31T09:30:00.250+05:30`. What is finer than a microsecond is
    /// cut off.
    ///
    /// `None` if the text is not a time, lies before 1970 or after the year 9999.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (there, zone) = parts_of_rfc3339(text)?;
        let there: DateTime = there.parse().ok()?;
        let us = there.duration_since(BEGIN).as_micros() - i128::from(zone_us(zone)?);
        let us = i64::try_from(us).ok()?;
        (us >= 0 && us / 1_000 <= crate::limits::TIME_MAX_MS).then_some(Self(us))
    }
}

/// Where time is counted from. By the calendar and not by the time library's instants, which end some hours before
/// the year 9999 does.
const BEGIN: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// Date and time, with as many decimals as are read, and the zone, of a text in the form of RFC 3339, which is narrower
/// than what the time library reads: `DDDD-DD-DDTDD:DD:DD[.D+](Z|±DD:DD)`.
fn parts_of_rfc3339(text: &str) -> Option<(&str, &str)> {
    const FORM: &[u8] = b"DDDD-DD-DDTDD:DD:DD";
    const DECIMALS_MAX: usize = 9;
    let shaped = text.as_bytes().get(..FORM.len())?.iter().zip(FORM).all(|(byte, form)| match form {
        b'D' => byte.is_ascii_digit(),
        b'T' => matches!(byte, b'T' | b't' | b' '),
        _ => byte == form,
    });
    let rest = shaped.then(|| text.get(FORM.len()..)).flatten()?;
    let Some(fraction) = rest.strip_prefix('.') else { return Some((text.get(..FORM.len())?, rest)) };
    let decimals = fraction.bytes().take_while(u8::is_ascii_digit).count();
    let read = FORM.len() + 1 + decimals.min(DECIMALS_MAX);
    (decimals > 0).then_some((text.get(..read)?, fraction.get(decimals..)?))
}

/// How far a zone is before UTC, in microseconds.
fn zone_us(zone: &str) -> Option<i64> {
    let digit = |byte: u8| byte.is_ascii_digit().then(|| i64::from(byte - b'0'));
    match *zone.as_bytes() {
        [b'Z' | b'z'] => Some(0),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let hours = digit(h1)? * 10 + digit(h2)?;
            let minutes = digit(m1)? * 10 + digit(m2)?;
            let us = (hours * 60 + minutes) * 60_000_000;
            (hours < 24 && minutes < 60).then_some(if sign == b'-' { -us } else { us })
        }
        _ => None,
    }
}

/// RFC 3339 in UTC with milliseconds, such as `2026-01-31T04:00:00.250Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match BEGIN.checked_add(SignedDuration::from_millis(self.millis())) {
            Ok(time) => write!(f, "{time:.3}Z"),
            Err(_) => f.write_str("9999-12-31T23:59:59.999Z"),
        }
    }
}

/// Where receive stamps come from. Tests bring their own.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present. May go back; the engine's stamps never do.
    fn now(&self) -> Timestamp;

    /// Whether time passes by itself. Where it does not, nothing happens by itself either: whoever sets the clock says
    /// by [`crate::Engine::tick`] when to look for links that have expired.
    fn passes(&self) -> bool {
        true
    }
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

    fn passes(&self) -> bool {
        false
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
    fn reads_to_the_end_of_the_year_9999_and_any_number_of_decimals() {
        let last = Timestamp(crate::limits::TIME_MAX_MS * 1_000 + 999);
        let table = [
            ("9999-12-31T23:59:59.999999Z", last, "9999-12-31T23:59:59.999Z"),
            ("9999-12-31T23:59:59.999999999999Z", last, "9999-12-31T23:59:59.999Z"),
            ("9999-12-31T22:59:59.999999-01:00", last, "9999-12-31T23:59:59.999Z"),
            ("1970-01-01T00:00:00.000001Z", Timestamp(1), "1970-01-01T00:00:00.000Z"),
            ("1970-01-01T05:30:00+05:30", Timestamp(0), "1970-01-01T00:00:00.000Z"),
            ("2024-02-29t12:00:00.5z", Timestamp(1_709_208_000_500_000), "2024-02-29T12:00:00.500Z"),
        ];
        for (text, time, shown) in table {
            assert_eq!(Timestamp::parse(text), Some(time), "{text}");
            assert_eq!(time.to_string(), shown);
        }
        assert_eq!(Timestamp::parse("9999-12-31T23:59:59.999-00:01"), None);
        assert_eq!(Timestamp(i64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
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
            "2026-02-29T09:30:00Z",
            "2026-01-31T24:00:00Z",
            "2026-01-31T09:30:00+24:00",
            "2026-01-31T09:30:00-05:60",
            "2026-01-31T09:30:00é",
            "1970-01-01T00:00:00+00:01",
            "now",
            "",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }
}
