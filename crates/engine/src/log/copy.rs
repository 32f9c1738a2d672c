//! Moves a log into another implementation: every commit to the last byte, under the same position
//! and the same id, so that stores and cursors stay valid.
//!
//! The target is closed to everybody else first, and opens when the copy is complete and was compared
//! with the source. Then the source is sealed, so that nothing is appended behind the copy. Whatever
//! stops a copy in between, at no time may two logs of one id be appended to.

use std::sync::Arc;

use cairn_domain::{Position, commit::NewCommit};
use serde::{Deserialize, Serialize};

use super::{Claim, Condition, Log, LogError, Writer};

/// So many bytes are read and appended at a time.
const BATCH_BYTES: usize = 4 << 20;

/// What a copy is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copying {
    /// Reading commits and appending them.
    Copying,
    /// Reading both logs and comparing them.
    Comparing,
}

/// What a copy did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyReport {
    /// Commits that were copied now.
    pub copied: u64,
    /// Commits that an earlier, interrupted copy had left.
    pub found: u64,
    /// The last position of both.
    pub head: Position,
    /// BLAKE3 of all stored commits in order, each with its length before it: the same for both.
    pub digest: String,
}

/// Why a copy failed. It may be started again and goes on where it was.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A log cannot be read or appended to.
    #[error(transparent)]
    Log(#[from] LogError),
    /// One of them cannot be read; nothing was sealed.
    #[error("nothing was copied or sealed: {0}")]
    Unfit(String),
    /// They are not of the same log.
    #[error(
        "the target holds log {target}, the source is log {source_log}: copy into an empty target"
    )]
    OtherLog {
        /// The id of the target.
        target: String,
        /// The id of the source.
        source_log: String,
    },
    /// The target has what the source has not.
    #[error(
        "the target ends at position {target}, behind the source, which ends at {source_head}: it was written to since; copy the other way round"
    )]
    Ahead {
        /// Where the target ends.
        target: Position,
        /// Where the source ends.
        source_head: Position,
    },
    /// A commit differs.
    #[error("commit {0} of the target differs from that of the source: copy into an empty target")]
    Differs(Position),
}

/// Copies all of a log into another one that was opened as its copy. `to` names the target for those
/// who come to the sealed source; `writer` names who copies.
///
/// # Errors
/// [`CopyError`]. From the first copied commit on the source is sealed even so, and the target closed:
/// start again, or copy it back.
pub async fn copy(
    source: &dyn Log,
    target: &dyn Log,
    writer: &str,
    to: &str,
    progress: &(dyn Fn(Copying, Position, Position) + Send + Sync),
) -> Result<CopyReport, CopyError> {
    if source.id() != target.id() {
        return Err(CopyError::OtherLog {
            target: target.id().to_string(),
            source_log: source.id().to_string(),
        });
    }
    target.caught_up().await?;
    source.caught_up().await?;
    for log in [source, target] {
        if let Condition::Broken(reason) = log.condition() {
            return Err(CopyError::Unfit(reason));
        }
    }
    check_ends(source, target)?;
    let copier = close(source, target, writer).await?;
    let sealed = format!("it was copied to {to}: use that one, or copy it back");
    let seal = source.take_over(claim(writer, Some(sealed), 0)).await?;
    let head = *source.head().borrow();
    let found = *target.head().borrow();
    fill(source, copier.as_ref(), (found, head), progress).await?;
    let digest = compare(source, target, head, progress).await?;
    // From here on it is open to everybody.
    target.take_over(claim(writer, None, seal.epoch())).await?;
    Ok(CopyReport {
        copied: head.0 - found.0,
        found: found.0,
        head,
        digest,
    })
}

/// Closes the target to everybody else, unless it turns out to be ahead of the source: then it is left as
/// it was found.
async fn close(
    source: &dyn Log,
    target: &dyn Log,
    writer: &str,
) -> Result<Arc<dyn Writer>, CopyError> {
    let epoch = |log: &dyn Log| log.epoch().borrow().clone();
    let above = epoch(source).map_or(0, |record| record.epoch);
    let found = epoch(target).and_then(|record| record.closed);
    let unfinished = "a copy into it is not complete: finish it with `cairn log copy`";
    let claimed = claim(writer, Some(unfinished.into()), above);
    let copier = target.take_over(claimed).await?;
    // Only now is it certain where it ends.
    if let Err(ahead) = check_ends(source, target) {
        target.take_over(claim(writer, found, above)).await?;
        return Err(ahead);
    }
    Ok(copier)
}

fn claim(writer: &str, closed: Option<String>, above: u64) -> Claim {
    Claim {
        writer: writer.into(),
        address: None,
        closed,
        reopens: true,
        above,
    }
}

fn check_ends(source: &dyn Log, target: &dyn Log) -> Result<(), CopyError> {
    let (target, source_head) = (*target.head().borrow(), *source.head().borrow());
    match target > source_head {
        true => Err(CopyError::Ahead {
            target,
            source_head,
        }),
        false => Ok(()),
    }
}

async fn fill(
    source: &dyn Log,
    copier: &dyn Writer,
    (found, head): (Position, Position),
    progress: &(dyn Fn(Copying, Position, Position) + Send + Sync),
) -> Result<(), CopyError> {
    let mut next = found.next();
    while next <= head {
        let commits = source.read(next, BATCH_BYTES).await?;
        let copies: Vec<_> = commits
            .into_iter()
            .take_while(|commit| commit.position <= head)
            .map(|commit| NewCommit::copy_of(commit.bytes))
            .collect();
        let count = copies.len() as u64;
        let first = copier.append(copies).await?;
        if first != next || count == 0 {
            return Err(CopyError::Differs(next));
        }
        next = Position(next.0 + count);
        progress(Copying::Copying, next.previous(), head);
    }
    Ok(())
}

/// Reads both from the first commit to the last and compares every byte.
async fn compare(
    source: &dyn Log,
    target: &dyn Log,
    head: Position,
    progress: &(dyn Fn(Copying, Position, Position) + Send + Sync),
) -> Result<String, CopyError> {
    let mut hasher = blake3::Hasher::new();
    let mut next = Position(1);
    while next <= head {
        let ours = source.read(next, BATCH_BYTES).await?;
        let mut theirs = Vec::new();
        while theirs.len() < ours.len() {
            let from = Position(next.0 + theirs.len() as u64);
            let more = target.read(from, BATCH_BYTES).await?;
            if more.is_empty() {
                return Err(LogError::Missing(from).into());
            }
            theirs.extend(more);
        }
        for (own, copied) in ours.iter().zip(&theirs) {
            if own != copied {
                return Err(CopyError::Differs(own.position));
            }
            hasher.update(&(own.bytes.len() as u64).to_le_bytes());
            hasher.update(&own.bytes);
        }
        next = Position(next.0 + ours.len() as u64);
        progress(Copying::Comparing, next.previous(), head);
    }
    Ok(hasher.finalize().to_hex().to_string())
}
