//! The store: what the projections folded. Disposable: all of it comes back by replay.
//!
//! One RocksDB with a column family per table. Tables whose rows change carry the position as
//! RocksDB's user-defined timestamp, so a read as of a position is an ordinary read. Tables whose
//! rows never change need none: a row counts as of a position if the block it names was canonical
//! then. No read therefore needs a snapshot.
//!
//! A projection lives in a generation of column families. A rebuild fills the next generation and
//! swaps it in by writing one meta row.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, RwLock},
};

use cairn_domain::{
    Position,
    projections::{ALL, Projection},
    table::{TableDef, TableKind},
};
use families::{options_of, plain_options, table_options};
use rocksdb::{
    BoundColumnFamily, Cache, ColumnFamilyDescriptor, DBWithThreadMode, MultiThreaded, WriteBatch,
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::{log::LogId, rocks};
use readable::ReadableTables;

mod bulk;
mod digest;
mod error;
mod families;
mod final_mark;
mod load;
mod overlay;
mod publish;
mod read;
mod readable;
mod steps;
mod write;

pub(crate) use bulk::{BulkBase, BulkWriter};
pub use digest::TableDigest;
pub use error::StoreError;
pub use final_mark::FinalMark;
use final_mark::FinalTime;
pub(crate) use overlay::TableVersions;
pub use overlay::{Base, Overlay};
pub use read::{ReadView, Row};
pub use steps::{Step, Steps};
pub use write::LiveBase;

pub(crate) type Db = DBWithThreadMode<MultiThreaded>;

/// How the store uses memory and disk.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// Memory for blocks of files, filters and indexes, in bytes.
    pub cache_bytes: usize,
    /// Memory for rows that are not in files yet, all tables together, in bytes.
    pub write_buffer_bytes: usize,
    /// Memory that a rebuild may hold of rows to be sorted, in bytes.
    pub bulk_bytes: usize,
    /// Told of every write, for simulations.
    #[doc(hidden)]
    pub steps: Steps,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 128 << 20,
            write_buffer_bytes: 64 << 20,
            bulk_bytes: 256 << 20,
            steps: Steps::default(),
        }
    }
}

/// What the store knows of a projection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectionState {
    /// Version of the fold that filled it.
    pub version: u32,
    /// Which generation of column families holds it.
    pub generation: u32,
    /// The last position it holds.
    pub position: Position,
    /// Why it stopped, if it did.
    pub failure: Option<String>,
}

const META: &str = "meta";
const UNDO: &str = "undo";
const FORMAT: u32 = 1;
/// Meta key of the oldest position whose versions are kept.
const OLDEST: &str = "oldest";
/// Meta key of the log that the store is folded from.
const LOG: &str = "log";

/// See the module.
pub struct Store {
    db: Db,
    path: PathBuf,
    options: StoreOptions,
    cache: Cache,
    states: RwLock<BTreeMap<&'static str, ProjectionState>>,
    position: watch::Sender<Position>,
    oldest: RwLock<Position>,
    /// See [`ReadView::final_mark`].
    final_time: RwLock<FinalTime>,
    readable: RwLock<Arc<ReadableTables>>,
    /// Names of the tables' column families, of all generations.
    families: Mutex<BTreeSet<String>>,
}

/// The projection called `name`.
pub fn projection(name: &str) -> Option<&'static dyn Projection> {
    ALL.iter()
        .copied()
        .find(|projection| projection.name() == name)
}

/// The projection that a table belongs to.
pub(crate) fn owner(table: &'static TableDef) -> &'static dyn Projection {
    let owns = |p: &&&dyn Projection| p.tables().iter().any(|t| std::ptr::eq(*t, table));
    *ALL.iter()
        .find(owns)
        .expect("every table belongs to a projection")
}

/// The name says how the rows live, so that a family can be opened, and dropped, by a version that
/// knows no such table any more.
fn family_name(table: &TableDef, generation: u32) -> String {
    let kind = match table.kind {
        TableKind::Versioned => "versioned",
        TableKind::Immutable { .. } => "immutable",
    };
    format!("{}#{generation}/{kind}", table.name)
}

/// The column families of an empty store: opening makes them all at once, which is quicker than one
/// by one.
fn first_generation() -> Vec<String> {
    ALL.iter()
        .flat_map(|p| p.tables())
        .map(|table| family_name(table, 1))
        .collect()
}

fn timestamp(position: Position) -> [u8; 8] {
    position.0.to_le_bytes()
}

impl Store {
    /// Opens the store in a directory, which is made if it is not there.
    ///
    /// # Errors
    /// [`StoreError::InUse`], [`StoreError::Incompatible`], [`StoreError::Downgrade`], and
    /// [`StoreError::Storage`] where the disk refuses.
    pub fn open(path: &Path, options: StoreOptions) -> Result<Arc<Self>, StoreError> {
        rocks::check_format(path, "store", FORMAT).map_err(|reason| StoreError::Incompatible {
            path: path.display().to_string(),
            reason,
        })?;
        // Without a lock a lookup, unlike the LRU cache; 0: it learns the size of its entries.
        let cache = Cache::new_hyper_clock_cache(options.cache_bytes, 0);
        let mut db_options = rocks::db_options();
        db_options.set_db_write_buffer_size(options.write_buffer_bytes);
        db_options.set_max_total_wal_size(2 * options.write_buffer_bytes as u64);
        let existing = rocksdb::DB::list_cf(&db_options, path).unwrap_or_default();
        let mut families: Vec<_> = [rocksdb::DEFAULT_COLUMN_FAMILY_NAME, META, UNDO]
            .map(|name| ColumnFamilyDescriptor::new(name, plain_options(&cache)))
            .into();
        let existing = if existing.is_empty() {
            first_generation()
        } else {
            existing
        };
        for name in existing.iter().filter(|name| name.contains('#')) {
            families.push(ColumnFamilyDescriptor::new(name, options_of(name, &cache)?));
        }
        let db = Db::open_cf_descriptors(&db_options, path, families).map_err(|error| {
            let path = path.display().to_string();
            match rocks::is_locked(&error) {
                true => StoreError::InUse { path },
                false => StoreError::Incompatible {
                    path,
                    reason: error.into_string(),
                },
            }
        })?;
        let store = Self {
            db,
            path: path.to_owned(),
            options,
            cache,
            states: RwLock::default(),
            position: watch::Sender::new(Position(0)),
            oldest: RwLock::default(),
            final_time: RwLock::default(),
            readable: RwLock::default(),
            families: Mutex::new(
                existing
                    .into_iter()
                    .filter(|name| name.contains('#'))
                    .collect(),
            ),
        };
        store.load()?;
        Ok(Arc::new(store))
    }

    fn make_missing_families(
        &self,
        projection: &dyn Projection,
        generation: u32,
    ) -> Result<(), StoreError> {
        let mut families = self.families.lock().expect("no panic holds it");
        for table in projection.tables() {
            let name = family_name(table, generation);
            if !families.contains(&name) {
                let options = table_options(table, &self.cache)?;
                self.db.create_cf(&name, &options)?;
                families.insert(name);
                self.options.steps.done(Step::FamilyMade);
            }
        }
        Ok(())
    }

    /// Makes empty column families for a generation; what is left of an unfinished one goes first.
    pub(crate) fn create_families(
        &self,
        projection: &dyn Projection,
        generation: u32,
    ) -> Result<(), StoreError> {
        for table in projection.tables() {
            let name = family_name(table, generation);
            let left = self
                .families
                .lock()
                .expect("no panic holds it")
                .remove(&name);
            if left {
                self.db.drop_cf(&name)?;
                self.options.steps.done(Step::FamilyDropped);
            }
        }
        self.make_missing_families(projection, generation)
    }

    fn meta<T: for<'de> Deserialize<'de>>(&self, key: &str) -> Result<Option<T>, StoreError> {
        let value = self.db.get_cf(&self.family(META), key)?;
        let parse = |value: Vec<u8>| {
            serde_json::from_slice(&value).map_err(|error| StoreError::Storage(error.to_string()))
        };
        value.map(parse).transpose()
    }

    fn set_meta<T: Serialize>(&self, key: &str, value: &T) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        self.put_meta(&mut batch, key, value);
        self.db.write(batch)?;
        self.options.steps.done(Step::StateWritten);
        Ok(())
    }

    fn put_meta<T: Serialize>(&self, batch: &mut WriteBatch, key: &str, value: &T) {
        let json = serde_json::to_vec(value).expect("meta rows are plain data");
        batch.put_cf(&self.family(META), key, json);
    }

    pub(crate) fn family(&self, name: &str) -> Arc<BoundColumnFamily<'_>> {
        self.db
            .cf_handle(name)
            .expect("a family is opened or made before it is used")
    }

    /// Binds the store to the log that it is folded from; a store that is bound stays so.
    ///
    /// # Errors
    /// [`StoreError::Incompatible`] where it was folded from another log.
    pub fn bind(&self, log: LogId) -> Result<(), StoreError> {
        match self.meta::<LogId>(LOG)? {
            Some(bound) if bound == log => Ok(()),
            Some(bound) => Err(StoreError::Incompatible {
                path: self.path.display().to_string(),
                reason: format!(
                    "it was folded from log {bound}, not from log {log}: use the data directory of that log, or delete this directory, it comes back by replay"
                ),
            }),
            None => self.set_meta(LOG, &log),
        }
    }

    /// The column family of a table in the live generation of its projection.
    pub(crate) fn table_family(&self, table: &'static TableDef) -> Arc<BoundColumnFamily<'_>> {
        self.family(&family_name(table, self.generation(owner(table).name())))
    }

    /// The live generation of a projection.
    pub(crate) fn generation(&self, projection: &str) -> u32 {
        self.states.read().expect("no panic holds it")[projection].generation
    }

    /// The position that every readable projection has reached, as it moves.
    pub fn position(&self) -> watch::Receiver<Position> {
        self.position.subscribe()
    }

    /// The oldest position that can be read.
    pub fn oldest(&self) -> Position {
        *self.oldest.read().expect("no panic holds it")
    }

    /// What is known of each projection.
    pub fn states(&self) -> BTreeMap<&'static str, ProjectionState> {
        self.states.read().expect("no panic holds it").clone()
    }

    /// The limits it was opened with.
    pub fn options(&self) -> &StoreOptions {
        &self.options
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
