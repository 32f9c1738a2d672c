//! The memory of all queries together.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

/// What all queries may have together.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    used: AtomicUsize,
    /// What queries have without having asked for it, as last measured.
    unasked: AtomicUsize,
    /// How many queries there are.
    queries: AtomicUsize,
}

/// This part of all is left free for each query beside the first: for rows on their way between operators, for
/// which nobody asks. So much is left for the first one, too, as far as it was measured. At most half of all.
const FREE: usize = 16;

impl Budget {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicUsize::new(0),
            unasked: AtomicUsize::new(0),
            queries: AtomicUsize::new(0),
        })
    }

    /// How much is taken, in bytes.
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Counts so much instead of what counted before.
    pub(super) fn replace(&self, before: usize, after: usize) {
        self.used.fetch_add(after, Ordering::Relaxed);
        self.used.fetch_sub(before, Ordering::Relaxed);
    }

    /// Queries are measured to have so many bytes together.
    pub(super) fn measured(&self, bytes: usize) {
        let unasked = bytes.saturating_sub(self.used());
        self.unasked.store(unasked, Ordering::Relaxed);
    }

    /// A query begins.
    pub(super) fn begin(&self) {
        self.queries.fetch_add(1, Ordering::Relaxed);
    }

    /// A query has ended.
    pub(super) fn end(&self) {
        self.queries.fetch_sub(1, Ordering::Relaxed);
    }

    /// How many queries there are.
    pub(super) fn queries(&self) -> usize {
        self.queries.load(Ordering::Relaxed)
    }

    /// What queries may have together just now.
    pub(super) fn most(&self) -> usize {
        let (share, queries) = (self.limit / FREE, self.queries());
        let unasked = self.unasked.load(Ordering::Relaxed);
        let free = (share * queries.saturating_sub(1)).max(unasked.min(share * queries));
        self.limit - free.min(self.limit / 2)
    }

    /// Counts so much more, if it fits.
    pub(super) fn try_take(&self, bytes: usize) -> bool {
        let most = self.most();
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= most);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .is_ok()
    }
}
