//! Opening: the database with its families, and which log it is.

use std::path::Path;

use rocksdb::{ColumnFamilyDescriptor, DB, DBCompressionType, Options, WriteOptions};

use super::{COMMITS, EPOCHS, EmbeddedOptions, storage};
use crate::{
    log::{LogError, LogId},
    rocks,
};

/// Key of the log's id, 16 bytes, in the default family.
const ID: &str = "id";

/// Opens the database with every family.
pub(super) fn database(path: &Path, options: &EmbeddedOptions) -> Result<DB, LogError> {
    DB::open_cf_descriptors(&db_options(), path, families(options))
        .map_err(|error| open_error(path, error))
}

fn db_options() -> Options {
    let mut options = rocks::db_options();
    // A tail that was not acknowledged may be torn; everything before it must be whole.
    options.set_wal_recovery_mode(rocksdb::DBRecoveryMode::PointInTime);
    options
}

fn families(options: &EmbeddedOptions) -> Vec<ColumnFamilyDescriptor> {
    let mut commits = Options::default();
    commits.set_write_buffer_size(options.write_buffer_bytes);
    // Keys only ever grow, so files move down without being rewritten.
    commits.set_compression_type(DBCompressionType::Lz4);
    commits.set_target_file_size_base(64 << 20);
    let mut blocks = rocksdb::BlockBasedOptions::default();
    blocks.set_block_size(64 << 10);
    blocks.set_block_cache(&rocksdb::Cache::new_lru_cache(8 << 20));
    commits.set_block_based_table_factory(&blocks);
    vec![
        ColumnFamilyDescriptor::new(rocksdb::DEFAULT_COLUMN_FAMILY_NAME, Options::default()),
        ColumnFamilyDescriptor::new(COMMITS, commits),
        ColumnFamilyDescriptor::new(EPOCHS, Options::default()),
    ]
}

fn open_error(path: &Path, error: rocksdb::Error) -> LogError {
    let path = path.display().to_string();
    match rocks::is_locked(&error) {
        true => LogError::InUse { path },
        false => LogError::Incompatible {
            path,
            reason: error.into_string(),
        },
    }
}

/// The id that the log has; a log that has none yet gets it for good.
pub(super) fn own_id(db: &DB, path: &Path, options: &EmbeddedOptions) -> Result<LogId, LogError> {
    let incompatible = |reason: String| LogError::Incompatible {
        path: path.display().to_string(),
        reason,
    };
    if let Some(stored) = db.get(ID).map_err(storage)? {
        let id = <[u8; 16]>::try_from(&stored[..]).map(LogId);
        let id = id.map_err(|_| incompatible("its id is damaged; restore it".into()))?;
        return match options.copy_of {
            Some(original) if original != id => Err(incompatible(format!(
                "it is log {id} and no copy of {original}; use another directory"
            ))),
            Some(_) | None => Ok(id),
        };
    }
    let id = options.copy_of.unwrap_or_else(LogId::random);
    let mut durable = WriteOptions::default();
    durable.set_sync(true);
    db.put_opt(ID, id.0, &durable).map_err(storage)?;
    Ok(id)
}
