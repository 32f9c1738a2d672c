//! The embedded log: RocksDB gives checksums, crash safety and group commit's fsync.
//!
//! Column families: `commits` holds position (8 bytes) and part (2 bytes), both big-endian, →
//! bytes; a commit larger than [`EmbeddedOptions::part_bytes`] has several parts, the last of which
//! is marked in its first byte. `epochs` holds epoch → record. The default family holds the log's
//! id. One thread writes: it takes all appends that wait, gives them positions, writes them with one
//! fsync, moves the head, and only then acknowledges them.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc},
};

use async_trait::async_trait;
use cairn_domain::{Position, commit::NewCommit};
use rocksdb::{ColumnFamily, DB, Direction, IteratorMode, ReadOptions, WriteBatch, WriteOptions};
use tokio::sync::{oneshot, watch};

mod appender;
mod open;

use appender::{Appender, Request};

use super::{
    Claim, Condition, EpochRecord, Log, LogError, LogId, LogReport, LogStat, StoredCommit, Writer,
    fenced,
};
use crate::rocks;

/// How the embedded log behaves.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// Commits above this many bytes are stored in parts.
    pub part_bytes: usize,
    /// Memory for appends before they go to sorted files, in bytes.
    pub write_buffer_bytes: usize,
    /// Whether an append waits for the disk. Only tests and benchmarks of other parts turn it off.
    pub sync: bool,
    /// The log of which this one is a copy, whose id it takes over; none for a log of its own.
    pub copy_of: Option<LogId>,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            part_bytes: 1 << 20,
            write_buffer_bytes: 32 << 20,
            sync: true,
            copy_of: None,
        }
    }
}

const COMMITS: &str = "commits";
const EPOCHS: &str = "epochs";
/// Format of the directory; a newer one is refused.
const FORMAT: u32 = 1;
/// First byte of a part: more follow, or it is the last.
const MORE: u8 = 0;
const LAST: u8 = 1;

/// See the module.
pub struct EmbeddedLog {
    shared: Arc<Shared>,
    /// Taken by the writing thread; closing it ends the thread.
    queue: mpsc::Sender<Request>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

struct Shared {
    db: DB,
    id: LogId,
    path: PathBuf,
    head: watch::Sender<Position>,
    epoch: watch::Sender<Option<EpochRecord>>,
    options: EmbeddedOptions,
}

fn storage(error: rocksdb::Error) -> LogError {
    LogError::Storage(error.into_string())
}

fn commit_key(position: Position, part: u16) -> [u8; 10] {
    let mut key = [0; 10];
    key[..8].copy_from_slice(&position.0.to_be_bytes());
    key[8..].copy_from_slice(&part.to_be_bytes());
    key
}

fn key_position(key: &[u8]) -> Option<(Position, u16)> {
    let (position, part) = key.split_first_chunk::<8>()?;
    Some((
        Position(u64::from_be_bytes(*position)),
        u16::from_be_bytes(part.try_into().ok()?),
    ))
}

impl EmbeddedLog {
    /// Opens the log in a directory, which is made if it is not there.
    ///
    /// # Errors
    /// [`LogError::InUse`] beside another process, [`LogError::Incompatible`] for a directory of a
    /// newer version or of another log than `copy_of`, [`LogError::Storage`] where the disk refuses.
    pub fn open(path: &Path, options: EmbeddedOptions) -> Result<Self, LogError> {
        rocks::check_format(path, "log", FORMAT).map_err(|reason| LogError::Incompatible {
            path: path.display().to_string(),
            reason,
        })?;
        let db = open::database(path, &options)?;
        let id = open::own_id(&db, path, &options)?;
        let head = last_position(&db)?;
        let shared = Shared {
            epoch: watch::Sender::new(last_epoch(&db)?),
            db,
            id,
            path: path.to_owned(),
            head: watch::Sender::new(head),
            options,
        };
        let shared = Arc::new(shared);
        let (queue, requests) = mpsc::channel();
        let appender = Appender {
            shared: Arc::clone(&shared),
        };
        let thread = std::thread::Builder::new()
            .name("cairn-log".into())
            .spawn(move || appender.run(&requests))
            .map_err(|error| LogError::Storage(error.to_string()))?;
        Ok(Self {
            shared,
            queue,
            thread: Mutex::new(Some(thread)),
        })
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        // The thread may be gone already; then there is nothing to close.
        let _closed = self.queue.send(Request::Close);
        if let Some(thread) = self.thread.lock().ok().and_then(|mut thread| thread.take()) {
            let _joined = thread.join();
        }
    }
}

fn family<'a>(db: &'a DB, name: &str) -> &'a ColumnFamily {
    db.cf_handle(name).expect("opened with every family")
}

fn last_position(db: &DB) -> Result<Position, LogError> {
    let mut iterator = db.raw_iterator_cf(family(db, COMMITS));
    iterator.seek_to_last();
    iterator.status().map_err(storage)?;
    Ok(iterator
        .key()
        .and_then(key_position)
        .map_or(Position(0), |(position, _)| position))
}

fn last_epoch(db: &DB) -> Result<Option<EpochRecord>, LogError> {
    let last = db.iterator_cf(family(db, EPOCHS), IteratorMode::End).next();
    last.transpose()
        .map_err(storage)?
        .map(|(_, value)| epoch_record(&value))
        .transpose()
}

fn epoch_record(value: &[u8]) -> Result<EpochRecord, LogError> {
    serde_json::from_slice(value)
        .map_err(|error| LogError::Storage(format!("epoch record: {error}")))
}

impl Shared {
    fn epochs(&self) -> Result<u64, LogError> {
        let epochs = self
            .db
            .iterator_cf(family(&self.db, EPOCHS), IteratorMode::Start);
        epochs.map(|epoch| epoch.map(|_| 1).map_err(storage)).sum()
    }

    fn write(&self, batch: WriteBatch) -> Result<(), LogError> {
        let mut options = WriteOptions::default();
        options.set_sync(self.options.sync);
        self.db.write_opt(batch, &options).map_err(storage)
    }

    fn read(&self, from: Position, max_bytes: usize) -> Result<Vec<StoredCommit>, LogError> {
        let head = *self.head.borrow();
        let mut commits = Vec::new();
        let (mut bytes, mut next) = (0, from.max(Position(1)));
        let mut options = ReadOptions::default();
        options.set_verify_checksums(true);
        if max_bytes > 1 << 20 {
            options.set_readahead_size(2 << 20);
        }
        let mut iterator = self
            .db
            .raw_iterator_cf_opt(family(&self.db, COMMITS), options);
        iterator.seek(commit_key(next, 0));
        while next <= head && (commits.is_empty() || bytes < max_bytes) {
            let commit = read_commit(&mut iterator, next)?;
            bytes += commit.bytes.len();
            commits.push(commit);
            next = next.next();
        }
        Ok(commits)
    }
}

/// Reads the parts of the commit at which the iterator stands and moves behind it.
fn read_commit(
    iterator: &mut rocksdb::DBRawIterator<'_>,
    position: Position,
) -> Result<StoredCommit, LogError> {
    let mut bytes = Vec::new();
    for part in 0.. {
        let Some((key, value)) = iterator.item() else {
            iterator.status().map_err(storage)?;
            return Err(LogError::Missing(position));
        };
        let Some((mark, data)) = value.split_first() else {
            return Err(LogError::Missing(position));
        };
        if key_position(key) != Some((position, part)) {
            return Err(LogError::Missing(position));
        }
        bytes.extend_from_slice(data);
        let last = *mark == LAST;
        iterator.next();
        if last {
            break;
        }
    }
    Ok(StoredCommit { position, bytes })
}

#[async_trait]
impl Log for EmbeddedLog {
    fn id(&self) -> LogId {
        self.shared.id
    }

    fn is_local(&self) -> bool {
        true
    }

    async fn take_over(&self, claim: Claim) -> Result<Arc<dyn Writer>, LogError> {
        let (done, epoch) = oneshot::channel();
        let request = Request::TakeOver { claim, done };
        self.queue.send(request).map_err(|_| LogError::Closed)?;
        let epoch = epoch.await.map_err(|_| LogError::Closed)??;
        Ok(Arc::new(EmbeddedWriter {
            epoch,
            current: self.shared.epoch.subscribe(),
            queue: self.queue.clone(),
        }))
    }

    fn epoch(&self) -> watch::Receiver<Option<EpochRecord>> {
        self.shared.epoch.subscribe()
    }

    async fn caught_up(&self) -> Result<(), LogError> {
        Ok(())
    }

    fn condition(&self) -> Condition {
        Condition::Well { lag: 0 }
    }

    async fn locate(&self, _position: Position) -> Option<String> {
        None
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.shared.head.subscribe()
    }

    async fn read(&self, from: Position, max_bytes: usize) -> Result<Vec<StoredCommit>, LogError> {
        let shared = Arc::clone(&self.shared);
        let read = tokio::task::spawn_blocking(move || shared.read(from, max_bytes));
        read.await.map_err(|_| LogError::Closed)?
    }

    async fn stat(&self) -> Result<LogStat, LogError> {
        let epoch = self.shared.epoch.borrow().clone();
        let closed = epoch.as_ref().and_then(|record| record.closed.as_ref());
        Ok(LogStat {
            id: self.shared.id,
            kind: "embedded".into(),
            head: *self.shared.head.borrow(),
            epochs: self.shared.epochs()?,
            bytes: rocks::directory_bytes(&self.shared.path),
            lag: 0,
            place: self.shared.path.display().to_string(),
            passed_over: 0,
            retention: "everything, for good".into(),
            health: closed.map_or("ok".into(), |reason| format!("closed: {reason}")),
            epoch,
        })
    }

    async fn verify(&self, progress: &(dyn Fn(Position) + Sync)) -> Result<LogReport, LogError> {
        let head = *self.shared.head.borrow();
        let mut report = LogReport::default();
        let mut next = Position(1);
        while next <= head {
            match self.read(next, 1 << 20).await {
                Ok(commits) => {
                    for commit in &commits {
                        next = commit.position.next();
                        match commit.decode() {
                            Ok(commit) => report.events += commit.events.len() as u64,
                            Err(error) => report.problems.push(error.to_string()),
                        }
                    }
                    report.commits += commits.len() as u64;
                }
                // One bad commit must not hide the ones in front of it, nor those behind it.
                Err(error) => match self.read(next, 1).await {
                    Ok(_) => return Err(error),
                    Err(error) => {
                        report.problems.push(format!("commit {next}: {error}"));
                        next = next.next();
                    }
                },
            }
            progress(next.previous());
        }
        self.verify_order(head, &mut report)?;
        Ok(report)
    }
}

impl EmbeddedLog {
    /// Nothing may stand behind the head or outside the numbering.
    fn verify_order(&self, head: Position, report: &mut LogReport) -> Result<(), LogError> {
        let from = commit_key(head.next(), 0);
        let mode = IteratorMode::From(&from, Direction::Forward);
        let mut behind = self
            .shared
            .db
            .iterator_cf(family(&self.shared.db, COMMITS), mode);
        // Appends that came since are fine: they moved the head.
        if let Some(item) = behind.next() {
            let (key, _) = item.map_err(storage)?;
            if key_position(&key).is_none_or(|(position, _)| position > *self.shared.head.borrow())
            {
                report
                    .problems
                    .push(format!("a commit stands behind the head, {head}"));
            }
        }
        Ok(())
    }
}

struct EmbeddedWriter {
    epoch: u64,
    current: watch::Receiver<Option<EpochRecord>>,
    queue: mpsc::Sender<Request>,
}

#[async_trait]
impl Writer for EmbeddedWriter {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    async fn append(&self, commits: Vec<NewCommit>) -> Result<Position, LogError> {
        let (done, position) = oneshot::channel();
        let request = Request::Append {
            epoch: self.epoch,
            commits,
            done,
        };
        self.queue.send(request).map_err(|_| LogError::Closed)?;
        position.await.map_err(|_| LogError::Closed)?
    }

    async fn lost(&self) -> LogError {
        fenced(self.current.clone(), self.epoch).await
    }
}
