//! The log: one total order of commits, the only truth (promise P1).
//!
//! Positions are gapless from 1 and given only to what is durable (promise P2). One writer at a
//! time: whoever acquired the log last. The first thing a writer does is to append an epoch record,
//! which takes no position; from then on what older writers append is refused as
//! [`LogError::Fenced`].

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use cairn_domain::{
    Commit, Position,
    commit::{CommitError, NewCommit},
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::clock::now_millis;

mod copy;
mod embedded;
mod id;
mod kafka;

pub use copy::{CopyError, CopyReport, Copying, copy};
pub use embedded::{EmbeddedLog, EmbeddedOptions};
pub use id::LogId;
pub use kafka::{KafkaLog, KafkaOptions, Leadership};

/// Why the log did not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// Another writer acquired the log.
    #[error("epoch {own} is fenced: a writer with epoch {current} took over; stop this one")]
    Fenced {
        /// The epoch of the writer that was refused.
        own: u64,
        /// The epoch in force.
        current: u64,
    },
    /// Another process has the log open.
    #[error("{path} is in use by another process; stop it, or talk to it through its socket")]
    InUse {
        /// The log's directory.
        path: String,
    },
    /// The directory holds something else than a log of this version.
    #[error("{path} cannot be opened: {reason}")]
    Incompatible {
        /// The log's directory.
        path: String,
        /// What is wrong, and the way out.
        reason: String,
    },
    /// A stored commit is damaged or from a newer version.
    #[error("commit {position}: {source}")]
    Commit {
        /// Where.
        position: Position,
        /// What is wrong.
        source: CommitError,
    },
    /// A commit that should be there is not.
    #[error("commit {0} is missing or incomplete; restore the log from a backup")]
    Missing(Position),
    /// A commit does not fit; nothing of the append was taken.
    #[error(
        "a commit of {bytes} bytes is larger than this log takes ({most} bytes, 65,536 parts of part_bytes); nothing was appended: raise part_bytes, or append less at a time"
    )]
    TooLarge {
        /// Size of the commit.
        bytes: usize,
        /// Size of the largest that fits.
        most: usize,
    },
    /// The disk refused: full, gone, read-only. Nothing was acknowledged.
    #[error("the log's storage failed: {0}; free space or repair the disk, then start again")]
    Storage(String),
    /// Nobody may append to the log any more, or not yet.
    #[error("the log takes no appends: {0}")]
    Sealed(String),
    /// The brokers do not answer. Nothing is lost: what was not acknowledged is not in the log, or is
    /// in it once.
    #[error("the log does not answer: {0}; it goes on by itself when the brokers are back")]
    Unavailable(String),
    /// The topic holds what the log's writers did not write, or lacks what they did.
    #[error("{place}: {reason}")]
    Broken {
        /// Topic, partition and offset.
        place: String,
        /// What is wrong, and the way out.
        reason: String,
    },
    /// The log was closed while the append waited.
    #[error("the log is closed")]
    Closed,
}

impl LogError {
    /// Whether the same request may do better in a while.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

/// A commit as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredCommit {
    /// Its place.
    pub position: Position,
    /// Its frame; see [`cairn_domain::commit`].
    pub bytes: Vec<u8>,
}

impl StoredCommit {
    /// Reads it.
    ///
    /// # Errors
    /// [`LogError::Commit`] when it is damaged or from a newer version.
    pub fn decode(&self) -> Result<Commit, LogError> {
        Commit::decode(self.position, &self.bytes).map_err(|source| LogError::Commit {
            position: self.position,
            source,
        })
    }
}

/// An epoch record: who may append from here on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// One more than the epoch before it.
    pub epoch: u64,
    /// The writer's name for itself.
    pub writer: String,
    /// Where commands for the writer go, if anywhere.
    pub address: Option<String>,
    /// The last position before the epoch.
    pub after: Position,
    /// When it began, milliseconds since 1970.
    pub recorded_time: u64,
    /// Tells two writers apart that took the same epoch: the first in the log has it.
    #[serde(default)]
    pub instance: String,
    /// Why nobody else may acquire the log; none where everybody may.
    #[serde(default)]
    pub closed: Option<String>,
}

/// What a writer says of itself when it takes the log over.
#[derive(Debug, Clone, Default)]
pub struct Claim {
    /// Its name for itself.
    pub writer: String,
    /// Where commands for it go, if anywhere.
    pub address: Option<String>,
    /// Why nobody else may acquire the log from now on; none lets everybody.
    pub closed: Option<String>,
    /// Whether to take over a log that is closed.
    pub reopens: bool,
    /// Its epoch is higher than this one, so that epochs of a copy go on from those of its original.
    pub above: u64,
}

impl Claim {
    /// The record that puts it in force, behind the epoch that is.
    fn record(
        &self,
        current: Option<&EpochRecord>,
        after: Position,
    ) -> Result<EpochRecord, LogError> {
        let closed = current.and_then(|record| record.closed.clone());
        if let Some(reason) = closed.filter(|_| !self.reopens) {
            return Err(LogError::Sealed(reason));
        }
        let above = current.map_or(0, |record| record.epoch).max(self.above);
        Ok(EpochRecord {
            epoch: above + 1,
            writer: self.writer.clone(),
            address: self.address.clone(),
            after,
            recorded_time: now_millis(),
            instance: const_hex::encode(rand::random::<[u8; 16]>()),
            closed: self.closed.clone(),
        })
    }
}

/// What is known of a log at a glance.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LogStat {
    /// Which log it is.
    pub id: LogId,
    /// Which implementation.
    pub kind: String,
    /// The last durable position.
    pub head: Position,
    /// The epoch in force; none before the first writer.
    pub epoch: Option<EpochRecord>,
    /// How many epochs there were.
    pub epochs: u64,
    /// Bytes on disk; of a log that other machines hold, those of what this one keeps about it.
    pub bytes: u64,
    /// Records of the log that this process has not read yet; none for a log in its own directory.
    pub lag: u64,
    /// Where it is: a directory, or topic and partition.
    pub place: String,
    /// Records of fenced writers that this process passed over since it started.
    pub passed_over: u64,
    /// What is kept, and for how long.
    pub retention: String,
    /// Whether it can be appended to and read; if not, why.
    pub health: String,
}

/// Whether a log can be read on and appended to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// It can.
    Well {
        /// Records that this process has not read yet.
        lag: u64,
    },
    /// Something outside does not answer; it goes on by itself.
    Waiting {
        /// Records that this process has not read yet, as far as it knows.
        lag: u64,
        /// What it waits for.
        reason: String,
    },
    /// Only a person can help; the reason says how.
    Broken(String),
}

/// What a verification found. Any problem is an entry; an empty list is a clean log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogReport {
    /// Commits read.
    pub commits: u64,
    /// Events decoded.
    pub events: u64,
    /// What is wrong, with its position.
    pub problems: Vec<String>,
}

/// One total order of commits. Every implementation passes the same conformance suite.
#[async_trait]
pub trait Log: Send + Sync {
    /// Which log it is: the same after every restart, and in every copy.
    fn id(&self) -> LogId;

    /// Whether this process alone holds it, so that its head is where it ends.
    fn is_local(&self) -> bool;

    /// Takes the log over: appends an epoch record and fences every older writer. The head is then
    /// where the log ends.
    async fn take_over(&self, claim: Claim) -> Result<Arc<dyn Writer>, LogError>;

    /// Takes over a log that is open to everybody, and leaves it so.
    async fn acquire(
        &self,
        writer: &str,
        address: Option<&str>,
    ) -> Result<Arc<dyn Writer>, LogError> {
        let claim = Claim {
            writer: writer.into(),
            address: address.map(Into::into),
            ..Claim::default()
        };
        self.take_over(claim).await
    }

    /// The epoch in force, as far as the head tells: none before the first writer.
    fn epoch(&self) -> watch::Receiver<Option<EpochRecord>>;

    /// Returns once the head is at least where the log ended when this was called.
    async fn caught_up(&self) -> Result<(), LogError>;

    /// Whether it can be read on and appended to.
    fn condition(&self) -> Condition;

    /// Where a commit is stored, for messages about it, if that says more than its position.
    async fn locate(&self, position: Position) -> Option<String>;

    /// The last position that readers may see. It moves only when a commit is durable and every
    /// position below it is readable.
    fn head(&self) -> watch::Receiver<Position>;

    /// Commits from `from` on, in order and without gaps: as many as fit `max_bytes`, at least one
    /// unless `from` is behind the head.
    async fn read(&self, from: Position, max_bytes: usize) -> Result<Vec<StoredCommit>, LogError>;

    /// What is known at a glance.
    async fn stat(&self) -> Result<LogStat, LogError>;

    /// Reads every stored byte: checksums, gaps, parts, frames and bodies. `progress` is called
    /// with each position as it passes.
    async fn verify(&self, progress: &(dyn Fn(Position) + Sync)) -> Result<LogReport, LogError>;
}

/// The right to append, for as long as no other writer acquires the log.
#[async_trait]
pub trait Writer: Send + Sync {
    /// The epoch of this writer.
    fn epoch(&self) -> u64;

    /// Appends commits, in order, one behind the other, all or none. Returns the position of the
    /// first once all of them are durable.
    ///
    /// Dropping the future does not take the commits back: they may or may not be appended.
    async fn append(&self, commits: Vec<NewCommit>) -> Result<Position, LogError>;

    /// Returns once this writer cannot append any more, with the reason: another one took over, or it
    /// failed. Whoever has it may acquire the log again.
    async fn lost(&self) -> LogError;
}

/// Waits until the head reaches `position`, at most `patience`. Says whether it did.
pub async fn wait_for(
    head: &mut watch::Receiver<Position>,
    position: Position,
    patience: Duration,
) -> bool {
    let reached = head.wait_for(|head| *head >= position);
    matches!(tokio::time::timeout(patience, reached).await, Ok(Ok(_)))
}

/// Returns once an epoch above `own` is in force, or the log is closed.
async fn fenced(mut epochs: watch::Receiver<Option<EpochRecord>>, own: u64) -> LogError {
    let above = |record: &Option<EpochRecord>| record.as_ref().is_some_and(|r| r.epoch > own);
    match epochs.wait_for(above).await {
        Ok(record) => LogError::Fenced {
            own,
            current: record.as_ref().map_or(0, |record| record.epoch),
        },
        Err(_) => LogError::Closed,
    }
}
