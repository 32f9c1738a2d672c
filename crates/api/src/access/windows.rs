//! How much a caller may ask for: so many requests in each minute and each hour of the clock, as the guide's
//! table and its example of a reset have it.

use std::sync::{Mutex, MutexGuard};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use cairn_domain::{events::Tier, projections::partners::RecentRow};

const MINUTE: u64 = 60;
const HOUR: u64 = 3600;

const LIMIT: HeaderName = HeaderName::from_static("x-ratelimit-limit");
const REMAINING: HeaderName = HeaderName::from_static("x-ratelimit-remaining");
const RESET: HeaderName = HeaderName::from_static("x-ratelimit-reset");
const FIELD: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The headers of limits, for pages of other origins.
pub(crate) const HEADERS: [HeaderName; 5] = [LIMIT, REMAINING, RESET, FIELD, POLICY];

/// Requests in each minute and in each hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) per_minute: u64,
    pub(crate) per_hour: u64,
}

impl Quota {
    /// What the guide's table gives a tier.
    pub(crate) fn of(tier: Tier) -> Self {
        let (per_minute, per_hour) = match tier {
            Tier::Basic => (100, 5_000),
            Tier::Pro => (1_000, 50_000),
            Tier::Enterprise => (10_000, 500_000),
        };
        Self {
            per_minute,
            per_hour,
        }
    }
}

/// What a caller asked for in the minute and the hour of its last request.
#[derive(Debug, Default)]
pub(crate) struct Windows(Mutex<[Window; 2]>);

#[derive(Debug, Clone, Copy, Default)]
struct Window {
    /// Which minute or hour, counted from 1970.
    number: u64,
    count: u64,
}

impl Window {
    /// Goes on to the window of a moment; clocks that step back stay in the one that they left.
    fn turn(&mut self, seconds: u64, length: u64) {
        let number = seconds / length;
        if number > self.number {
            *self = Self { number, count: 0 };
        }
    }
}

impl From<RecentRow> for Windows {
    fn from(recent: RecentRow) -> Self {
        let window = |number, count| Window { number, count };
        let hour = recent.minute / (HOUR / MINUTE);
        Self(Mutex::new([
            window(recent.minute, recent.in_minute),
            window(hour, recent.in_hour),
        ]))
    }
}

impl Windows {
    fn windows(&self) -> MutexGuard<'_, [Window; 2]> {
        self.0.lock().expect("no panic holds it")
    }

    /// Counts a request at a moment, in seconds since 1970, if both windows have room for it.
    pub(crate) fn take(&self, quota: Quota, now: u64) -> Verdict {
        let mut windows = self.windows();
        let limits = [(quota.per_minute, MINUTE), (quota.per_hour, HOUR)];
        for (window, (_, length)) in windows.iter_mut().zip(limits) {
            window.turn(now, length);
        }
        let is_taken = windows
            .iter()
            .zip(limits)
            .all(|(window, (limit, _))| window.count < limit);
        for window in windows.iter_mut() {
            window.count += u64::from(is_taken);
        }
        let left = |index: usize| {
            let (limit, length) = limits[index];
            let Window { number, count } = windows[index];
            Left {
                limit,
                remaining: limit.saturating_sub(count),
                reset: (number + 1) * length,
            }
        };
        Verdict {
            is_taken,
            quota,
            now,
            minute: left(0),
            hour: left(1),
        }
    }
}

/// What is left of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    /// So many requests fit into it.
    pub(crate) limit: u64,
    /// So many still do.
    pub(crate) remaining: u64,
    /// When it ends, in seconds since 1970.
    pub(crate) reset: u64,
}

/// Whether a request may go on, and what is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// Whether it may.
    pub(crate) is_taken: bool,
    quota: Quota,
    now: u64,
    pub(crate) minute: Left,
    pub(crate) hour: Left,
}

impl Verdict {
    /// What is left of the window that has the fewest left; of equal ones, of the longer.
    pub(crate) fn tightest(&self) -> Left {
        match self.minute.remaining < self.hour.remaining {
            true => self.minute,
            false => self.hour,
        }
    }

    /// After so many seconds there is room again.
    pub(crate) fn retry_after(&self) -> u64 {
        self.tightest().reset.saturating_sub(self.now).max(1)
    }

    /// Says so to the caller: as the guide has it, and in the fields of draft-ietf-httpapi-ratelimit-headers-10.
    pub(crate) fn show(&self, headers: &mut HeaderMap) {
        let Left {
            limit,
            remaining,
            reset,
        } = self.tightest();
        for (name, number) in [(LIMIT, limit), (REMAINING, remaining), (RESET, reset)] {
            headers.insert(name, number.into());
        }
        let rest = |left: Left| (left.remaining, left.reset.saturating_sub(self.now));
        let ((minute, minute_ends), (hour, hour_ends)) = (rest(self.minute), rest(self.hour));
        let Quota {
            per_minute,
            per_hour,
        } = self.quota;
        let fields = [
            (
                FIELD,
                format!("\"minute\";r={minute};t={minute_ends}, \"hour\";r={hour};t={hour_ends}"),
            ),
            (
                POLICY,
                format!("\"minute\";q={per_minute};w={MINUTE}, \"hour\";q={per_hour};w={HOUR}"),
            ),
        ];
        for (name, text) in fields {
            // Digits and ASCII are always a header.
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUOTA: Quota = Quota {
        per_minute: 3,
        per_hour: 5,
    };
    /// The guide's example of a reset.
    const NOON: u64 = 1_640_692_800;

    #[test]
    fn both_windows_hold_and_the_tighter_one_is_told() {
        let windows = Windows::default();
        let taken = |now| windows.take(QUOTA, now);
        for remaining in [2, 1, 0] {
            let verdict = taken(NOON + 10);
            assert!(verdict.is_taken);
            let left = verdict.tightest();
            assert_eq!(
                (left.limit, left.remaining, left.reset),
                (3, remaining, NOON + 60)
            );
        }
        let refused = taken(NOON + 10);
        assert!(!refused.is_taken);
        assert_eq!(refused.retry_after(), 50);
        assert!(taken(NOON + 60).is_taken);
        assert!(taken(NOON + 61).is_taken);
        let refused = taken(NOON + 62);
        assert!(!refused.is_taken, "the hour is full");
        assert_eq!(refused.tightest().reset, NOON + 3600);
        assert!(taken(NOON + 3600).is_taken);
    }

    #[test]
    fn what_was_counted_before_a_restart_counts() {
        let recent = RecentRow {
            minute: NOON / 60,
            in_minute: 2,
            in_hour: 4,
        };
        let windows = Windows::from(recent);
        assert!(windows.take(QUOTA, NOON + 1).is_taken);
        assert!(!windows.take(QUOTA, NOON + 1).is_taken);
        let later = Windows::from(recent).take(QUOTA, NOON + 60);
        assert_eq!((later.minute.remaining, later.hour.remaining), (2, 0));
    }

    #[test]
    fn a_clock_that_steps_back_gives_nothing_anew() {
        let windows = Windows::default();
        for _ in 0..3 {
            assert!(windows.take(QUOTA, NOON).is_taken);
        }
        assert!(!windows.take(QUOTA, NOON - 60).is_taken);
    }
}
