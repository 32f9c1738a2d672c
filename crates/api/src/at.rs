//! `?at=`: which past a read is of.

use cairn_domain::{Position, Stream};
use cairn_engine::store::ReadView;
use jiff::{Timestamp, civil::Date, tz::TimeZone};

use crate::{
    cursor::{Cursor, CursorKeys},
    error::ApiError,
    shard::Shard,
};

/// From here on a number above the head's height is Unix seconds, not a height (September 2001).
const FIRST_UNIX_TIME: u64 = 1_000_000_000;

/// What `?at=` names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum At {
    /// A moment, named by a cursor.
    Moment(Cursor),
    /// A height, or, where the head is lower and the number is large, Unix seconds.
    Number(u64),
    /// Seconds since 1970.
    Time(u64),
}

impl At {
    /// Reads a height, a date, an RFC 3339 time, Unix seconds or a cursor of these shards.
    pub(crate) fn parse(text: &str, keys: &CursorKeys) -> Result<Self, ApiError> {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            let number = text.parse().map_err(|_| fail("the number is too large"))?;
            return Ok(Self::Number(number));
        }
        if let Some(time) = time(text) {
            let seconds = u64::try_from(time.as_second());
            return seconds
                .map(Self::Time)
                .map_err(|_| fail("it is before 1970"));
        }
        let cursor = Cursor::decode(text, keys).map_err(|_| {
            fail(
                "expected a height, a date, an RFC 3339 time, Unix seconds or a cursor of this log",
            )
        })?;
        Ok(Self::Moment(cursor))
    }

    /// The cursor that names a moment, if one does.
    pub(crate) fn moment(&self) -> Option<&Cursor> {
        match self {
            Self::Moment(cursor) => Some(cursor),
            Self::Number(_) | Self::Time(_) => None,
        }
    }

    /// The position that it names on a chain, by the latest view of the chain's shard.
    pub(crate) fn resolve(
        &self,
        shard: &Shard,
        latest: &ReadView,
        stream: &Stream,
    ) -> Result<Position, ApiError> {
        let number = match self {
            Self::Moment(cursor) => return cursor.position(shard),
            Self::Number(number) | Self::Time(number) => *number,
        };
        let ends = latest
            .ends(stream)?
            .ok_or_else(|| fail("the chain has no block yet"))?;
        let (first, head) = (ends.first.height, ends.head.height);
        let is_height =
            matches!(self, Self::Number(_)) && (number <= head || number < FIRST_UNIX_TIME);
        let height = if is_height {
            number
        } else {
            height_at(latest, stream, number, head)?
        };
        if height < first || height > head {
            return Err(fail(&format!(
                "height {height} is outside of {first} to {head}"
            )));
        }
        let position = latest.position_of(stream, height)?;
        position.ok_or_else(|| fail(&format!("no block at height {height}")))
    }
}

fn fail(reason: &str) -> ApiError {
    ApiError::parameter("at", reason)
}

fn height_at(view: &ReadView, stream: &Stream, time: u64, head: u64) -> Result<u64, ApiError> {
    let newest = view
        .canonical(stream, head)?
        .map_or(0, |block| block.timestamp);
    if time > newest {
        return Err(fail(&format!(
            "the head is older: its time is {newest} in Unix seconds"
        )));
    }
    let height = view.height_at(stream, time)?;
    height.ok_or_else(|| fail("it is before the first indexed block"))
}

/// A date, an RFC 3339 time or Unix seconds, as seconds since 1970.
pub(crate) fn seconds(text: &str) -> Option<u64> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok();
    }
    u64::try_from(time(text)?.as_second()).ok()
}

/// A date (its first moment in UTC) or an RFC 3339 time, whose `+` may have become a space in the
/// query string.
fn time(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    if text.len() == "2025-01-01".len() {
        let midnight = text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok()?;
        return Some(midnight.timestamp());
    }
    let (date_and_time, offset) = text.rsplit_once(' ')?;
    format!("{date_and_time}+{offset}").parse().ok()
}

#[cfg(test)]
mod tests {
    use cairn_engine::log::LogId;

    use super::*;

    fn parse(text: &str) -> Result<At, ApiError> {
        At::parse(text, &key())
    }

    fn key() -> CursorKeys {
        CursorKeys::of([LogId([7; 16])])
    }

    #[test]
    fn heights_dates_times_and_cursors_are_told_apart() {
        assert_eq!(parse("17686110").unwrap(), At::Number(17_686_110));
        assert_eq!(parse("2023-07-13").unwrap(), At::Time(1_689_206_400));
        assert_eq!(
            parse("2023-07-13T17:38:23Z").unwrap(),
            At::Time(1_689_269_903)
        );
        assert_eq!(
            parse("2023-07-13T19:38:23+02:00").unwrap(),
            At::Time(1_689_269_903)
        );
        assert_eq!(
            parse("2023-07-13T19:38:23 02:00").unwrap(),
            At::Time(1_689_269_903)
        );
        let moment = Cursor::at(vec![Position(5)]);
        let cursor = moment.encode(&key());
        assert_eq!(parse(&cursor).unwrap(), At::Moment(moment));
    }

    #[test]
    fn anything_else_is_an_error_that_says_what_is_expected() {
        for bad in [
            "",
            "yesterday",
            "-5",
            "1969-01-01",
            "2023-13-01",
            "99999999999999999999999",
        ] {
            let error = parse(bad).unwrap_err();
            assert!(error.message.starts_with("`at`:"), "{bad}: {error}");
        }
    }
}
