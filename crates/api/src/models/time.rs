//! Times as they go out.

use std::fmt;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

/// Seconds since 1970, shown as RFC 3339 in UTC with `Z`. A time that a chain claims and no
/// calendar knows is shown as the last one that it knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) u64);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = i64::try_from(self.0).unwrap_or(i64::MAX);
        fmt::Display::fmt(
            &Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX),
            f,
        )
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rfc_3339_in_utc() {
        assert_eq!(Time(1_689_269_903).to_string(), "2023-07-13T17:38:23Z");
        assert!(Time(u64::MAX).to_string().starts_with("9999-12-"));
    }
}
