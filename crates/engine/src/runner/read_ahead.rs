//! Reading ahead of a fold, so that it does not wait for the log.

use std::sync::Arc;

use cairn_domain::{Commit, Position};
use tokio::sync::mpsc;

use super::{LOG_PAUSE, RunnerError};
use crate::log::{Log, LogError};

/// Commits that are read and decoded ahead of a fold.
pub(crate) struct ReadAhead {
    commits: mpsc::Receiver<Result<Vec<Commit>, RunnerError>>,
    task: tokio::task::JoinHandle<()>,
}

impl ReadAhead {
    /// Reads from a position up to `until`, or for ever, in batches of about so many bytes. It ends
    /// with the first error.
    pub(crate) fn new(
        log: Arc<dyn Log>,
        from: Position,
        until: Option<Position>,
        batch_bytes: usize,
    ) -> Self {
        let (sender, commits) = mpsc::channel(2);
        let task = tokio::spawn(read_into(log, from, until, batch_bytes, sender));
        Self { commits, task }
    }

    /// The next batch.
    pub(crate) async fn next(&mut self) -> Result<Vec<Commit>, RunnerError> {
        self.commits
            .recv()
            .await
            .unwrap_or(Err(RunnerError::Stopped))
    }

    /// Waits until nothing reads any more, so that the log can be closed.
    pub(crate) async fn stop(self) {
        drop(self.commits);
        // It returns nothing and panics nowhere; it is only waited for.
        let _ended = self.task.await;
    }
}

async fn read_into(
    log: Arc<dyn Log>,
    from: Position,
    until: Option<Position>,
    batch_bytes: usize,
    commits: mpsc::Sender<Result<Vec<Commit>, RunnerError>>,
) {
    let mut head = log.head();
    let mut next = from;
    while until.is_none_or(|until| next <= until) {
        tokio::select! {
            () = commits.closed() => return,
            reached = head.wait_for(|head| *head >= next) => if reached.is_err() { return },
        }
        let batch = match read_batch(log.as_ref(), next, until, batch_bytes).await {
            // The log says in its own health what it waits for.
            Err(RunnerError::Log(error)) if error.is_passing() => {
                tracing::warn!(%error, "the fold waits for the log");
                tokio::time::sleep(LOG_PAUSE).await;
                continue;
            }
            batch => batch,
        };
        let failed = batch.is_err();
        if let Some(last) = batch.iter().flatten().last() {
            next = last.position.next();
        }
        if commits.send(batch).await.is_err() || failed {
            return;
        }
    }
}

async fn read_batch(
    log: &dyn Log,
    from: Position,
    until: Option<Position>,
    batch_bytes: usize,
) -> Result<Vec<Commit>, RunnerError> {
    let mut stored = log.read(from, batch_bytes).await?;
    stored.retain(|commit| until.is_none_or(|until| commit.position <= until));
    let decoded = tokio::task::spawn_blocking(move || {
        stored
            .iter()
            .map(|commit| commit.decode())
            .collect::<Result<Vec<_>, LogError>>()
    });
    match decoded.await.map_err(|_| RunnerError::Stopped)? {
        Ok(commits) => Ok(commits),
        Err(error) => Err(place(log, error).await),
    }
}

/// Says where a commit that cannot be read is stored.
async fn place(log: &dyn Log, error: LogError) -> RunnerError {
    match error {
        LogError::Commit { position, source } => RunnerError::Commit {
            position,
            reason: match log.locate(position).await {
                Some(place) => format!("{source} ({place})"),
                None => source.to_string(),
            },
        },
        error => error.into(),
    }
}
