//! Why a query is not answered.

use std::{sync::Arc, time::Duration};

use cairn_domain::Position;
use cairn_engine::store::StoreError;
use datafusion::error::DataFusionError;

use super::{Refusal, memory::CROWDED, room::RETRY_AFTER};
use crate::LakeError;

/// Why a query is not answered.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SqlError {
    /// So many queries run that there is no room for another.
    #[error("{running} queries run, and no more may; try again in {} s", retry_after.as_secs())]
    Busy {
        /// How many run.
        running: usize,
        /// When to try again.
        retry_after: Duration,
    },
    /// So many queries of the caller run that others would find no room.
    #[error("{running} queries of yours run, and no more may; wait for one, or try again in {} s", retry_after.as_secs())]
    CallerBusy {
        /// How many run.
        running: usize,
        /// When to try again.
        retry_after: Duration,
    },
    /// The text is no SQL.
    #[error("this is not SQL: {0}")]
    Syntax(String),
    /// The statement is refused.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// A table is not there, or not there for the caller.
    #[error("there is no table {name}; there are {}", known.join(", "))]
    UnknownTable {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// The query makes no sense: a column that is not there, types that do not agree.
    #[error("{0}")]
    Plan(String),
    /// The query failed on the rows it met: a division by zero, a value that does not fit.
    #[error("{0}")]
    Execution(String),
    /// The query needs more memory or disk than it may have.
    #[error(
        "the query needs more than its {limit_bytes} bytes of memory and its share of disk; select fewer columns, filter by chain and height, or aggregate before joining or sorting"
    )]
    TooLarge {
        /// The memory that it may have, in bytes.
        limit_bytes: usize,
    },
    /// Other queries have the memory.
    #[error("other queries have the memory that this one needs; try again in {} s, or ask for less", retry_after.as_secs())]
    Crowded {
        /// When to try again.
        retry_after: Duration,
    },
    /// The query takes too long.
    #[error("the query took longer than {} s; filter by chain and height, or ask for less", limit.as_secs_f64())]
    TooSlow {
        /// How long it may take.
        limit: Duration,
    },
    /// The answer has too many rows.
    #[error(
        "the answer has more than {limit} rows; give a limit, aggregate, or take the dataset's files"
    )]
    TooManyRows {
        /// How many it may have.
        limit: usize,
    },
    /// What the query read was trimmed or replaced under it.
    #[error("what the query read was trimmed or replaced by something newer meanwhile; try again")]
    Moved,
    /// A shard is not there yet.
    #[error(
        "shard {shard}: the lake is at position {lake}, the store at {store} and keeps history from {oldest} on; try again when the one behind has caught up"
    )]
    Behind {
        /// The shard.
        shard: String,
        /// How far the lake is.
        lake: Position,
        /// How far the store is.
        store: Position,
        /// The oldest position that the store can be read at.
        oldest: Position,
    },
    /// Files and store do not tell the same chain.
    #[error(
        "the lake and the store disagree about {stream} at height {height}; run `cairn lake rebuild`"
    )]
    Disagreement {
        /// The chain.
        stream: String,
        /// Where.
        height: u64,
    },
    /// The lake or the store cannot be read.
    #[error(transparent)]
    Lake(Arc<LakeError>),
    /// A bug.
    #[error("the query ended before its answer did: {0}; this is a bug, please report it")]
    Internal(String),
}

impl SqlError {
    /// For the way through the query engine, which knows no errors of ours.
    pub(super) fn into_external(self) -> DataFusionError {
        DataFusionError::External(Box::new(self))
    }

    /// The error behind what the query engine says. `memory` is what the query may have, in bytes.
    pub(super) fn from_engine(error: &DataFusionError, memory: usize) -> Self {
        if let Some(own) = own(error) {
            return own;
        }
        let text = || error.find_root().strip_backtrace();
        match error.find_root() {
            DataFusionError::ResourcesExhausted(reason) if reason.contains(CROWDED) => {
                Self::Crowded {
                    retry_after: RETRY_AFTER,
                }
            }
            DataFusionError::ResourcesExhausted(reason) => {
                tracing::debug!(reason, "a query needs too much");
                Self::TooLarge {
                    limit_bytes: memory,
                }
            }
            DataFusionError::SQL(parse, _) => Self::Syntax(parse.to_string()),
            DataFusionError::Plan(reason) | DataFusionError::NotImplemented(reason) => {
                Self::Plan(reason.clone())
            }
            DataFusionError::SchemaError(..) => Self::Plan(text()),
            DataFusionError::Execution(reason) => Self::Execution(reason.clone()),
            DataFusionError::ArrowError(reason, _) => Self::Execution(reason.to_string()),
            DataFusionError::ObjectStore(reason) => LakeError::of_object(None, reason).into(),
            DataFusionError::IoError(reason) => LakeError::storage("a file", reason).into(),
            DataFusionError::ParquetError(reason) => LakeError::of_parquet(reason).into(),
            _ => Self::Internal(text()),
        }
    }
}

/// An error of ours that came through the query engine.
fn own(error: &DataFusionError) -> Option<SqlError> {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if let Some(own) = error.downcast_ref::<SqlError>() {
            return Some(own.clone());
        }
        cause = match error.downcast_ref::<DataFusionError>() {
            // The source of these is what the boxed error came from, not the boxed error.
            Some(DataFusionError::External(boxed)) => Some(boxed.as_ref()),
            Some(DataFusionError::Shared(shared)) => Some(shared.as_ref()),
            Some(DataFusionError::Collection(several)) => several.first().map(|first| first as _),
            _ => error.source(),
        };
    }
    None
}

impl From<LakeError> for SqlError {
    fn from(error: LakeError) -> Self {
        match error {
            LakeError::Store(StoreError::Trimmed { .. }) | LakeError::Gone { .. } => Self::Moved,
            error => Self::Lake(Arc::new(error)),
        }
    }
}

impl From<StoreError> for SqlError {
    fn from(error: StoreError) -> Self {
        LakeError::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use parquet::errors::ParquetError;

    use super::*;

    #[test]
    fn an_error_of_ours_comes_through_the_query_engine_as_it_was() {
        let trimmed = StoreError::Trimmed {
            asked: Position(1),
            oldest: Position(2),
        };
        let inside = || SqlError::from(trimmed.clone()).into_external();
        for outside in [
            inside(),
            inside().context("reading"),
            DataFusionError::Shared(Arc::new(inside())),
            DataFusionError::Shared(Arc::new(inside().context("reading"))).context("sorting"),
            DataFusionError::Collection(vec![inside()]),
        ] {
            let error = SqlError::from_engine(&outside, 0);
            assert!(matches!(error, SqlError::Moved), "{outside:?}: {error:?}");
        }
    }

    #[test]
    fn a_file_that_is_gone_is_tried_again_and_another_failure_says_where() {
        let not_found = || object_store::Error::NotFound {
            path: "blocks/1.parquet".into(),
            source: "deleted".into(),
        };
        let in_parquet = ParquetError::External(Box::new(not_found()));
        for outside in [
            DataFusionError::ObjectStore(Box::new(not_found())),
            DataFusionError::ParquetError(Box::new(in_parquet)).context("reading"),
        ] {
            let error = SqlError::from_engine(&outside, 0);
            assert!(matches!(error, SqlError::Moved), "{outside:?}: {error:?}");
        }
        let away = object_store::Error::Generic {
            store: "S3",
            source: "blocks/1.parquet: no answer".into(),
        };
        let away = DataFusionError::ObjectStore(Box::new(away));
        let away = SqlError::from_engine(&away, 0).to_string();
        assert!(away.contains("blocks/1.parquet"), "{away}");
    }

    #[test]
    fn memory_that_is_not_to_be_had_says_how_much_there_is() {
        let crowded = format!("a sort failed: {CROWDED} 5 bytes more");
        let crowded = DataFusionError::ResourcesExhausted(crowded).context("sorting");
        let error = SqlError::from_engine(&crowded, 77);
        assert!(matches!(error, SqlError::Crowded { .. }), "{error:?}");
        let outside = DataFusionError::ResourcesExhausted("no".into()).context("sorting");
        let error = SqlError::from_engine(&outside, 77);
        assert!(
            matches!(error, SqlError::TooLarge { limit_bytes: 77 }),
            "{error:?}"
        );
    }
}
