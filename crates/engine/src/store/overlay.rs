//! What a fold has written and no store has yet: every version of every row, in memory.

use std::hash::BuildHasher;

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
}

/// A version as others see it: key, position, value (none: deleted).
pub(crate) type VersionRef<'a> = (&'a [u8], Position, Option<&'a [u8]>);

fn slice(arena: &[u8], (start, length): (u32, u32)) -> &[u8] {
    &arena[start as usize..(start + length) as usize]
}

impl TableVersions {
    fn new(table: &'static TableDef) -> Self {
        Self {
            table,
            arena: Vec::new(),
            versions: Vec::new(),
            latest: HashTable::new(),
        }
    }

    fn push(&mut self, bytes: &[u8]) -> (u32, u32) {
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(bytes);
        (start, bytes.len() as u32)
    }

    fn find(&self, hash: u64, key: &[u8]) -> Option<u32> {
        let same = |index: &u32| slice(&self.arena, self.versions[*index as usize].key) == key;
        self.latest.find(hash, same).copied()
    }

    fn version(&self, index: usize) -> VersionRef<'_> {
        let version = &self.versions[index];
        let value = version.value.map(|value| slice(&self.arena, value));
        (slice(&self.arena, version.key), version.position, value)
    }

    fn write(
        &mut self,
        hasher: &DefaultHashBuilder,
        position: Position,
        key: &[u8],
        value: Option<&[u8]>,
    ) {
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
        let hash = hasher.hash_one(key);
        let previous = self.find(hash, key);
        let value = value.map(|value| self.push(value));
        if let Some(index) = previous {
            let version = &mut self.versions[index as usize];
            if version.position == position {
                version.value = value;
                return;
            }
        }
        let key = match previous {
            Some(index) => self.versions[index as usize].key,
            None => self.push(key),
        };
        let index = self.versions.len() as u32;
        self.versions.push(Version {
            key,
            value,
            position,
            previous,
        });
        let Self {
            arena,
            versions,
            latest,
            ..
        } = self;
        let key = slice(arena, key);
        match latest.find_mut(hash, |other| {
            slice(arena, versions[*other as usize].key) == key
        }) {
            Some(slot) => *slot = index,
            None => {
                let rehash =
                    |index: &u32| hasher.hash_one(slice(arena, versions[*index as usize].key));
                latest.insert_unique(hash, index, rehash);
            }
        }
    }

    /// Every version, as written.
    pub(crate) fn iter(&self) -> impl Iterator<Item = VersionRef<'_>> {
        (0..self.versions.len()).map(|index| self.version(index))
    }

    /// Indexes of all versions in the order in which files want them: by key, then newest first.
    pub(crate) fn sorted(&self) -> Vec<u32> {
        let mut order: Vec<u32> = (0..self.versions.len() as u32).collect();
        // Ties of an immutable row written twice keep the later write in front.
        order.sort_unstable_by(|left, right| {
            let (a, b) = (
                &self.versions[*left as usize],
                &self.versions[*right as usize],
            );
            let keys = slice(&self.arena, a.key).cmp(slice(&self.arena, b.key));
            keys.then(b.position.cmp(&a.position)).then(right.cmp(left))
        });
        order
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

    fn bytes(&self) -> usize {
        self.arena.len() + self.versions.len() * size_of::<Version>() + self.latest.capacity() * 5
    }
}

/// See the module.
pub struct Overlay<'a> {
    tables: Vec<TableVersions>,
    base: &'a mut dyn Base,
    position: Position,
    hasher: DefaultHashBuilder,
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
        let tables = tables.into_iter().map(TableVersions::new).collect();
        let hasher = DefaultHashBuilder::default();
        Self {
            tables,
            base,
            position: Position(0),
            hasher,
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
        let hash = self.hasher.hash_one(key);
        let versions = self.table(table);
        if let Some(index) = versions.find(hash, key) {
            if let Some(previous) = versions.versions[index as usize].previous {
                return Ok(versions.at(previous).2.map(<[u8]>::to_vec));
            }
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
        let hash = self.hasher.hash_one(key);
        let index = self
            .tables
            .iter()
            .position(|other| std::ptr::eq(other.table, table));
        let index = index.expect("a projection reads only tables that it names");
        if let Some(version) = self.tables[index].find(hash, key) {
            return Ok(self.tables[index].at(version).2);
        }
        self.read.clear();
        Ok(self
            .base
            .get(table, key, &mut self.read)?
            .then_some(&self.read))
    }

    fn put(&mut self, table: &'static TableDef, key: &[u8], value: &[u8]) {
        let (position, hasher) = (self.position, self.hasher.clone());
        self.table(table).write(&hasher, position, key, Some(value));
    }

    fn delete(&mut self, table: &'static TableDef, key: &[u8]) {
        let (position, hasher) = (self.position, self.hasher.clone());
        self.table(table).write(&hasher, position, key, None);
    }
}
