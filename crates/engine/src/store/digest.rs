//! Digests of tables: equal states have equal digests, on any machine and by any path.

use std::collections::BTreeSet;

use cairn_domain::{
    BlockRef, Position, Stream,
    projections::blocks::{BlockKey, BlocksByRef, CanonicalBlocks},
    table::{Table, TableDef, TableKind, decode_key, decode_value},
};
use rocksdb::ReadOptions;
use serde::{Deserialize, Serialize};

use super::{Store, StoreError, timestamp};

/// What a table holds as of a position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableDigest {
    /// The table.
    pub table: String,
    /// BLAKE3 over its rows in the order of their keys, in hex: for each the lengths of key and
    /// value as u32 little-endian, then both. Rows of blocks that are not canonical are left out.
    pub digest: String,
    /// Rows that it covers.
    pub rows: u64,
    /// The same over the rows of orphaned blocks; none for tables whose rows change.
    pub orphans: Option<String>,
    /// Rows that it covers.
    pub orphan_rows: u64,
}

/// Which blocks of which stream are orphans.
pub(crate) type Orphans = BTreeSet<(Vec<u8>, BlockRef)>;

#[derive(Default)]
struct Sum {
    hasher: blake3::Hasher,
    rows: u64,
}

impl Sum {
    fn add(&mut self, key: &[u8], value: &[u8]) {
        self.hasher.update(&(key.len() as u32).to_le_bytes());
        self.hasher.update(&(value.len() as u32).to_le_bytes());
        self.hasher.update(key);
        self.hasher.update(value);
        self.rows += 1;
    }

    fn hex(&self) -> String {
        self.hasher.finalize().to_hex().to_string()
    }
}

fn split(key: &[u8]) -> (&[u8], &[u8]) {
    let end = key
        .iter()
        .position(|byte| *byte == 0)
        .map_or(key.len(), |end| end + 1);
    key.split_at(end)
}

impl Store {
    /// Calls `visit` with every row of a table in the order of the keys, as of a position.
    pub(crate) fn each_row(
        &self,
        table: &'static TableDef,
        at: Position,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut options = ReadOptions::default();
        options.set_total_order_seek(true);
        options.fill_cache(false);
        options.set_readahead_size(2 << 20);
        if matches!(table.kind, TableKind::Versioned) {
            options.set_timestamp(timestamp(at));
        }
        let mut iterator = self
            .db
            .raw_iterator_cf_opt(&self.table_family(table), options);
        iterator.seek_to_first();
        while let Some((key, value)) = iterator.item() {
            visit(key, value)?;
            iterator.next();
        }
        Ok(iterator.status()?)
    }

    /// The blocks that were appended at or before a position and are not canonical as of it.
    pub(crate) fn orphans(&self, at: Position) -> Result<Orphans, StoreError> {
        let mut blocks = Orphans::new();
        self.each_row(BlocksByRef::DEF, at, |key, _| {
            let (stream, key) = split(key);
            blocks.insert((stream.to_vec(), decode_key::<BlocksByRef>(key)?.block));
            Ok(())
        })?;
        self.each_row(CanonicalBlocks::DEF, at, |key, value| {
            let (stream, key) = split(key);
            let height = decode_key::<CanonicalBlocks>(key)?.height;
            let hash = decode_value::<CanonicalBlocks>(value)?.hash;
            blocks.remove(&(stream.to_vec(), BlockRef { height, hash }));
            Ok(())
        })?;
        Ok(blocks)
    }

    /// The canonical blocks as of a position.
    fn canonical_blocks(&self, at: Position) -> Result<Orphans, StoreError> {
        let mut blocks = Orphans::new();
        self.each_row(CanonicalBlocks::DEF, at, |key, value| {
            let (stream, key) = split(key);
            let height = decode_key::<CanonicalBlocks>(key)?.height;
            let hash = decode_value::<CanonicalBlocks>(value)?.hash;
            blocks.insert((stream.to_vec(), BlockRef { height, hash }));
            Ok(())
        })?;
        Ok(blocks)
    }

    /// Digests of some tables as of a position. `orphans` are the blocks whose rows go into the
    /// digest of orphans; rows of other blocks that are not canonical count nowhere: they belong to
    /// positions behind this one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(crate) fn digests(
        &self,
        tables: &[&'static TableDef],
        at: Position,
        orphans: &Orphans,
    ) -> Result<Vec<TableDigest>, StoreError> {
        let canonical = self.canonical_blocks(at)?;
        let digest = |table: &&'static TableDef| self.digest(table, at, &canonical, orphans);
        tables.iter().map(digest).collect()
    }

    fn digest(
        &self,
        table: &'static TableDef,
        at: Position,
        canonical: &Orphans,
        orphans: &Orphans,
    ) -> Result<TableDigest, StoreError> {
        let (mut live, mut orphaned) = (Sum::default(), Sum::default());
        self.each_row(table, at, |key, value| {
            let TableKind::Immutable { block } = table.kind else {
                live.add(key, value);
                return Ok(());
            };
            let (stream, rest) = split(key);
            let block = (stream.to_vec(), block(rest, value)?);
            if canonical.contains(&block) {
                live.add(key, value);
            } else if orphans.contains(&block) {
                orphaned.add(key, value);
            }
            Ok(())
        })?;
        let immutable = matches!(table.kind, TableKind::Immutable { .. });
        Ok(TableDigest {
            table: table.name.into(),
            digest: live.hex(),
            rows: live.rows,
            orphans: immutable.then(|| orphaned.hex()),
            orphan_rows: orphaned.rows,
        })
    }

    /// Digests of every readable table as of a position (none: the latest), orphans included.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn digests_at(&self, at: Option<Position>) -> Result<Vec<TableDigest>, StoreError> {
        let at = at.unwrap_or(*self.position.borrow());
        let live = self.live();
        let projections = live.iter().filter_map(|name| super::projection(name));
        let tables: Vec<_> = projections.flat_map(|p| p.tables()).copied().collect();
        self.digests(&tables, at, &self.orphans(at)?)
    }

    /// The key of a block's own row, for tests that damage one.
    #[doc(hidden)]
    pub fn damage_block(&self, stream: &Stream, block: BlockRef) -> Result<(), StoreError> {
        let mut key = cairn_domain::projections::stream_prefix(stream);
        cairn_domain::table::Key::write(&BlockKey { block }, &mut key);
        Ok(self
            .db
            .delete_cf(&self.table_family(BlocksByRef::DEF), key)?)
    }
}
