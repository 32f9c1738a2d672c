//! Times and sizes as people write them.

use std::time::Duration;

const TIMES: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];
const SIZES: &[(&str, u64)] = &[
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Reads a time such as `250ms`, `1s` or `7d`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let millis = parse(text, TIMES).ok_or_else(|| {
        format!(
            "`{text}` is not a time: write a whole number and ms, s, m, h or d, such as \"10s\""
        )
    })?;
    Ok(Duration::from_millis(millis))
}

/// Reads a size such as `128MiB`, in bytes.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    parse(text, SIZES).ok_or_else(|| {
        format!("`{text}` is not a size: write a whole number and B, KiB, MiB or GiB, such as \"128MiB\"")
    })
}

/// A size as people read it.
pub(crate) fn show_size(bytes: u64) -> String {
    let fits = |unit: &&(&str, u64)| bytes >= unit.1;
    let (name, unit) = SIZES.iter().rev().find(fits).unwrap_or(&SIZES[0]);
    match *unit {
        1 => format!("{bytes} {name}"),
        unit => format!("{:.1} {name}", bytes as f64 / unit as f64),
    }
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_a_number_and_a_unit() {
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(parse_duration("1 s"), Ok(Duration::from_secs(1)));
        assert_eq!(parse_duration("7d"), Ok(Duration::from_secs(604_800)));
        assert_eq!(parse_size("128MiB"), Ok(128 << 20));
        assert_eq!(parse_size("512B"), Ok(512));
    }

    #[test]
    fn anything_else_is_refused_with_an_example() {
        for bad in [
            "",
            "1",
            "s",
            "-1s",
            "1.5s",
            "1S",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert!(
                parse_duration(bad).unwrap_err().contains("such as"),
                "{bad}"
            );
        }
        for bad in ["128", "128MB", "MiB", "99999999TiB"] {
            assert!(parse_size(bad).unwrap_err().contains("such as"), "{bad}");
        }
    }

    #[test]
    fn sizes_are_shown_in_the_largest_unit_that_fits() {
        assert_eq!(show_size(0), "0 B");
        assert_eq!(show_size(1536), "1.5 KiB");
        assert_eq!(show_size(3 << 30), "3.0 GiB");
    }
}
