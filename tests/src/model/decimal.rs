//! Decimal numbers as counters and values know them: exact to nine decimals, rounded half to even.

const PLACES: i32 = 9;

/// A number in units of 10^-9.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Decimal(pub(super) i128);

impl Decimal {
    /// Reads the text of a JSON number; `None` for anything else and for what is too large to keep exactly.
    pub(super) fn read(text: &str) -> Option<Self> {
        let (negative, text) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (mantissa, exponent) = match text.split_once(['e', 'E']) {
            Some((mantissa, exponent)) => (mantissa, exponent.parse::<i32>().ok()?),
            None => (text, 0),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        if whole.is_empty() || !whole.chars().chain(fraction.chars()).all(|c| c.is_ascii_digit()) {
            return None;
        }
        let digits: Vec<u8> = whole.bytes().chain(fraction.bytes()).map(|digit| digit - b'0').collect();
        // How many of the digits stand before the last place that is kept.
        let kept = i32::try_from(whole.len()).ok()?.checked_add(exponent)?.checked_add(PLACES)?;
        let mut units: i128 = 0;
        for place in 0..kept.max(0) {
            let digit = usize::try_from(place).ok().and_then(|place| digits.get(place)).copied().unwrap_or(0);
            units = units.checked_mul(10)?.checked_add(i128::from(digit))?;
        }
        let rest: Vec<u8> = if kept < 0 {
            vec![0]
        } else {
            digits.iter().copied().skip(usize::try_from(kept).ok()?).collect()
        };
        if rounds_up(&rest, units % 2 == 1) {
            units += 1;
        }
        Some(Self(if negative { -units } else { units }))
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self(self.0 + other.0)
    }
}

fn rounds_up(rest: &[u8], odd: bool) -> bool {
    match rest.split_first() {
        Some((5, tail)) => odd || tail.iter().any(|digit| *digit > 0),
        Some((first, _)) => *first > 5,
        None => false,
    }
}

impl std::fmt::Display for Decimal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let text = format!("{:010}", self.0.unsigned_abs());
        let (whole, fraction) = text.split_at(text.len() - 9);
        let fraction = fraction.trim_end_matches('0');
        if fraction.is_empty() { write!(f, "{sign}{whole}") } else { write!(f, "{sign}{whole}.{fraction}") }
    }
}

#[cfg(test)]
mod tests {
    use super::Decimal;

    #[test]
    fn keeps_nine_decimals_and_rounds_half_to_even() {
        for (text, shown) in [
            ("0", "0"),
            ("-0.10", "-0.1"),
            ("12.5e1", "125"),
            ("125e-3", "0.125"),
            ("1.0000000005", "1"),
            ("1.0000000015", "1.000000002"),
            ("1.00000000051", "1.000000001"),
            ("1e-12", "0"),
            ("18446744073709551615", "18446744073709551615"),
        ] {
            assert_eq!(Decimal::read(text).unwrap().to_string(), shown, "{text}");
        }
        for text in ["\"1\"", "true", "1e300", ""] {
            assert_eq!(Decimal::read(text), None, "{text}");
        }
    }
}
