//! Which position is at which offset, kept beside the store so that reading begins near what is
//! wanted. Nothing in it is the truth: a directory that was deleted fills again while reading.

use std::path::Path;

use cairn_domain::Position;
use rocksdb::{DB, Direction, IteratorMode, WriteBatch};

use super::{acceptor::Mark, record::LogRecord};
use crate::{log::LogError, rocks};

const FORMAT: u32 = 1;
/// Which log it is of, and which topic.
const LOG: &[u8] = b"log";
/// The newest mark.
const NEWEST: &[u8] = b"newest";
/// Before the position of every other mark.
const MARKS: u8 = b'm';

/// See the module.
pub(super) struct Index {
    db: DB,
}

fn storage(error: impl ToString) -> LogError {
    LogError::Storage(error.to_string())
}

fn mark_key(position: Position) -> [u8; 9] {
    let mut key = [MARKS; 9];
    key[1..].copy_from_slice(&position.0.to_be_bytes());
    key
}

fn parse(value: &[u8]) -> Result<Mark, LogError> {
    serde_json::from_slice(value).map_err(storage)
}

impl Index {
    /// Opens the index in a directory, which is made if it is not there.
    pub(super) fn open(path: &Path) -> Result<Self, LogError> {
        let incompatible = |reason: String| LogError::Incompatible {
            path: path.display().to_string(),
            reason,
        };
        rocks::check_format(path, "kafka index", FORMAT).map_err(incompatible)?;
        let db = DB::open(&rocks::db_options(), path).map_err(|error| {
            match rocks::is_locked(&error) {
                true => LogError::InUse {
                    path: path.display().to_string(),
                },
                false => incompatible(format!(
                    "{}; delete the directory, it comes back by reading the topic",
                    error.as_ref()
                )),
            }
        })?;
        Ok(Self { db })
    }

    /// The log that it is of, if that is known.
    pub(super) fn log(&self) -> Result<Option<LogRecord>, LogError> {
        let log = self.db.get(LOG).map_err(storage)?;
        log.map(|value| serde_json::from_slice(&value).map_err(storage))
            .transpose()
    }

    /// Says which log it is of. What is known of another topic is worth nothing in this one.
    pub(super) fn set_log(&self, log: &LogRecord) -> Result<(), LogError> {
        let mut batch = WriteBatch::default();
        if self.log()?.as_ref().is_some_and(|known| known != log) {
            tracing::warn!("the topic is another one than before: it is read from its beginning");
            batch.delete(NEWEST);
            batch.delete_range(&[MARKS][..], &[MARKS + 1][..]);
        }
        batch.put(LOG, serde_json::to_vec(log).map_err(storage)?);
        self.db.write(batch).map_err(storage)
    }

    /// The newest mark.
    pub(super) fn newest(&self) -> Result<Mark, LogError> {
        let newest = self.db.get(NEWEST).map_err(storage)?;
        newest.map_or(Ok(Mark::start()), |value| parse(&value))
    }

    pub(super) fn set_newest(&self, mark: &Mark) -> Result<(), LogError> {
        let json = serde_json::to_vec(mark).map_err(storage)?;
        self.db.put(NEWEST, json).map_err(storage)
    }

    /// Remembers a mark for good.
    pub(super) fn add(&self, mark: &Mark) -> Result<(), LogError> {
        let json = serde_json::to_vec(mark).map_err(storage)?;
        self.db.put(mark_key(mark.position), json).map_err(storage)
    }

    /// The last mark before a position.
    pub(super) fn before(&self, position: Position) -> Result<Mark, LogError> {
        let from = mark_key(position.previous());
        let mut marks = self
            .db
            .iterator(IteratorMode::From(&from, Direction::Reverse));
        match marks.next().transpose().map_err(storage)? {
            Some((key, value)) if key.first() == Some(&MARKS) => parse(&value),
            Some(_) | None => Ok(Mark::start()),
        }
    }

    /// Writes everything to files.
    pub(super) fn flush(&self) -> Result<(), LogError> {
        self.db.flush().map_err(storage)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LogId;

    #[test]
    fn reading_begins_at_the_last_mark_before_a_position_and_without_any_at_the_start() {
        let directory = tempfile::tempdir().unwrap();
        let index = Index::open(&directory.path().join("index")).unwrap();
        let mark = |position: u64| Mark {
            position: Position(position),
            offset: 10 * i64::try_from(position).unwrap(),
            ..Mark::start()
        };
        assert_eq!(index.before(Position(7)).unwrap(), Mark::start());
        let log = |topic: u8| LogRecord {
            id: LogId([3; 16]),
            topic: LogId([topic; 16]),
        };
        index.set_log(&log(1)).unwrap();
        index.set_newest(&mark(9)).unwrap();
        for position in [2, 5] {
            index.add(&mark(position)).unwrap();
        }
        let before = |position: u64| index.before(Position(position)).unwrap().position.0;
        assert_eq!([1, 2, 3, 5, 6, 99].map(before), [0, 0, 2, 2, 5, 5]);
        assert_eq!(index.newest().unwrap(), mark(9));
        index.set_log(&log(1)).unwrap();
        assert_eq!(before(99), 5);
        index.set_log(&log(2)).unwrap();
        assert_eq!((before(99), index.newest().unwrap()), (0, Mark::start()));
        assert_eq!(index.log().unwrap(), Some(log(2)));
    }
}
