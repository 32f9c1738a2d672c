//! The latest rows of a rebuild, for the fold to read: in memory as far as it goes, beyond that in a
//! RocksDB of their own, without log, which goes with the rebuild.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use cairn_domain::{
    Stream,
    projections::{FoldError, stream_prefix},
    table::TableDef,
};
use hashbrown::HashMap;
use rocksdb::{
    BlockBasedOptions, Cache, DB, DBCompressionType, Direction, IteratorMode, Options, WriteBatch,
    WriteOptions,
};

use crate::store::{Base, StoreError, overlay::TableVersions};

/// None: the row was deleted, which matters where an older one is on disk.
type LatestRows = HashMap<Box<[u8]>, Option<Box<[u8]>>>;

/// Memory of a row besides its bytes, about.
const OVERHEAD: usize = 64;
/// Rows of a batch on their way to disk.
const BATCH: usize = 10_000;

/// See the module.
pub(crate) struct BulkBase {
    /// A table's rows on disk start with its index here, as a byte.
    tables: Vec<(&'static TableDef, LatestRows)>,
    bytes: usize,
    limit: usize,
    path: PathBuf,
    disk: Option<DB>,
}

impl Base for BulkBase {
    fn get(
        &mut self,
        table: &'static TableDef,
        key: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<bool, FoldError> {
        let Some(index) = self.index(table) else {
            return Ok(false);
        };
        if let Some(row) = self.tables[index].1.get(key) {
            out.extend_from_slice(row.as_deref().unwrap_or_default());
            return Ok(row.is_some());
        }
        let Some(disk) = &self.disk else {
            return Ok(false);
        };
        let row = disk
            .get_pinned(disk_key(index, key))
            .map_err(StoreError::from)?;
        out.extend_from_slice(row.as_deref().unwrap_or_default());
        Ok(row.is_some())
    }
}

fn disk_key(table: usize, key: &[u8]) -> Vec<u8> {
    [&[table as u8], key].concat()
}

impl BulkBase {
    /// Takes about `limit` bytes of memory; what is more goes into a directory at `path`.
    pub(crate) fn new(limit: usize, path: &Path) -> Self {
        Self {
            tables: Vec::new(),
            bytes: 0,
            limit,
            path: path.to_owned(),
            disk: None,
        }
    }

    fn index(&self, table: &'static TableDef) -> Option<usize> {
        self.tables
            .iter()
            .position(|(other, _)| std::ptr::eq(*other, table))
    }

    /// Takes in the latest rows of a chunk.
    ///
    /// # Errors
    /// [`StoreError::Storage`] where the disk refuses what does not fit into memory.
    pub(crate) fn absorb(&mut self, versions: &TableVersions) -> Result<(), StoreError> {
        let index = self.index(versions.table).unwrap_or_else(|| {
            self.tables.push((versions.table, LatestRows::default()));
            self.tables.len() - 1
        });
        let rows = &mut self.tables[index].1;
        for (key, _, value) in versions.latest() {
            match (value, rows.get_mut(key)) {
                (Some(value), Some(Some(slot))) if slot.len() == value.len() => {
                    slot.copy_from_slice(value);
                }
                (_, Some(slot)) => {
                    let before = slot.as_ref().map_or(0, |slot| slot.len());
                    self.bytes = self.bytes + value.map_or(0, <[u8]>::len) - before;
                    *slot = value.map(Into::into);
                }
                (_, None) => {
                    self.bytes += key.len() + value.map_or(0, <[u8]>::len) + OVERHEAD;
                    rows.insert(key.into(), value.map(Into::into));
                }
            }
        }
        match self.bytes > self.limit / 2 {
            true => self.spill(),
            false => Ok(()),
        }
    }

    /// Moves all rows from memory to disk.
    fn spill(&mut self) -> Result<(), StoreError> {
        if self.disk.is_none() {
            self.disk = Some(DB::open(&options(self.limit), &self.path)?);
        }
        let Some(disk) = &self.disk else {
            return Ok(());
        };
        let mut unlogged = WriteOptions::default();
        unlogged.disable_wal(true);
        let mut batch = WriteBatch::default();
        for (index, (_, rows)) in self.tables.iter_mut().enumerate() {
            for (key, value) in rows.drain() {
                match value {
                    Some(value) => batch.put(disk_key(index, &key), value),
                    None => batch.delete(disk_key(index, &key)),
                }
                if batch.len() == BATCH {
                    disk.write_opt(std::mem::take(&mut batch), &unlogged)?;
                }
            }
        }
        self.bytes = 0;
        Ok(disk.write_opt(batch, &unlogged)?)
    }

    /// Every key of a stream in a table, sorted.
    ///
    /// # Errors
    /// [`StoreError::Storage`].
    pub(crate) fn stream_keys(
        &self,
        table: &'static TableDef,
        stream: &Stream,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let Some(index) = self.index(table) else {
            return Ok(Vec::new());
        };
        let prefix = stream_prefix(stream);
        let mut keys = BTreeSet::new();
        if let Some(disk) = &self.disk {
            let start = disk_key(index, &prefix);
            for item in disk.iterator(IteratorMode::From(&start, Direction::Forward)) {
                let (key, _) = item?;
                if !key.starts_with(&start) {
                    break;
                }
                keys.insert(key[1..].to_vec());
            }
        }
        for (key, value) in &self.tables[index].1 {
            match value {
                Some(_) if key.starts_with(&prefix) => keys.insert(key.to_vec()),
                Some(_) => false,
                None => keys.remove(&key[..]),
            };
        }
        Ok(keys.into_iter().collect())
    }
}

/// Half of the limit goes to rows in memory, half to RocksDB.
fn options(limit: usize) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_compression_type(DBCompressionType::Lz4);
    // One memtable fills while another is written.
    options.set_write_buffer_size((limit / 8).max(1 << 16));
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(&Cache::new_lru_cache(limit / 4));
    blocks.set_bloom_filter(10.0, false);
    options.set_block_based_table_factory(&blocks);
    options
}
