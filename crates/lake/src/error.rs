//! Why the lake did not do what it was asked.

use cairn_domain::{Position, datasets::CellError, events::EventError};
use cairn_engine::{log::LogError, store::StoreError};

/// Why the lake did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The log cannot be read on.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Files cannot be read or written.
    #[error(
        "the lake's storage failed at {place}: {reason}; free space or repair it, then start again"
    )]
    Storage {
        /// Which file or object.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// A file was deleted: another one has replaced it, or somebody else has taken it away.
    #[error("the file {place} of the lake is gone: list the files again")]
    Gone {
        /// Which file or object.
        place: String,
    },
    /// What is there is not a lake of this version, or of another log.
    #[error("the lake at {place} cannot be used: {reason}")]
    Incompatible {
        /// Where.
        place: String,
        /// What is wrong, and the way out.
        reason: String,
    },
    /// A value has no place in its column.
    #[error(
        "{dataset} of {stream} stop at {place}: {source}; the API shows these rows all the same"
    )]
    Cell {
        /// The dataset.
        dataset: &'static str,
        /// Whose rows.
        stream: String,
        /// The block or position.
        place: String,
        /// What is wrong.
        source: CellError,
    },
    /// An event cannot be read.
    #[error("commit {position}: {source}")]
    Event {
        /// Where.
        position: Position,
        /// What is wrong.
        source: EventError,
    },
    /// Columns cannot be written or read.
    #[error("columns cannot be written or read: {0}")]
    Columns(String),
    /// An Iceberg table or its catalog does not do what it should.
    #[error(
        "iceberg {table}: {reason}; the files of the lake are whole, and the next publication goes on from here"
    )]
    Iceberg {
        /// Which table, namespace, catalog or file.
        table: String,
        /// What is wrong.
        reason: String,
    },
    /// The process is to end first.
    #[error("it was given up because the server stops; what was published stays")]
    Cancelled,
}

impl LakeError {
    /// A failure of a file or object.
    pub(crate) fn storage(place: impl Into<String>, reason: impl ToString) -> Self {
        Self::Storage {
            place: place.into(),
            reason: reason.to_string(),
        }
    }

    /// A failure of an object of a store.
    pub(crate) fn object(place: &str, error: object_store::Error) -> Self {
        Self::of_object(Some(place), &error)
    }

    /// The same where the error alone may know which object it is about.
    pub(crate) fn of_object(place: Option<&str>, error: &object_store::Error) -> Self {
        match error {
            object_store::Error::NotFound { path, .. } => Self::Gone {
                place: place.unwrap_or(path).to_owned(),
            },
            error => Self::storage(place.unwrap_or("an object of the lake"), error),
        }
    }

    /// A failure of a Parquet file, or of what is below it.
    pub(crate) fn of_parquet(error: &parquet::errors::ParquetError) -> Self {
        let parquet::errors::ParquetError::External(below) = error else {
            return Self::Columns(error.to_string());
        };
        // A disk that is full, an object store that does not answer.
        match below.downcast_ref::<object_store::Error>() {
            Some(error) => Self::of_object(None, error),
            None => Self::storage("a Parquet file", below),
        }
    }

    /// A failure of an Iceberg table, or of the catalog.
    pub(crate) fn iceberg(table: impl Into<String>, reason: impl ToString) -> Self {
        Self::Iceberg {
            table: table.into(),
            reason: reason.to_string(),
        }
    }
}

impl From<arrow::error::ArrowError> for LakeError {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Columns(error.to_string())
    }
}

impl From<parquet::errors::ParquetError> for LakeError {
    fn from(error: parquet::errors::ParquetError) -> Self {
        Self::of_parquet(&error)
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use parquet::errors::ParquetError;

    use super::*;

    #[test]
    fn what_is_below_a_parquet_file_is_not_said_to_be_wrong_with_its_columns() {
        let full = ParquetError::from(io::Error::from(io::ErrorKind::StorageFull));
        let full = LakeError::from(full).to_string();
        assert!(full.contains("free space"), "{full}");
        let gone = object_store::Error::NotFound {
            path: "blocks/1.parquet".into(),
            source: "deleted".into(),
        };
        let gone = LakeError::from(ParquetError::External(Box::new(gone)));
        assert!(matches!(gone, LakeError::Gone { .. }), "{gone}");
        let wrong = LakeError::from(ParquetError::General("no footer".into()));
        assert!(matches!(wrong, LakeError::Columns(_)), "{wrong}");
    }
}
