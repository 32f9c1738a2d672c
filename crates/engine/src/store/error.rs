//! Why the store did not do what it was asked.

use cairn_domain::{Position, projections::FoldError, table::TableError};

use crate::rocks;

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Another process has the store open.
    #[error("{path} is in use by another process; stop it, or talk to it through its socket")]
    InUse {
        /// The store's directory.
        path: String,
    },
    /// The directory holds something else than a store of this version.
    #[error("{path} cannot be opened: {reason}")]
    Incompatible {
        /// The store's directory.
        path: String,
        /// What is wrong, and the way out.
        reason: String,
    },
    /// A projection in the store is newer than this version of cairn.
    #[error(
        "projection {name} in the store is version {stored}, this cairn folds version {own}; use the newer cairn, or delete {path} and replay"
    )]
    Downgrade {
        /// The projection.
        name: String,
        /// Its version on disk.
        stored: u32,
        /// Its version here.
        own: u32,
        /// The store's directory.
        path: String,
    },
    /// The projection is not there to be read.
    #[error("projection {name} cannot be read: {reason}")]
    Unavailable {
        /// The projection.
        name: String,
        /// Why, and what will help.
        reason: String,
    },
    /// A position whose versions were trimmed.
    #[error("position {asked} is beyond the kept history; the oldest is {oldest}")]
    Trimmed {
        /// What was asked for.
        asked: Position,
        /// The oldest that can be read.
        oldest: Position,
    },
    /// A row does not decode.
    #[error(transparent)]
    Table(#[from] TableError),
    /// RocksDB failed.
    #[error("the store's storage failed: {0}; free space or repair the disk, then start again")]
    Storage(String),
}

impl From<rocksdb::Error> for StoreError {
    fn from(error: rocksdb::Error) -> Self {
        // History may be trimmed between the moment when a view is taken and when it is read.
        match rocks::forgotten_version(&error) {
            Some((asked, oldest)) => Self::Trimmed {
                asked: Position(asked),
                oldest: Position(oldest),
            },
            None => Self::Storage(error.into_string()),
        }
    }
}

impl From<StoreError> for FoldError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Table(error) => Self::Table(error),
            other => Self::Store(other.to_string()),
        }
    }
}

impl From<std::io::Error> for StoreError {
    fn from(error: std::io::Error) -> Self {
        Self::Storage(error.to_string())
    }
}
