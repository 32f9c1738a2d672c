//! The memory of a query, within that of all queries.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
};

use datafusion::{
    common::resources_datafusion_err,
    error::Result,
    execution::memory_pool::{MemoryConsumer, MemoryLimit, MemoryPool, MemoryReservation},
};

use super::budget::Budget;

/// What a query may have. An operator takes what is free: most of them begin when others have ended, so an
/// even share for each would leave most of the memory unused. But for each that can go to disk something is
/// kept, so that one that comes late has enough to begin with, and something for all of those that cannot.
#[derive(Debug)]
pub(super) struct QueryPool {
    limit: usize,
    held: Mutex<Held>,
    budget: Arc<Budget>,
}

/// How a refusal begins whose reason is what others have.
pub(super) const CROWDED: &str = "all queries together have no";

/// What is kept for an operator that can go to disk, and for all that cannot: this part of all, or less where
/// there are many.
const KEPT: usize = 32;

/// How operators are called that make groups. They reserve twice what they hold, for a sort before they go to
/// disk, but by then they have let go of their tables: what they reserve counts half. And what they give back
/// counts until they reserve again or end: until then it is rows on their way to what comes next.
const GROUPS: &str = "GroupedHashAggregateStream";

#[derive(Debug, Default)]
struct Held {
    /// What counts, of all.
    all: usize,
    /// Of those that cannot go to disk.
    fixed: usize,
    /// Operators that can go to disk, by their ids.
    movable: HashMap<usize, Own>,
}

/// What an operator has.
#[derive(Debug, Clone, Copy)]
struct Own {
    makes_groups: bool,
    reserved: usize,
    /// What it gave back, as it counted.
    given_back: usize,
}

impl Own {
    fn new(consumer: &MemoryConsumer) -> Self {
        Self {
            makes_groups: consumer.name().starts_with(GROUPS),
            reserved: 0,
            given_back: 0,
        }
    }

    fn counts(self) -> usize {
        let divisor = if self.makes_groups { 2 } else { 1 };
        self.given_back.max(self.reserved / divisor)
    }

    fn with(self, bytes: usize) -> Self {
        Self {
            reserved: self.reserved.saturating_add(bytes),
            given_back: 0,
            ..self
        }
    }

    fn without(self, bytes: usize) -> Self {
        Self {
            reserved: self.reserved.saturating_sub(bytes),
            given_back: if self.makes_groups { self.counts() } else { 0 },
            ..self
        }
    }
}

/// How much counts before and after a change.
#[derive(Debug, Clone, Copy)]
struct Change {
    before: usize,
    after: usize,
}

impl Held {
    /// What is kept for others than the one that asks.
    fn kept(&self, limit: usize, asking: usize) -> usize {
        let each = limit / KEPT.max(2 * self.movable.len());
        let others = self.movable.iter().filter(|(id, _)| **id != asking);
        let others = others.map(|(_, own)| each.saturating_sub(own.counts()));
        let fixed = match self.movable.contains_key(&asking) {
            true => each.saturating_sub(self.fixed),
            false => 0,
        };
        others.sum::<usize>() + fixed
    }

    /// What so many bytes more of an operator would change.
    fn growth(&self, consumer: &MemoryConsumer, bytes: usize) -> Change {
        match self.movable.get(&consumer.id()) {
            None => Change {
                before: 0,
                after: bytes,
            },
            Some(own) => Change {
                before: own.counts(),
                after: own.with(bytes).counts(),
            },
        }
    }

    fn grow(&mut self, consumer: &MemoryConsumer, bytes: usize) -> Change {
        let change = self.growth(consumer, bytes);
        if let Some(own) = self.movable.get_mut(&consumer.id()) {
            *own = own.with(bytes);
        } else {
            self.fixed += bytes;
        }
        self.apply(change)
    }

    fn shrink(&mut self, consumer: &MemoryConsumer, bytes: usize) -> Change {
        let change = match self.movable.get_mut(&consumer.id()) {
            None => {
                self.fixed = self.fixed.saturating_sub(bytes);
                Change {
                    before: bytes,
                    after: 0,
                }
            }
            Some(own) => {
                let before = own.counts();
                *own = own.without(bytes);
                Change {
                    before,
                    after: own.counts(),
                }
            }
        };
        self.apply(change)
    }

    fn end(&mut self, consumer: &MemoryConsumer) -> Change {
        let own = self.movable.remove(&consumer.id());
        let before = own.map_or(0, Own::counts);
        self.apply(Change { before, after: 0 })
    }

    fn apply(&mut self, change: Change) -> Change {
        self.all = (self.all + change.after).saturating_sub(change.before);
        change
    }
}

impl QueryPool {
    pub(super) fn new(limit: usize, budget: Arc<Budget>) -> Self {
        budget.begin();
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

impl Drop for QueryPool {
    fn drop(&mut self) {
        self.budget.end();
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
        let change = self.held().end(consumer);
        self.budget.replace(change.before, change.after);
    }

    fn grow(&self, reservation: &MemoryReservation, additional: usize) {
        let change = self.held().grow(reservation.consumer(), additional);
        self.budget.replace(change.before, change.after);
    }

    fn shrink(&self, reservation: &MemoryReservation, shrink: usize) {
        let change = self.held().shrink(reservation.consumer(), shrink);
        self.budget.replace(change.before, change.after);
    }

    fn try_grow(&self, reservation: &MemoryReservation, additional: usize) -> Result<()> {
        let consumer = reservation.consumer();
        let mut held = self.held();
        let change = held.growth(consumer, additional);
        if let Some(more) = change.after.checked_sub(change.before)
            && more > 0
        {
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
        } else {
            self.budget.replace(change.before, change.after);
        }
        held.grow(consumer, additional);
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
        let fixed = operator(&pool, false);
        assert!(one.try_grow(2_901).is_err(), "100 are kept for each other");
        one.try_grow(2_900).expect("what is free");
        for other in [&two, &idle, &fixed] {
            other.try_grow(100).expect("what was kept");
            assert!(other.try_grow(1).is_err());
        }
        assert_eq!((pool.reserved(), budget.used()), (3_200, 3_200));
        one.free();
        two.try_grow(2_800).expect("what is free");
        drop((idle, one));
        two.try_grow(200)
            .expect("nothing is kept for those that are gone");
        drop((two, fixed));
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
        movable.try_grow(LIMIT - 100).expect("what is free");
    }

    fn groups(pool: &Arc<dyn MemoryPool>) -> MemoryReservation {
        let consumer = MemoryConsumer::new("GroupedHashAggregateStream[0] (count(1))");
        consumer.with_can_spill(true).register(pool)
    }

    #[test]
    fn what_groups_reserve_counts_half() {
        let (pool, budget) = pool();
        let groups = groups(&pool);
        groups.try_grow(1).expect("little");
        groups.try_grow(6_198).expect("twice what is free");
        assert_eq!((pool.reserved(), budget.used()), (3_099, 3_099));
        assert!(groups.try_grow(3).is_err());
        drop(groups);
        assert_eq!((pool.reserved(), budget.used()), (0, 0));
    }

    #[test]
    fn what_groups_give_back_is_theirs_until_they_ask_again() {
        let (pool, budget) = pool();
        let (groups, other) = (groups(&pool), operator(&pool, true));
        groups.try_grow(4_000).expect("it counts half");
        groups.free();
        assert_eq!((pool.reserved(), budget.used()), (2_000, 2_000));
        other.try_grow(1_100).expect("what is free");
        assert!(other.try_grow(1).is_err());
        groups.try_grow(3_000).expect("what it had");
        assert_eq!((pool.reserved(), budget.used()), (2_600, 2_600));
        other.try_grow(500).expect("what is free");
        drop(groups);
        assert_eq!((pool.reserved(), budget.used()), (1_600, 1_600));
    }

    #[test]
    fn nearly_half_is_free_however_many_operators_there_are() {
        let (pool, _) = pool();
        let many: Vec<_> = (0..1_000).map(|_| operator(&pool, true)).collect();
        many[0].try_grow(LIMIT / 2 - 1).expect("half");
    }

    #[test]
    fn parts_of_a_reservation_count_as_one_operator() {
        let (pool, _) = pool();
        let (mut whole, other) = (operator(&pool, true), operator(&pool, true));
        whole.try_grow(2_000).expect("it fits");
        let part = whole.split(1_000);
        let rest = whole.take();
        part.try_grow(1_000).expect("all but what is kept");
        assert!(rest.try_grow(1).is_err());
        drop((part, rest, whole));
        assert_eq!(pool.reserved(), 0);
        other.try_grow(LIMIT - 100).expect("alone");
    }

    #[test]
    fn queries_together_have_no_more_than_the_budget() {
        let budget = Budget::new(1_000);
        let pools = [0; 2]
            .map(|_| -> Arc<dyn MemoryPool> { Arc::new(QueryPool::new(800, Arc::clone(&budget))) });
        let [one, two] = [0, 1].map(|index: usize| operator(&pools[index], false));
        one.try_grow(700).expect("within both");
        let error = two
            .try_grow(239)
            .expect_err("beyond the budget")
            .to_string();
        assert!(error.contains("all queries together"), "{error}");
        assert_eq!((budget.used(), pools[1].reserved()), (700, 0));
        two.try_grow(238).expect("the rest but for what is free");
        assert!(two.try_grow(1).is_err());
        budget.measured(700 + 238 + 100);
        assert_eq!(budget.most(), 900, "what nobody asked for");
        budget.measured(10_000);
        assert_eq!(budget.most(), 1_000 - 2 * 62, "a share for each");
        drop((one, two));
        drop(pools);
        budget.measured(0);
        assert_eq!((budget.used(), budget.most()), (0, 1_000));
    }
}
