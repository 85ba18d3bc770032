//! Exact decimal numbers, for counters and for the values of conversions.
//!
//! Owns the one representation of a sum: an integer count of billionths. Binary fractions are never
//! involved, so a sum is exact and does not depend on the order of its terms. Called by the fold of
//! traits and by the facts of an event.

use crate::json::Json;
use bincode::{Decode, Encode};
use std::fmt;

/// Billionths in one.
const UNITS_PER_ONE: u128 = 1_000_000_000;
/// Digits after the point that are kept.
const SCALE_DIGITS: i64 = 9;
/// Digits of the largest `i128`: more than this many never fit.
const UNITS_MAX_DIGITS: i64 = 39;
/// Exponents are cut off here: far beyond what is representable, far from overflow of the sums below.
const EXPONENT_MAX: i64 = 1 << 40;

/// A number in units of 1e-9, within about ±1.7e29.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct Decimal(pub i128);

impl Decimal {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// Reads the text of a JSON number exactly, such as `-12.50` or `1e-3`.
    ///
    /// Digits beyond the ninth after the point are rounded, halves to the even neighbour. `None` if the text is
    /// not a JSON number or lies beyond the range. Costs one pass over the text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let parts = NumberParts::split(text)?;
        let digits = parts.significant_digits();
        let digits_count = i64::try_from(digits.clone().count()).ok()?;
        if digits_count == 0 {
            return Some(Self::ZERO);
        }
        let scale = parts
            .exponent
            .checked_sub(i64::try_from(parts.fraction.len()).ok()?)?
            .checked_add(SCALE_DIGITS)?;
        let kept_count = digits_count.checked_add(scale)?;
        if kept_count > UNITS_MAX_DIGITS {
            return None;
        }
        let magnitude = units(digits, digits_count, kept_count)?;
        Some(Self(if parts.negative { -magnitude } else { magnitude }))
    }

    /// Reads a JSON value; `None` if it is not a number, or beyond the range.
    #[must_use]
    pub fn from_json(json: &Json) -> Option<Self> {
        Self::parse(json.as_str())
    }

    /// The sum; `None` if it lies beyond the range.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The sum, held at the end of the range if it lies beyond.
    #[must_use]
    pub fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// Without exponent and without trailing zeros: `12`, `0.1`, `-3.5`. Reads back as the same number.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let (whole, fraction) = (magnitude / UNITS_PER_ONE, magnitude % UNITS_PER_ONE);
        if self.0 < 0 {
            f.write_str("-")?;
        }
        write!(f, "{whole}")?;
        if fraction != 0 {
            write!(f, ".{}", format!("{fraction:09}").trim_end_matches('0'))?;
        }
        Ok(())
    }
}

/// A JSON number taken apart, by the grammar of RFC 8259 section 6.
struct NumberParts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    exponent: i64,
}

impl<'a> NumberParts<'a> {
    fn split(text: &'a str) -> Option<Self> {
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, rest) = take_digits(rest);
        if whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) {
            return None;
        }
        let (fraction, rest) = match rest.strip_prefix('.') {
            Some(rest) => {
                let (fraction, rest) = take_digits(rest);
                if fraction.is_empty() {
                    return None;
                }
                (fraction, rest)
            }
            None => ("", rest),
        };
        Some(Self { negative, whole, fraction, exponent: read_exponent(rest)? })
    }

    /// All digits from the first that is not zero.
    fn significant_digits(&self) -> impl Iterator<Item = u8> + Clone {
        self.whole
            .bytes()
            .chain(self.fraction.bytes())
            .map(|byte| byte - b'0')
            .skip_while(|digit| *digit == 0)
    }
}

fn take_digits(text: &str) -> (&str, &str) {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

/// What follows the digits: nothing, or `e` with a sign or without, and digits.
fn read_exponent(text: &str) -> Option<i64> {
    if text.is_empty() {
        return Some(0);
    }
    let rest = text.strip_prefix(['e', 'E'])?;
    let (sign, rest) = match (rest.strip_prefix('-'), rest.strip_prefix('+')) {
        (Some(rest), _) => (-1, rest),
        (None, Some(rest)) => (1, rest),
        (None, None) => (1, rest),
    };
    let (digits, rest) = take_digits(rest);
    if digits.is_empty() || !rest.is_empty() {
        return None;
    }
    let magnitude = digits.bytes().fold(0_i64, |sum, byte| {
        (sum.saturating_mul(10).saturating_add(i64::from(byte - b'0'))).min(EXPONENT_MAX)
    });
    Some(sign * magnitude)
}

/// The first `kept_count` of `digits_count` digits as a number, with zeros behind if there are fewer, and rounded by
/// the digits that are left over.
fn units(digits: impl Iterator<Item = u8>, digits_count: i64, kept_count: i64) -> Option<i128> {
    if kept_count < 0 {
        return Some(0); // less than a tenth of a unit
    }
    let mut magnitude: i128 = 0;
    let mut dropped_first = 0;
    let mut dropped_rest = false;
    for (place, digit) in (0_i64..).zip(digits) {
        if place < kept_count {
            magnitude = magnitude.checked_mul(10)?.checked_add(i128::from(digit))?;
        } else if place == kept_count {
            dropped_first = digit;
        } else {
            dropped_rest |= digit != 0;
        }
    }
    for _ in digits_count..kept_count {
        magnitude = magnitude.checked_mul(10)?;
    }
    let odd = magnitude % 2 == 1;
    let up = dropped_first > 5 || (dropped_first == 5 && (dropped_rest || odd));
    magnitude.checked_add(i128::from(up))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> String {
        Decimal::parse(text).map_or_else(|| "none".to_owned(), |number| number.to_string())
    }

    #[test]
    fn reads_json_numbers_exactly() {
        for (text, expected) in [
            ("12", "12"),
            ("0.1", "0.1"),
            ("-3.50", "-3.5"),
            ("-0", "0"),
            ("0.000", "0"),
            ("1e3", "1000"),
            ("1E+2", "100"),
            ("25e-1", "2.5"),
            ("0.00000000012e2", "0.000000012"),
            ("18446744073709551615", "18446744073709551615"),
            ("0e999999999999999999999999", "0"),
            ("1e-999999999999999999999999", "0"),
            ("170141183460469231731687303715.884105727", "170141183460469231731687303715.884105727"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn rounds_halves_to_the_even_neighbour() {
        for (text, expected) in [
            ("0.0000000005", "0"),
            ("0.0000000015", "0.000000002"),
            ("0.0000000025", "0.000000002"),
            ("0.00000000250000001", "0.000000003"),
            ("0.00000000051", "0.000000001"),
            ("0.00000000049", "0"),
            ("-0.0000000015", "-0.000000002"),
            ("0.00000000009", "0"),
            ("0.9999999999", "1"),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_json_number_or_too_large() {
        for text in [
            "",
            "-",
            "+1",
            "01",
            ".5",
            "1.",
            "1.e3",
            "1e",
            "1e+",
            "1x",
            " 1",
            "1 ",
            "NaN",
            "\"1\"",
            "null",
            "--1",
            "1e40",
            "1e999999999999999999999999",
            "170141183460469231731687303715.884105728",
        ] {
            assert_eq!(shown(text), "none", "{text}");
        }
    }

    #[test]
    fn a_sum_beyond_the_range_is_refused_or_held() {
        let largest = Decimal(i128::MAX);
        assert_eq!(largest.checked_add(Decimal(1)), None);
        assert_eq!(largest.saturating_add(Decimal(1)), largest);
        assert_eq!(Decimal(i128::MIN).to_string(), "-170141183460469231731687303715.884105728");
    }

    proptest! {
        #[test]
        fn what_is_shown_reads_back(units in any::<i128>()) {
            let number = Decimal(if units == i128::MIN { i128::MAX } else { units });
            prop_assert_eq!(Decimal::parse(&number.to_string()), Some(number));
        }

        #[test]
        fn moving_the_point_changes_nothing(units in -1_000_000_000_000_000_000_i128..1_000_000_000_000_000_000, by in -20_i64..=0) {
            // units * 10^(by - 9), once by exponent and once by shifting the digits
            let text = format!("{units}e{}", by - 9);
            let exact = {
                let divisor = 10_i128.pow(u32::try_from(-by).unwrap().min(38));
                let (whole, rest) = (units.abs() / divisor, units.abs() % divisor);
                let up = rest * 2 > divisor || (rest * 2 == divisor && whole % 2 == 1);
                (whole + i128::from(up)) * units.signum()
            };
            prop_assert_eq!(Decimal::parse(&text), Some(Decimal(exact)));
        }

        #[test]
        fn sums_do_not_depend_on_order(terms in prop::collection::vec(-1e15_f64..1e15, 0..30)) {
            let sum = |terms: &mut dyn Iterator<Item = &f64>| terms.fold(Decimal::ZERO, |sum, term| {
                sum.checked_add(Decimal::parse(&term.to_string()).unwrap()).unwrap()
            });
            prop_assert_eq!(sum(&mut terms.iter()), sum(&mut terms.iter().rev()));
        }

        #[test]
        fn never_panics(text in "[-+0-9.eE]{0,60}|\\PC{0,20}") {
            let _ = Decimal::parse(&text);
        }
    }
}
