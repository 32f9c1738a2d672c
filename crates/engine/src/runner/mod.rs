//! The runner folds the log into the store: it reads each commit once, applies all live
//! projections and writes one batch, so that they are all at the same position.

use std::{sync::Arc, time::Duration};

use cairn_domain::Position;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    health::{Health, Phase, Reporter},
    log::{Log, LogError},
    store::{Store, StoreError},
};

mod fold;
pub(crate) mod hot;
mod live;
mod past;
mod read_ahead;
mod rebuild;
mod trim;
mod verify;

pub(crate) use read_ahead::ReadAhead;
pub use rebuild::{Rebuilt, rebuild_offline};
pub use verify::{TableReport, VerifyReport, verify};

/// Why folding stopped.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RunnerError {
    /// The log cannot be read on.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A commit cannot be folded by any projection.
    #[error("commit {position} cannot be folded: {reason}; see `cairn log cat --from {position}`")]
    Commit {
        /// Where.
        position: Position,
        /// What is wrong.
        reason: String,
    },
    /// A projection cannot be folded.
    #[error("projection {name} stopped at commit {position}: {reason}")]
    Projection {
        /// Which.
        name: String,
        /// Where.
        position: Position,
        /// What is wrong.
        reason: String,
    },
    /// A name that is no projection.
    #[error("there is no projection {0}; there are: {1}")]
    Unknown(String, String),
    /// A bug: something was not as the code holds it must be.
    #[error(
        "the fold panicked; the log on stderr says where. Start again; if it repeats, report it"
    )]
    Panicked,
    /// The process is to end before a rebuild or a verification has.
    #[error(
        "it was given up because the server stops; the live rows stay as they were. Start it again when the server is back"
    )]
    Cancelled,
    /// The runner is not running.
    #[error("the fold has stopped")]
    Stopped,
}

impl From<std::io::Error> for RunnerError {
    fn from(error: std::io::Error) -> Self {
        Self::Store(error.into())
    }
}

/// How much of the past stays readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// All of it.
    All,
    /// The span that ends at the newest block of all chains, and in any case what a revert of a block
    /// that is not final needs.
    Span(Duration),
}

/// How the runner works.
#[derive(Debug, Clone)]
pub struct RunnerOptions {
    /// Commits are folded in batches of about this many bytes of log when there are many.
    pub batch_bytes: usize,
    /// How much of the past stays readable.
    pub history: History,
    /// How often old versions are trimmed at most.
    pub trim_interval: Duration,
}

impl Default for RunnerOptions {
    fn default() -> Self {
        Self {
            batch_bytes: 4 << 20,
            history: History::All,
            trim_interval: Duration::from_secs(10),
        }
    }
}

/// How long a fold waits before it asks a log again that did not answer.
const LOG_PAUSE: Duration = Duration::from_millis(500);

/// A request to a running runner.
pub(crate) enum Request {
    /// Stand still between two commits: say where, and go on when told.
    Hold {
        at: oneshot::Sender<Position>,
        release: oneshot::Receiver<()>,
    },
    Stop,
}

/// Starts runners.
pub struct Runner;

/// A running runner.
pub struct RunnerHandle {
    requests: mpsc::UnboundedSender<Request>,
    /// None once it was waited for.
    thread: Option<std::thread::JoinHandle<Result<(), RunnerError>>>,
    log: Arc<dyn Log>,
    store: Arc<Store>,
    health: Arc<Health>,
    /// Two rebuilds would fill the same generation.
    rebuilding: tokio::sync::Mutex<()>,
}

impl Runner {
    /// Starts folding on a thread of its own, from where the store stands. Must be called inside a
    /// Tokio runtime.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read or no thread can be started.
    pub fn spawn(
        log: Arc<dyn Log>,
        store: Arc<Store>,
        health: &Arc<Health>,
        options: RunnerOptions,
    ) -> Result<RunnerHandle, RunnerError> {
        let (requests, inbox) = mpsc::unbounded_channel();
        store.bind(log.id())?;
        if log.is_local() {
            behind_the_log(&store, &log)?;
        }
        let reporter = health.reporter("fold");
        tokio::spawn(show_target(log.head(), reporter.clone()));
        let fold = live::Live::new(
            Arc::clone(&log),
            Arc::clone(&store),
            options,
            reporter.clone(),
        )?;
        let runtime = tokio::runtime::Handle::current();
        let rebuilding = tokio::sync::Mutex::default();
        let thread = std::thread::Builder::new()
            .name("cairn-fold".into())
            .spawn(move || run(fold, inbox, &reporter, &runtime))
            .map_err(|error| StoreError::Storage(error.to_string()))?;
        Ok(RunnerHandle {
            requests,
            thread: Some(thread),
            log,
            store,
            health: Arc::clone(health),
            rebuilding,
        })
    }
}

/// A store that is ahead of its log was folded from another one. A log that other machines hold is
/// read to its end first.
async fn behind_the_end(
    store: &Store,
    log: &Arc<dyn Log>,
    reporter: &Reporter,
) -> Result<(), RunnerError> {
    while store.position().borrow().0 > log.head().borrow().0 {
        reporter.explain(Phase::Waiting, "reading the log up to where the store is");
        match log.caught_up().await {
            Ok(()) => return Ok(behind_the_log(store, log)?),
            Err(error) if error.is_passing() => tokio::time::sleep(LOG_PAUSE).await,
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn behind_the_log(store: &Store, log: &Arc<dyn Log>) -> Result<(), StoreError> {
    let (position, head) = (*store.position().borrow(), *log.head().borrow());
    if position <= head {
        return Ok(());
    }
    let reason = format!(
        "it has folded up to position {position}, but the log ends at {head}: it is of another log, or the log was restored from an older copy; delete this directory, it comes back by replay"
    );
    Err(StoreError::Incompatible {
        path: store.path().display().to_string(),
        reason,
    })
}

/// Shows how far the fold could be, also while it stands still.
async fn show_target(mut head: watch::Receiver<Position>, reporter: Reporter) {
    while head.changed().await.is_ok() {
        let target = *head.borrow_and_update();
        reporter.target(target.0);
    }
}

fn run(
    fold: live::Live,
    inbox: mpsc::UnboundedReceiver<Request>,
    reporter: &Reporter,
    runtime: &tokio::runtime::Handle,
) -> Result<(), RunnerError> {
    let folding = std::panic::AssertUnwindSafe(|| runtime.block_on(fold.run(inbox)));
    let result = std::panic::catch_unwind(folding).unwrap_or(Err(RunnerError::Panicked));
    match &result {
        Ok(()) => reporter.phase(Phase::Finished),
        Err(error) => {
            tracing::error!(%error, "the fold stopped");
            reporter.explain(Phase::Failed, error.to_string());
        }
    }
    result
}

impl RunnerHandle {
    /// Stops folding between two batches.
    ///
    /// # Errors
    /// Why folding had stopped before, if it had.
    pub async fn stop(mut self) -> Result<(), RunnerError> {
        // A runner that is gone already has its reason in the thread's result.
        let _gone = self.requests.send(Request::Stop);
        let thread = self.thread.take().ok_or(RunnerError::Stopped)?;
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        joined
            .map_err(|_| RunnerError::Stopped)?
            .map_err(|_| RunnerError::Stopped)?
    }

    /// Stands still between two commits while `work` runs at that position.
    pub(crate) async fn hold<T>(
        &self,
        work: impl AsyncFnOnce(Position) -> Result<T, RunnerError>,
    ) -> Result<T, RunnerError> {
        let (at, reached) = oneshot::channel();
        let (release, released) = oneshot::channel();
        let request = Request::Hold {
            at,
            release: released,
        };
        self.requests
            .send(request)
            .map_err(|_| RunnerError::Stopped)?;
        let position = reached.await.map_err(|_| RunnerError::Stopped)?;
        let result = work(position).await;
        // A runner that stopped meanwhile needs no release.
        let _gone = release.send(());
        result
    }

    /// Rebuilds projections by replay beside the live ones and swaps them in when they have caught
    /// up: readers never see half a table. No names means all. It gives up between two commits when
    /// `stop` turns true.
    ///
    /// # Errors
    /// [`RunnerError`]; the live ones then stay as they are, and what was rebuilt goes when the store
    /// is next opened.
    pub async fn rebuild(
        &self,
        projections: Vec<String>,
        progress: impl Fn(Position, Position) + Send + Sync + 'static,
        stop: watch::Receiver<bool>,
    ) -> Result<Rebuilt, RunnerError> {
        let _alone = self.rebuilding.lock().await;
        let reporter = self.health.reporter("rebuild");
        reporter.phase(Phase::CatchingUp);
        let moved = |at: Position, target: Position| {
            reporter.at(at.0, target.0);
            progress(at, target);
        };
        let rebuilt = rebuild::rebuild_live(self, &projections, &moved, stop).await;
        match &rebuilt {
            Ok(_) => reporter.phase(Phase::Finished),
            // What can be read and what cannot is as before, and projections say it themselves.
            Err(error) => reporter.explain(Phase::Finished, format!("without result: {error}")),
        }
        rebuilt
    }
}

/// How long a handle that is dropped without `stop` waits for its thread.
const DROP_PATIENCE: Duration = Duration::from_secs(5);

impl Drop for RunnerHandle {
    /// A process that ends while a thread still closes its databases is aborted by RocksDB.
    fn drop(&mut self) {
        let Some(thread) = self.thread.take() else {
            return;
        };
        let _gone = self.requests.send(Request::Stop);
        let asked = std::time::Instant::now();
        while !thread.is_finished() && asked.elapsed() < DROP_PATIENCE {
            std::thread::sleep(Duration::from_millis(1));
        }
        if thread.is_finished() {
            // Its result was in the health already.
            let _result = thread.join();
        }
    }
}
