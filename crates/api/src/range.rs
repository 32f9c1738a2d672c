//! Ranges of bytes, as RFC 9110 has them: one range; several are answered with the whole.

use std::ops::Range;

use axum::http::{HeaderMap, header};

/// What a request wants of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Asked {
    /// All of it.
    All,
    /// These bytes.
    Part(Range<u64>),
    /// Bytes that it does not have.
    Nothing,
}

/// What a request wants of a file with a tag and of so many bytes.
pub(crate) fn asked_range(headers: &HeaderMap, tag: &str, size: u64) -> Asked {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    // Who had another file before needs all of this one.
    if text(header::IF_RANGE).is_some_and(|known| known != tag) {
        return Asked::All;
    }
    let spec = text(header::RANGE).and_then(|range| range.trim().strip_prefix("bytes="));
    match spec.and_then(|spec| parse(spec.trim(), size)) {
        // What cannot be read is as if it were not there.
        None => Asked::All,
        Some(range) if range.start >= range.end => Asked::Nothing,
        Some(range) => Asked::Part(range),
    }
}

/// The bytes that a range means, of a file of that size; an empty one where it has none of them.
fn parse(spec: &str, size: u64) -> Option<Range<u64>> {
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let (first, last) = spec.split_once('-')?;
    if !digits(first) || !digits(last) {
        return None;
    }
    match (first, last) {
        ("", "") => None,
        ("", count) => {
            let count: u64 = count.parse().unwrap_or(u64::MAX);
            Some(size.saturating_sub(count)..size)
        }
        (first, "") => Some(first.parse().unwrap_or(u64::MAX)..size),
        (first, last) => {
            let first: u64 = first.parse().unwrap_or(u64::MAX);
            let last: u64 = last.parse().unwrap_or(u64::MAX);
            (first <= last).then(|| first..last.saturating_add(1).min(size))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(range: &str) -> Asked {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, range.parse().unwrap());
        asked_range(&headers, "\"tag\"", 100)
    }

    #[test]
    fn one_range_is_taken_and_what_is_none_is_passed_over() {
        assert_eq!(asked("bytes=0-9"), Asked::Part(0..10));
        assert_eq!(asked("bytes=90-"), Asked::Part(90..100));
        assert_eq!(asked("bytes=90-1000"), Asked::Part(90..100));
        assert_eq!(asked("bytes=-10"), Asked::Part(90..100));
        assert_eq!(asked("bytes=-1000"), Asked::Part(0..100));
        assert_eq!(asked("bytes=100-"), Asked::Nothing);
        assert_eq!(asked("bytes=-0"), Asked::Nothing);
        for odd in [
            "bytes=9-0",
            "bytes=0-1,5-6",
            "bytes=a-b",
            "bytes=-",
            "lines=0-1",
            "bytes=+1-2",
        ] {
            assert_eq!(asked(odd), Asked::All, "{odd}");
        }
    }

    #[test]
    fn who_had_another_file_gets_all_of_this_one() {
        let mut headers = HeaderMap::new();
        headers.insert(header::RANGE, "bytes=0-9".parse().unwrap());
        headers.insert(header::IF_RANGE, "\"tag\"".parse().unwrap());
        assert_eq!(asked_range(&headers, "\"tag\"", 100), Asked::Part(0..10));
        assert_eq!(asked_range(&headers, "\"new\"", 100), Asked::All);
    }
}
