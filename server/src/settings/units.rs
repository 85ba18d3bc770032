//! Sizes and durations as an operator writes them: `"256MiB"`, `"30m"`. Knows no setting.

/// Units of size, largest first, so that writing finds the largest that fits.
const SIZES: [(&str, u64); 7] = [
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

/// Units of time, largest first, in milliseconds.
const DURATIONS: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Bytes of a size such as `256MiB`; `None` if it is none.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    parse(text, &SIZES)
}

/// Milliseconds of a duration such as `30m`; `None` if it is none.
#[must_use]
pub fn parse_duration(text: &str) -> Option<u64> {
    parse(text, &DURATIONS)
}

/// A size that [`parse_size`] reads back.
#[must_use]
pub fn size(bytes: u64) -> String {
    write(bytes, &SIZES)
}

/// A duration that [`parse_duration`] reads back.
#[must_use]
pub fn duration(ms: u64) -> String {
    write(ms, &DURATIONS)
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn write(value: u64, units: &[(&str, u64)]) -> String {
    let exact = units.iter().find(|(_, factor)| value != 0 && value.is_multiple_of(*factor));
    let (unit, factor) = exact.or(units.last()).copied().unwrap_or(("", 1));
    format!("{}{unit}", value / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_units_and_refuses_what_has_none() {
        for (text, bytes) in [("256MiB", 256 << 20), ("1 GiB", 1 << 30), ("10MB", 10_000_000), ("0B", 0)] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
        }
        for (text, ms) in [("30m", 1_800_000), ("1500ms", 1_500), (" 2h ", 7_200_000), ("1d", 86_400_000)] {
            assert_eq!(parse_duration(text), Some(ms), "{text}");
        }
        for text in ["", "5", "MiB", "-1MiB", "1.5GiB", "1mib", "99999999999GiB", "ä", "1 0 B"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        for value in [0, 1, 999, 1_000, 1_024, 1_536, 60_000, 90_000, 256 << 20, u64::MAX] {
            assert_eq!(parse_size(&size(value)), Some(value));
            assert_eq!(parse_duration(&duration(value)), Some(value));
        }
        assert_eq!((size(256 << 20).as_str(), duration(1_800_000).as_str()), ("256MiB", "30m"));
    }
}
