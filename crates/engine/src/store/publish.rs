//! What others may see: the position, the readable tables, the oldest kept version, sizes.

use std::sync::Arc;

use cairn_domain::{Position, projections::ALL, table::TableKind};

use crate::rocks;

use super::{OLDEST, ReadView, Step, Store, StoreError, readable::ReadableTables, timestamp};

impl Store {
    /// Reads as of `at`; none means the latest.
    ///
    /// # Errors
    /// [`StoreError::Trimmed`] for a position beyond the kept history.
    pub fn view(self: &Arc<Self>, at: Option<Position>) -> Result<ReadView, StoreError> {
        let latest = *self.position.borrow();
        let asked = at.unwrap_or(latest).min(latest);
        let oldest = self.oldest();
        if asked < oldest {
            return Err(StoreError::Trimmed { asked, oldest });
        }
        // Behind the position, because a reset unsettles before it is seen; before the tables,
        // because a rebuild unsettles when its own are. So no mark comes with rows of before it.
        let final_time = *self.final_time.read().expect("no panic holds it");
        let readable = Arc::clone(&self.readable.read().expect("no panic holds it"));
        let final_mark = final_time.mark_at(asked);
        Ok(ReadView::new(Arc::clone(self), readable, asked, final_mark))
    }

    /// Lets readers see what was written: the position of the projections that move together.
    pub(super) fn publish(&self) {
        let states = self.states.read().expect("no panic holds it");
        let live = ALL.iter().filter_map(|projection| {
            let state = &states[projection.name()];
            let readable = state.failure.is_none() && state.version == projection.version();
            readable.then_some(state.position)
        });
        let position = live.min().unwrap_or_default();
        let known = Arc::clone(&self.readable.read().expect("no panic holds it"));
        if !known.is_of(&states) {
            let tables = Arc::new(ReadableTables::new(&states));
            *self.readable.write().expect("no panic holds it") = tables;
        }
        drop(states);
        self.position.send_replace(position);
    }

    /// Begins a new time of final blocks at a position: before a reset is seen, and once rebuilt
    /// tables are.
    pub(crate) fn unsettle(&self, position: Position) {
        let mut time = self.final_time.write().expect("no panic holds it");
        *time = time.next(position);
    }

    /// Trims versions below `oldest`: reads before it are refused from now on, and compaction
    /// forgets them.
    ///
    /// # Errors
    /// [`StoreError::Storage`].
    pub fn trim(&self, oldest: Position) -> Result<(), StoreError> {
        if oldest <= self.oldest() {
            return Ok(());
        }
        self.set_meta(OLDEST, &oldest)?;
        // The marks below outlive a loss of power. Rows that did not would be folded again from
        // before the marks, and what they held then could not be read.
        self.db.flush_wal(true)?;
        self.options.steps.done(Step::OldestWritten);
        *self.oldest.write().expect("no panic holds it") = oldest;
        let live = self.live();
        let live = ALL
            .iter()
            .filter(|projection| live.contains(&projection.name()));
        for table in live.flat_map(|projection| projection.tables()) {
            if matches!(table.kind, TableKind::Versioned) {
                let family = self.table_family(table);
                self.db
                    .increase_full_history_ts_low(&family, timestamp(oldest))?;
                self.options.steps.done(Step::TableTrimmed);
            }
        }
        Ok(())
    }

    /// Bytes on disk.
    pub fn bytes(&self) -> u64 {
        rocks::directory_bytes(&self.path)
    }

    /// Memory that RocksDB holds for blocks and unflushed rows, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        let memtables = self
            .db
            .property_int_value("rocksdb.cur-size-all-mem-tables");
        self.cache.get_usage() as u64 + memtables.ok().flatten().unwrap_or(0)
    }
}
