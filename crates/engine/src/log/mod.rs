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

mod embedded;
mod id;

pub use embedded::{EmbeddedLog, EmbeddedOptions};
pub use id::LogId;

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
    /// The log was closed while the append waited.
    #[error("the log is closed")]
    Closed,
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
    /// Bytes on disk.
    pub bytes: u64,
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

    /// Takes the log over: appends an epoch record and fences every older writer.
    async fn acquire(
        &self,
        writer: &str,
        address: Option<&str>,
    ) -> Result<Arc<dyn Writer>, LogError>;

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
