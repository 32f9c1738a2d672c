//! Reads every record of the topic from the first one on, and decodes every commit.

use std::sync::Arc;

use cairn_domain::Position;
use tokio::sync::mpsc;

use super::{acceptor::Mark, reader::Pass, shared::Shared};
use crate::log::{LogError, LogReport, StoredCommit};

/// Commits that may wait to be decoded.
const AHEAD: usize = 256;

/// See the module.
pub(super) async fn verify(
    shared: &Arc<Shared>,
    progress: &(dyn Fn(Position) + Sync),
) -> Result<LogReport, LogError> {
    let head = *shared.head.borrow();
    let (sender, mut commits) = mpsc::channel(AHEAD);
    let own = Arc::clone(shared);
    tokio::task::spawn_blocking(move || read(&own, head, &sender));
    let mut report = LogReport::default();
    while let Some(commit) = commits.recv().await {
        match commit {
            Ok(commit) => take(&mut report, &commit, progress),
            // Nothing behind it can be read; what comes before it was.
            Err(error @ LogError::Broken { .. }) => report.problems.push(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    if let Some(broken) = shared.broken() {
        report.problems.push(broken.to_string());
    }
    if report.problems.is_empty() && report.commits != head.0 {
        report.problems.push(format!(
            "{} commits were read, but the head is {head}",
            report.commits
        ));
    }
    Ok(report)
}

fn take(report: &mut LogReport, commit: &StoredCommit, progress: &(dyn Fn(Position) + Sync)) {
    report.commits += 1;
    match commit.decode() {
        Ok(commit) => report.events += commit.events.len() as u64,
        Err(error) => report.problems.push(error.to_string()),
    }
    progress(commit.position);
}

fn read(shared: &Shared, head: Position, commits: &mpsc::Sender<Result<StoredCommit, LogError>>) {
    let mut pass = match Pass::new(shared, Mark::start()) {
        Ok(pass) => pass,
        Err(error) => {
            let _gone = commits.blocking_send(Err(error));
            return;
        }
    };
    let mut next = Position(1);
    while next <= head {
        let commit = pass.next();
        let ended = commit.is_err();
        next = next.next();
        if commits.blocking_send(commit).is_err() || ended {
            return;
        }
    }
}
