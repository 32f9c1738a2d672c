//! Hours, days, weeks and months in UTC: the buckets of historical figures.

use crate::table::Key;

const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;
const WEEK: u64 = 7 * DAY;
/// 1970-01-01 was a Thursday: days from the Monday before it.
const MONDAY: u64 = 3 * DAY;

/// The width of a bucket. Buckets are UTC, `[start, end)`; weeks start on Monday.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Period {
    /// From full hour to full hour.
    Hour,
    /// From midnight to midnight.
    Day,
    /// From Monday to Monday; the first one begins in 1970 with a Thursday.
    Week,
    /// From the first of a month to that of the next.
    Month,
}

impl Period {
    /// All of them, the shortest first.
    pub const ALL: [Self; 4] = [Self::Hour, Self::Day, Self::Week, Self::Month];

    /// The start of the bucket that a moment is in; both in seconds since 1970.
    pub fn start(self, time: u64) -> u64 {
        match self {
            Self::Hour => time - time % HOUR,
            Self::Day => time - time % DAY,
            Self::Week => time.saturating_sub((time % WEEK + MONDAY) % WEEK),
            Self::Month => {
                let (year, month, _) = civil(time / DAY);
                days(year, month) * DAY
            }
        }
    }

    /// The start of the bucket behind the one that begins at `start`.
    pub fn next(self, start: u64) -> u64 {
        match self {
            Self::Hour => start.saturating_add(HOUR),
            Self::Day => start.saturating_add(DAY),
            // The first week is cut off by 1970.
            Self::Week if start == 0 => WEEK - MONDAY,
            Self::Week => start.saturating_add(WEEK),
            Self::Month => {
                let (year, month, _) = civil(start / DAY);
                let (year, month) = if month == 12 {
                    (year + 1, 1)
                } else {
                    (year, month + 1)
                };
                days(year, month).saturating_mul(DAY)
            }
        }
    }

    fn number(self) -> u8 {
        match self {
            Self::Hour => 1,
            Self::Day => 2,
            Self::Week => 3,
            Self::Month => 4,
        }
    }
}

impl Key for Period {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.number());
    }

    fn read(input: &mut &[u8]) -> Option<Self> {
        let number = u8::read(input)?;
        Self::ALL
            .into_iter()
            .find(|period| period.number() == number)
    }
}

/// The civil date of a day since 1970, by Howard Hinnant, "chrono-compatible low-level date algorithms",
/// `civil_from_days`, for days that are not negative.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// Days from 1970 to the first of a month: `days_from_civil` of the same source.
fn days(year: u64, month: u64) -> u64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year / 400, year % 400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let of_year = (153 * shifted_month + 2) / 5;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    (era * 146_097 + of_era).saturating_sub(719_468)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_begin_where_the_calendar_says() {
        // 2024-02-29T13:45:10Z, a Thursday.
        let time = 1_709_214_310;
        assert_eq!(Period::Hour.start(time), 1_709_211_600);
        assert_eq!(Period::Day.start(time), 1_709_164_800);
        assert_eq!(Period::Week.start(time), 1_708_905_600);
        assert_eq!(Period::Month.start(time), 1_706_745_600);
        assert_eq!(Period::Month.next(1_706_745_600), 1_709_251_200);
        assert_eq!(
            Period::Month.next(1_701_388_800),
            1_704_067_200,
            "December to January"
        );
    }

    #[test]
    fn every_moment_is_in_the_bucket_that_begins_last_before_it() {
        for period in Period::ALL {
            let (mut start, mut buckets) = (period.start(0), 0);
            assert_eq!(start, 0, "{period:?}");
            while buckets < 3000 {
                let next = period.next(start);
                assert!(next > start, "{period:?} {start}");
                for time in [start, start + 1, next - 1] {
                    assert_eq!(period.start(time), start, "{period:?} {time}");
                }
                (start, buckets) = (next, buckets + 1);
            }
        }
    }

    #[test]
    fn the_end_of_time_is_in_a_bucket_too() {
        for period in Period::ALL {
            let start = period.start(u64::MAX);
            assert!(u64::MAX - start < 31 * DAY, "{period:?} {start}");
            assert!(period.next(start) > start, "{period:?}");
        }
    }

    #[test]
    fn a_period_comes_back_from_its_key() {
        for period in Period::ALL {
            let mut bytes = Vec::new();
            period.write(&mut bytes);
            assert_eq!(Period::read(&mut &bytes[..]), Some(period));
        }
        assert_eq!(Period::read(&mut &[9][..]), None);
    }
}
