//! The memory of a query, within that of all queries.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use datafusion::{
    common::resources_datafusion_err,
    error::Result,
    execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation},
};

/// What all queries may have together.
#[derive(Debug)]
pub(super) struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    pub(super) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            used: AtomicUsize::new(0),
        })
    }

    /// How much is taken, in bytes.
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::Relaxed);
    }

    fn try_take(&self, bytes: usize) -> bool {
        let fits = |used: usize| used.checked_add(bytes).filter(|sum| *sum <= self.limit);
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What a query may have. An operator takes what is free: most of them begin when others have ended, so an
/// even share for each would leave most of the memory unused. But for each that can go to disk something is
/// kept, so that one that comes late has enough to begin with.
#[derive(Debug)]
pub(super) struct QueryPool {
    limit: usize,
    held: Mutex<Held>,
    budget: Arc<Budget>,
}

/// How a refusal begins whose reason is what others have.
pub(super) const CROWDED: &str = "all queries together have no";

/// What is kept for an operator that can go to disk: this part of all, or less where there are many.
const KEPT: usize = 32;

/// How operators are called that make groups. They reserve twice what they hold, for a sort before they go to
/// disk, but by then they have let go of their tables: what they reserve counts half.
const GROUPS: &str = "GroupedHashAggregateStream";

#[derive(Debug, Default)]
struct Held {
    /// What counts, of all.
    all: usize,
    /// Operators that can go to disk, by their ids.
    movable: HashMap<usize, Own>,
}

/// What an operator has.
#[derive(Debug, Clone, Copy)]
struct Own {
    reserved: usize,
    /// What it reserves counts so many times less.
    divisor: usize,
}

impl Own {
    fn new(consumer: &MemoryConsumer) -> Self {
        let makes_groups = consumer.name().starts_with(GROUPS);
        Self {
            reserved: 0,
            divisor: if makes_groups { 2 } else { 1 },
        }
    }

    fn counts(self) -> usize {
        self.reserved / self.divisor
    }
}

impl Held {
    /// What is kept for others than the one that asks.
    fn kept(&self, limit: usize, asking: usize) -> usize {
        let each = limit / KEPT.max(2 * self.movable.len());
        let others = self.movable.iter().filter(|(id, _)| **id != asking);
        others
            .map(|(_, own)| each.saturating_sub(own.counts()))
            .sum()
    }

    /// What an operator has, and would have with so many bytes more; both as they count.
    fn with(&self, consumer: &MemoryConsumer, bytes: usize) -> (usize, usize) {
        let Some(own) = self.movable.get(&consumer.id()) else {
            return (0, bytes);
        };
        let reserved = own.reserved.saturating_add(bytes);
        (own.counts(), Own { reserved, ..*own }.counts())
    }

    /// Adds bytes; gives by how much that counts.
    fn add(&mut self, consumer: &MemoryConsumer, bytes: usize) -> usize {
        let (before, after) = self.with(consumer, bytes);
        if let Some(own) = self.movable.get_mut(&consumer.id()) {
            own.reserved += bytes;
        }
        self.all += after - before;
        after - before
    }

    /// Takes bytes away; gives by how much that counts.
    fn remove(&mut self, consumer: &MemoryConsumer, bytes: usize) -> usize {
        let less = match self.movable.get_mut(&consumer.id()) {
            None => bytes,
            Some(own) => {
                let before = own.counts();
                own.reserved = own.reserved.saturating_sub(bytes);
                before - own.counts()
            }
        };
        self.all = self.all.saturating_sub(less);
        less
    }
}

impl QueryPool {
    pub(super) fn new(limit: usize, budget: Arc<Budget>) -> Self {
        Self {
            limit,
            held: Mutex::default(),
            budget,
        }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("no panic holds it")
    }
}

impl MemoryPool for QueryPool {
    fn register(&self, consumer: &MemoryConsumer) {
        if consumer.can_spill() {
            self.held()
                .movable
                .insert(consumer.id(), Own::new(consumer));
        }
    }

    fn unregister(&self, consumer: &MemoryConsumer) {
        self.held().movable.remove(&consumer.id());
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        let more = self.held().add(reservation.consumer(), additional);
        self.budget.take(more);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        let less = self.held().remove(reservation.consumer(), shrink);
        self.budget.give_back(less);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let consumer = reservation.consumer();
        let mut held = self.held();
        let (before, after) = held.with(consumer, additional);
        let more = after - before;
        let taken = held.all + held.kept(self.limit, consumer.id());
        if taken.saturating_add(more) > self.limit {
            let (name, limit) = (consumer.name(), self.limit);
            return Err(resources_datafusion_err!(
                "{name} wants {more} bytes, but of the {limit} of the query {taken} are taken or kept"
            ));
        }
        if !self.budget.try_take(more) {
            return Err(resources_datafusion_err!("{CROWDED} {more} bytes more"));
        }
        held.add(consumer, additional);
        Ok(())
    }

    fn reserved(&self) -> usize {
        self.held().all
    }

    fn memory_limit(&self) -> MemoryLimit {
        MemoryLimit::Finite(self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 3_200;

    fn pool() -> (Arc<dyn MemoryPool>, Arc<Budget>) {
        let budget = Budget::new(10_000);
        (Arc::new(QueryPool::new(LIMIT, Arc::clone(&budget))), budget)
    }

    fn operator(pool: &Arc<dyn MemoryPool>, can_spill: bool) -> MemoryReservation {
        let consumer = MemoryConsumer::new("operator").with_can_spill(can_spill);
        consumer.register(pool)
    }

    #[test]
    fn an_operator_takes_what_is_free_but_for_what_is_kept_for_others() {
        let (pool, budget) = pool();
        let [one, two, idle] = [0; 3].map(|_| operator(&pool, true));
        assert!(one.try_grow(3_001).is_err(), "100 are kept for each other");
        one.try_grow(3_000).expect("what is free");
        two.try_grow(100).expect("what was kept");
        assert!(two.try_grow(1).is_err());
        idle.try_grow(100).expect("what was kept");
        assert_eq!((pool.reserved(), budget.used()), (3_200, 3_200));
        one.free();
        two.try_grow(2_900).expect("what is free");
        drop((idle, one));
        two.try_grow(200)
            .expect("nothing is kept for those that are gone");
        drop(two);
        assert_eq!((pool.reserved(), budget.used()), (0, 0));
    }

    #[test]
    fn operators_that_cannot_go_to_disk_leave_what_is_kept_for_those_that_can() {
        let (pool, _) = pool();
        let (fixed, movable) = (operator(&pool, false), operator(&pool, true));
        assert!(fixed.try_grow(3_101).is_err());
        fixed.try_grow(3_100).expect("what is free");
        movable.try_grow(100).expect("what was kept");
        movable.free();
        fixed.free();
        movable.try_grow(LIMIT).expect("alone");
    }

    #[test]
    fn what_groups_reserve_counts_half() {
        let (pool, budget) = pool();
        let groups = MemoryConsumer::new("GroupedHashAggregateStream[0] (count(1))");
        let groups = groups.with_can_spill(true).register(&pool);
        groups.try_grow(1).expect("little");
        groups.try_grow(2 * LIMIT - 2).expect("twice the limit");
        assert_eq!((pool.reserved(), budget.used()), (LIMIT - 1, LIMIT - 1));
        assert!(groups.try_grow(3).is_err());
        groups.shrink(3);
        groups.grow(1);
        assert_eq!((pool.reserved(), budget.used()), (LIMIT - 2, LIMIT - 2));
        drop(groups);
        assert_eq!((pool.reserved(), budget.used()), (0, 0));
    }

    #[test]
    fn half_is_free_however_many_operators_there_are() {
        let (pool, _) = pool();
        let many: Vec<_> = (0..1_000).map(|_| operator(&pool, true)).collect();
        many[0].try_grow(LIMIT / 2).expect("half");
    }

    #[test]
    fn parts_of_a_reservation_count_as_one_operator() {
        let (pool, _) = pool();
        let (mut whole, other) = (operator(&pool, true), operator(&pool, true));
        whole.try_grow(2_000).expect("it fits");
        let part = whole.split(1_000);
        let rest = whole.take();
        part.try_grow(1_100).expect("all but what is kept");
        assert!(rest.try_grow(1).is_err());
        drop((part, rest, whole));
        assert_eq!(pool.reserved(), 0);
        other.try_grow(LIMIT).expect("alone");
    }

    #[test]
    fn queries_together_have_no_more_than_the_budget() {
        let budget = Budget::new(1_000);
        let pools = [0; 2]
            .map(|_| -> Arc<dyn MemoryPool> { Arc::new(QueryPool::new(800, Arc::clone(&budget))) });
        let [one, two] = [0, 1].map(|index: usize| operator(&pools[index], false));
        one.try_grow(700).expect("within both");
        let error = two
            .try_grow(301)
            .expect_err("beyond the budget")
            .to_string();
        assert!(error.contains("all queries together"), "{error}");
        assert_eq!((budget.used(), pools[1].reserved()), (700, 0));
        two.try_grow(300).expect("the rest");
    }
}
