//! What a fold has written and no store has yet: every version of every row, in memory.

use std::{cmp::Ordering, hash::BuildHasher};

use cairn_domain::{
    Position,
    projections::{FoldError, Rows},
    table::{TableDef, TableKind},
};
use hashbrown::{DefaultHashBuilder, HashTable};

/// Where an overlay reads what it does not hold itself.
pub trait Base {
    /// Puts the latest value of a row of a versioned table into `out` and says whether there is one.
    ///
    /// # Errors
    /// [`FoldError::Store`].
    fn get(
        &mut self,
        table: &'static TableDef,
        key: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<bool, FoldError>;
}

/// One version of a row, pointing into the arena of its table.
#[derive(Debug, Clone, Copy)]
struct Version {
    key: (u32, u32),
    /// None: deleted.
    value: Option<(u32, u32)>,
    position: Position,
    /// The version of the same row before this one, where this overlay holds it.
    previous: Option<u32>,
}

/// The versions of one table's rows.
pub(crate) struct TableVersions {
    pub(crate) table: &'static TableDef,
    arena: Vec<u8>,
    versions: Vec<Version>,
    /// The last version of each row; only for tables that folds read.
    latest: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

/// A version as others see it: key, position, value (none: deleted).
pub(crate) type VersionRef<'a> = (&'a [u8], Position, Option<&'a [u8]>);

fn slice(arena: &[u8], (start, length): (u32, u32)) -> &[u8] {
    &arena[start as usize..(start + length) as usize]
}

/// Where the next bytes of an arena will be.
fn offset(arena: &[u8]) -> u32 {
    u32::try_from(arena.len()).expect("a fold writes its rows out long before they fill 4 GiB")
}

/// The first 16 bytes as numbers that sort as the bytes do; what is missing counts as 0.
fn first_words(key: &[u8]) -> [u64; 2] {
    let mut bytes = [0; 16];
    let length = key.len().min(16);
    bytes[..length].copy_from_slice(&key[..length]);
    let (high, low) = bytes.split_at(8);
    [high, low].map(|half| {
        half.iter()
            .fold(0, |word, byte| word << 8 | u64::from(*byte))
    })
}

impl TableVersions {
    pub(crate) fn new(table: &'static TableDef) -> Self {
        Self {
            table,
            arena: Vec::new(),
            versions: Vec::new(),
            latest: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
        }
    }

    fn push(&mut self, bytes: &[u8]) -> (u32, u32) {
        let start = offset(&self.arena);
        self.arena.extend_from_slice(bytes);
        (start, bytes.len() as u32)
    }

    fn find(&self, key: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(key);
        let same = |index: &u32| slice(&self.arena, self.versions[*index as usize].key) == key;
        self.latest.find(hash, same).copied()
    }

    fn version(&self, index: usize) -> VersionRef<'_> {
        let version = &self.versions[index];
        let value = version.value.map(|value| slice(&self.arena, value));
        (slice(&self.arena, version.key), version.position, value)
    }

    fn write(&mut self, position: Position, key: &[u8], value: Option<&[u8]>) {
        if matches!(self.table.kind, TableKind::Immutable { .. }) {
            let (key, value) = (self.push(key), value.map(|value| self.push(value)));
            self.versions.push(Version {
                key,
                value,
                position,
                previous: None,
            });
            return;
        }
        let hash = self.hasher.hash_one(key);
        let value = value.map(|value| self.push(value));
        let next = self.versions.len() as u32;
        let Self {
            arena,
            versions,
            latest,
            hasher,
            ..
        } = self;
        let same = |other: &u32| slice(arena, versions[*other as usize].key) == key;
        let mut version = Version {
            key: (0, 0),
            value,
            position,
            previous: None,
        };
        if let Some(slot) = latest.find_mut(hash, same) {
            let known = &mut versions[*slot as usize];
            if known.position == position {
                known.value = value;
                return;
            }
            version.key = known.key;
            version.previous = Some(std::mem::replace(slot, next));
            versions.push(version);
        } else {
            version.key = (offset(arena), key.len() as u32);
            arena.extend_from_slice(key);
            versions.push(version);
            let rehash = |index: &u32| hasher.hash_one(slice(arena, versions[*index as usize].key));
            latest.insert_unique(hash, next, rehash);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    /// Forgets everything but the memory that it took.
    pub(crate) fn clear(&mut self) {
        self.arena.clear();
        self.versions.clear();
        self.latest.clear();
    }

    /// Every version, as written.
    pub(crate) fn iter(&self) -> impl Iterator<Item = VersionRef<'_>> {
        (0..self.versions.len()).map(|index| self.version(index))
    }

    /// Indexes of all versions in the order in which files want them: by key, then newest first.
    pub(crate) fn sorted(&self) -> impl Iterator<Item = u32> + use<> {
        let shared = self.shared_prefix();
        let key = |version: &Version| slice(&self.arena, version.key);
        // What tells most keys apart lies side by side, so that few comparisons follow a pointer.
        let mut order: Vec<([u64; 2], u32)> = (0..)
            .zip(&self.versions)
            .map(|(index, version)| (first_words(&key(version)[shared..]), index))
            .collect();
        order.sort_unstable_by(|(words, left), (others, right)| {
            words.cmp(others).then_with(|| {
                let (a, b) = (
                    &self.versions[*left as usize],
                    &self.versions[*right as usize],
                );
                let keys = match a.key == b.key {
                    true => Ordering::Equal,
                    false => key(a).cmp(key(b)),
                };
                // Ties of an immutable row written twice keep the later write in front.
                keys.then(b.position.cmp(&a.position)).then(right.cmp(left))
            })
        });
        order.into_iter().map(|(_, index)| index)
    }

    /// Number of bytes that all keys begin with.
    fn shared_prefix(&self) -> usize {
        let mut keys = self.versions.iter().map(|v| slice(&self.arena, v.key));
        let Some(first) = keys.next() else {
            return 0;
        };
        keys.fold(first.len(), |shared, key| {
            if key.starts_with(&first[..shared]) {
                return shared;
            }
            let pairs = first[..shared].iter().zip(key);
            pairs.take_while(|(a, b)| a == b).count()
        })
    }

    pub(crate) fn at(&self, index: u32) -> VersionRef<'_> {
        self.version(index as usize)
    }

    /// The last version of each row, in no order.
    pub(crate) fn latest(&self) -> impl Iterator<Item = VersionRef<'_>> {
        self.latest
            .iter()
            .map(|index| self.version(*index as usize))
    }

    /// Memory it holds, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.arena.len() + self.versions.len() * size_of::<Version>() + self.latest.capacity() * 5
    }
}

/// See the module.
pub struct Overlay<'a> {
    tables: Vec<TableVersions>,
    base: &'a mut dyn Base,
    position: Position,
    read: Vec<u8>,
}

/// How much each table held when a commit began.
#[derive(Debug, Clone)]
pub(crate) struct Mark(Vec<usize>);

/// A row touched by a commit.
pub(crate) type Touched<'a> = (&'static TableDef, &'a [u8]);

impl<'a> Overlay<'a> {
    /// An empty overlay for some tables.
    pub fn new(
        tables: impl IntoIterator<Item = &'static TableDef>,
        base: &'a mut dyn Base,
    ) -> Self {
        Self::over(tables.into_iter().map(TableVersions::new).collect(), base)
    }

    /// An overlay that goes on with tables in which something may be written already.
    pub(crate) fn over(tables: Vec<TableVersions>, base: &'a mut dyn Base) -> Self {
        Self {
            tables,
            base,
            position: Position(0),
            read: Vec::new(),
        }
    }

    /// What follows is written at `position`.
    pub fn begin(&mut self, position: Position) {
        self.position = position;
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark(
            self.tables
                .iter()
                .map(|table| table.versions.len())
                .collect(),
        )
    }

    /// The rows of versioned tables written since a mark.
    pub(crate) fn touched<'s>(&'s self, mark: &'s Mark) -> impl Iterator<Item = Touched<'s>> {
        let versioned = |table: &&TableVersions| matches!(table.table.kind, TableKind::Versioned);
        let tables = self
            .tables
            .iter()
            .zip(&mark.0)
            .filter(move |(table, _)| versioned(table));
        tables.flat_map(|(table, from)| {
            table.versions[*from..]
                .iter()
                .map(|v| (table.table, slice(&table.arena, v.key)))
        })
    }

    /// What a row held before the version that it has now.
    pub(crate) fn before(
        &mut self,
        table: &'static TableDef,
        key: &[u8],
    ) -> Result<Option<Vec<u8>>, FoldError> {
        let versions = self.table(table);
        if let Some(index) = versions.find(key)
            && let Some(previous) = versions.versions[index as usize].previous
        {
            return Ok(versions.at(previous).2.map(<[u8]>::to_vec));
        }
        let mut value = Vec::new();
        Ok(self.base.get(table, key, &mut value)?.then_some(value))
    }

    /// Memory it holds, in bytes.
    pub fn bytes(&self) -> usize {
        self.tables.iter().map(TableVersions::bytes).sum()
    }

    pub(crate) fn into_tables(self) -> Vec<TableVersions> {
        self.tables
    }

    pub(crate) fn tables(&self) -> &[TableVersions] {
        &self.tables
    }

    fn table(&mut self, table: &'static TableDef) -> &mut TableVersions {
        let found = self
            .tables
            .iter_mut()
            .find(|other| std::ptr::eq(other.table, table));
        found.expect("a projection writes only tables that it names")
    }
}

impl Rows for Overlay<'_> {
    fn get(&mut self, table: &'static TableDef, key: &[u8]) -> Result<Option<&[u8]>, FoldError> {
        let index = self
            .tables
            .iter()
            .position(|other| std::ptr::eq(other.table, table));
        let index = index.expect("a projection reads only tables that it names");
        if let Some(version) = self.tables[index].find(key) {
            return Ok(self.tables[index].at(version).2);
        }
        self.read.clear();
        Ok(self
            .base
            .get(table, key, &mut self.read)?
            .then_some(&self.read))
    }

    fn put(&mut self, table: &'static TableDef, key: &[u8], value: &[u8]) {
        let position = self.position;
        self.table(table).write(position, key, Some(value));
    }

    fn delete(&mut self, table: &'static TableDef, key: &[u8]) {
        let position = self.position;
        self.table(table).write(position, key, None);
    }
}
