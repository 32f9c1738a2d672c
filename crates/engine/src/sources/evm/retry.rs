//! How long to wait before the next try.

use std::time::Duration;

use rand::RngExt as _;

use crate::sources::RetryPolicy;

/// A node that asks for a longer pause is asked again after this one: it may have meant something
/// else, and a source must not sleep for years.
const LONGEST_ASKED: Duration = Duration::from_secs(600);

/// Exponential backoff with full jitter: between nothing and a bound that doubles.
#[derive(Debug)]
pub(super) struct Backoff {
    base: Duration,
    cap: Duration,
    failures: u32,
}

impl Backoff {
    pub(super) fn new(policy: &RetryPolicy) -> Self {
        Self {
            base: policy.base,
            cap: policy.cap,
            failures: 0,
        }
    }

    /// It worked: the next failure starts over.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// How long to wait now; never shorter than what the other side asked for, up to
    /// [`LONGEST_ASKED`].
    pub(super) fn next(&mut self, asked: Option<Duration>) -> Duration {
        let bound = self
            .base
            .saturating_mul(1 << self.failures.min(16))
            .min(self.cap);
        self.failures += 1;
        let jittered = bound.mul_f64(rand::rng().random_range(0.0..=1.0));
        jittered.saturating_add(asked.unwrap_or_default().min(LONGEST_ASKED))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_cap_and_respect_what_was_asked_for() {
        let policy = RetryPolicy {
            cap: Duration::from_secs(2),
            ..RetryPolicy::default()
        };
        let mut backoff = Backoff::new(&policy);
        assert!(backoff.next(None) <= policy.base);
        for _ in 0..100 {
            assert!(backoff.next(None) <= policy.cap);
        }
        assert!(backoff.next(Some(Duration::from_secs(7))) >= Duration::from_secs(7));
        assert!(backoff.next(Some(Duration::MAX)) <= LONGEST_ASKED + policy.cap);
    }
}
