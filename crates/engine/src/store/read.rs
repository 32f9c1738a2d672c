//! Reading as of a position.

use std::{ops::ControlFlow, sync::Arc};

use cairn_domain::{
    BlockRef, Position, Stream,
    projections::{
        blocks::{
            CanonicalBlock, CanonicalBlocks, CanonicalKey, ChainEnds, ChainEndsKey, ChainEndsRow,
        },
        stream_prefix,
    },
    table::{Immutable, Key, Table, TableDef, TableKind, Versioned, decode_key, decode_value},
};
use rocksdb::{BoundColumnFamily, DBPinnableSlice, DBRawIteratorWithThreadMode, ReadOptions};

use super::{Db, FinalMark, Store, StoreError, readable::ReadableTables, timestamp};

/// The rows of the store as of one position.
#[derive(Clone)]
pub struct ReadView {
    store: Arc<Store>,
    readable: Arc<ReadableTables>,
    position: Position,
    final_mark: Option<FinalMark>,
}

/// A row with its types.
#[derive(Debug, Clone)]
pub struct Row<T: Table> {
    /// The key, without the stream.
    pub key: T::Key,
    /// The value.
    pub value: T::Value,
}

impl ReadView {
    pub(super) fn new(
        store: Arc<Store>,
        readable: Arc<ReadableTables>,
        position: Position,
        final_mark: Option<FinalMark>,
    ) -> Self {
        Self {
            store,
            readable,
            position,
            final_mark,
        }
    }

    /// The position whose rows it shows.
    pub fn position(&self) -> Position {
        self.position
    }

    /// A mark of the time in which final blocks stay as they are; none for a view from before it.
    /// What two views with the same mark show of a block that is final in both is the same, so it
    /// may be kept. A chain reset, a rebuild and a start begin a new one; no two are the same while
    /// the store is open.
    pub fn final_mark(&self) -> Option<FinalMark> {
        self.final_mark
    }

    /// The same store as of another position.
    ///
    /// # Errors
    /// [`StoreError::Trimmed`].
    pub fn at(&self, position: Position) -> Result<Self, StoreError> {
        self.store.view(Some(position))
    }

    /// The column family of a table, if its projection can be read at all.
    fn family(&self, table: &'static TableDef) -> Result<Arc<BoundColumnFamily<'_>>, StoreError> {
        let name = self.readable.family(table)?;
        // A rebuild may have swapped generations since this view was taken; both hold the same rows.
        Ok(self
            .store
            .db
            .cf_handle(name)
            .unwrap_or_else(|| self.store.table_family(table)))
    }

    fn options(&self, table: &'static TableDef) -> ReadOptions {
        let mut options = ReadOptions::default();
        if matches!(table.kind, TableKind::Versioned) {
            options.set_timestamp(timestamp(self.position));
        }
        options
    }

    /// A row of a table whose rows change, as of this view's position.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn get<T: Versioned>(
        &self,
        stream: &Stream,
        key: &T::Key,
    ) -> Result<Option<T::Value>, StoreError> {
        self.read::<T>(stream, key)
    }

    /// A row of a table whose rows never change, whether or not its block is canonical.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn find_any<T: Immutable>(
        &self,
        stream: &Stream,
        key: &T::Key,
    ) -> Result<Option<T::Value>, StoreError> {
        self.read::<T>(stream, key)
    }

    /// Rows of a table whose rows never change, in the order of the keys, whether or not their
    /// blocks are canonical; quicker than one by one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn find_all<T: Immutable>(
        &self,
        stream: &Stream,
        keys: &[T::Key],
    ) -> Result<Vec<Option<T::Value>>, StoreError> {
        let family = self.family(T::DEF)?;
        let keys: Vec<_> = keys.iter().map(|key| stored_key(stream, key)).collect();
        let values = self.store.db.batched_multi_get_cf(&family, &keys, false);
        let decode = |value: Result<Option<DBPinnableSlice<'_>>, rocksdb::Error>| {
            value?
                .map(|value| decode_value::<T>(&value).map_err(StoreError::from))
                .transpose()
        };
        values.into_iter().map(decode).collect()
    }

    fn read<T: Table>(
        &self,
        stream: &Stream,
        key: &T::Key,
    ) -> Result<Option<T::Value>, StoreError> {
        let family = self.family(T::DEF)?;
        let bytes = stored_key(stream, key);
        let value = self
            .store
            .db
            .get_pinned_cf_opt(&family, bytes, &self.options(T::DEF))?;
        value
            .map(|value| decode_value::<T>(&value).map_err(StoreError::from))
            .transpose()
    }

    /// Whether a block is canonical as of this view's position.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn is_canonical(&self, stream: &Stream, block: BlockRef) -> Result<bool, StoreError> {
        let canonical = self.canonical(stream, block.height)?;
        Ok(canonical.is_some_and(|canonical| canonical.hash == block.hash))
    }

    /// The canonical block at a height.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn canonical(
        &self,
        stream: &Stream,
        height: u64,
    ) -> Result<Option<CanonicalBlock>, StoreError> {
        self.get::<CanonicalBlocks>(stream, &CanonicalKey { height })
    }

    /// Both ends of a chain; none while it is empty.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn ends(&self, stream: &Stream) -> Result<Option<ChainEndsRow>, StoreError> {
        self.get::<ChainEnds>(stream, &ChainEndsKey {})
    }

    /// The position that made the current block at `height` canonical: where `?at=height` reads.
    ///
    /// # Errors
    /// [`StoreError::Trimmed`] when the history of that block is not kept any more.
    pub fn position_of(
        &self,
        stream: &Stream,
        height: u64,
    ) -> Result<Option<Position>, StoreError> {
        self.family(CanonicalBlocks::DEF)?;
        let appended = self
            .store
            .appended_at(&stream_prefix(stream), height, self.position)?;
        let Some(position) = appended else {
            return Ok(None);
        };
        let oldest = self.store.oldest();
        if position < oldest {
            return Err(StoreError::Trimmed {
                asked: position,
                oldest,
            });
        }
        Ok(Some(position))
    }

    /// The height of the last canonical block at or before a time, in seconds since 1970.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn height_at(&self, stream: &Stream, time: u64) -> Result<Option<u64>, StoreError> {
        let Some(ends) = self.ends(stream)? else {
            return Ok(None);
        };
        let time_of = |height| -> Result<u64, StoreError> {
            Ok(self
                .canonical(stream, height)?
                .map_or(u64::MAX, |block| block.timestamp))
        };
        let (mut low, mut high) = (ends.first.height, ends.head.height);
        if time_of(low)? > time {
            return Ok(None);
        }
        while low < high {
            let middle = low + (high - low).div_ceil(2);
            if time_of(middle)? <= time {
                low = middle;
            } else {
                high = middle - 1;
            }
        }
        Ok(Some(low))
    }

    /// Calls `visit` with the rows of a stream whose keys start with the bytes of `prefix`, in the
    /// order of their keys, from `from` on (included; none means the first), until it breaks. Rows
    /// of tables that never change are shown whether or not their block is canonical.
    ///
    /// `prefix` must be the first field of the key, or `()` for all rows of the stream.
    ///
    /// # Errors
    /// [`StoreError`], also one that `visit` breaks with.
    pub fn scan<T: Table>(
        &self,
        stream: &Stream,
        prefix: &impl Key,
        from: Option<&T::Key>,
        mut visit: impl FnMut(Row<T>) -> Result<ControlFlow<()>, StoreError>,
    ) -> Result<(), StoreError> {
        let family = self.family(T::DEF)?;
        let mut start = stream_prefix(stream);
        let stream_length = start.len();
        prefix.write(&mut start);
        let prefix_length = start.len();
        let mut options = self.options(T::DEF);
        if prefix_length == stream_length || T::DEF.prefix.is_none() {
            options.set_total_order_seek(true);
        } else {
            options.set_prefix_same_as_start(true);
        }
        if let Some(end) = behind(&start) {
            options.set_iterate_upper_bound(end);
        }
        if let Some(from) = from {
            start.truncate(stream_length);
            from.write(&mut start);
        }
        let mut iterator: DBRawIteratorWithThreadMode<'_, Db> =
            self.store.db.raw_iterator_cf_opt(&family, options);
        iterator.seek(&start);
        while let Some((key, value)) = iterator.item() {
            if key[..prefix_length.min(key.len())] != start[..prefix_length] {
                break;
            }
            let key = decode_key::<T>(&key[stream_length..])?;
            let value = decode_value::<T>(value)?;
            if visit(Row { key, value })?.is_break() {
                break;
            }
            iterator.next();
        }
        Ok(iterator.status()?)
    }

    /// All streams that have a chain, with its ends, sorted by name.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn chains(&self) -> Result<Vec<(Stream, ChainEndsRow)>, StoreError> {
        let family = self.family(ChainEnds::DEF)?;
        let mut iterator = self
            .store
            .db
            .raw_iterator_cf_opt(&family, self.options(ChainEnds::DEF));
        let mut chains = Vec::new();
        iterator.seek_to_first();
        while let Some((key, value)) = iterator.item() {
            let name = key
                .split(|byte| *byte == 0)
                .next()
                .and_then(|n| std::str::from_utf8(n).ok());
            if let Some(stream) = name.and_then(|name| Stream::new(name).ok()) {
                chains.push((stream, decode_value::<ChainEnds>(value)?));
            }
            iterator.next();
        }
        iterator.status()?;
        Ok(chains)
    }
}

fn stored_key(stream: &Stream, key: &impl Key) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(stream.as_str().len() + 96);
    bytes.extend_from_slice(stream.as_str().as_bytes());
    bytes.push(0);
    key.write(&mut bytes);
    bytes
}

/// The first key behind all keys that start with `prefix`.
pub(super) fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let end = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut bound = prefix[..=end].to_vec();
    bound[end] += 1;
    Some(bound)
}

impl Store {
    /// The position that made the block at a height canonical, by the bytes of its stream.
    pub(crate) fn appended_at(
        self: &Store,
        stream: &[u8],
        height: u64,
        at: Position,
    ) -> Result<Option<Position>, StoreError> {
        let mut key = stream.to_vec();
        CanonicalKey { height }.write(&mut key);
        let mut options = ReadOptions::default();
        options.set_timestamp(timestamp(at));
        let mut iterator = self
            .db
            .raw_iterator_cf_opt(&self.table_family(CanonicalBlocks::DEF), options);
        iterator.seek(&key);
        iterator.status()?;
        if iterator.key() != Some(&key[..]) {
            return Ok(None);
        }
        let bytes = iterator
            .timestamp()
            .and_then(|bytes| bytes.first_chunk::<8>());
        Ok(bytes.map(|bytes| Position(u64::from_le_bytes(*bytes))))
    }
}
