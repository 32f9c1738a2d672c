//! What the tests share: made-up chains, and a log with its store in a temporary directory.

use std::{path::PathBuf, sync::Arc, time::Duration};

use cairn_domain::{Position, commit::NewCommit};
use cairn_engine::{
    health::Health,
    log::{EmbeddedLog, EmbeddedOptions, Log, Writer},
    runner::{History, Runner, RunnerHandle, RunnerOptions},
    store::{Steps, Store, StoreOptions, TableDigest},
};
use tempfile::TempDir;
use tokio::sync::watch;

pub(crate) mod chain;
pub(crate) mod deployment;
pub(crate) mod disk;
pub(crate) mod http;
pub(crate) mod kafka;
pub(crate) mod matching;
pub(crate) mod objects;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod sources;

/// How many rounds a kill or fault test runs: all of them in `make soak`, a tenth in `make test`.
pub(crate) fn rounds(full: usize) -> usize {
    if std::env::var_os("CAIRN_SOAK").is_some() {
        full
    } else {
        full.div_ceil(10)
    }
}

/// A seed of its own for every run; `CAIRN_SEED` repeats one.
pub(crate) fn seed() -> u64 {
    let seed = std::env::var("CAIRN_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(rand::random);
    eprintln!("CAIRN_SEED={seed} repeats this run");
    seed
}

/// How a site works.
#[derive(Clone)]
pub(crate) struct SiteOptions {
    pub(crate) history: History,
    pub(crate) steps: Steps,
    /// Memory of rebuilds, in bytes.
    pub(crate) bulk_bytes: usize,
}

impl Default for SiteOptions {
    fn default() -> Self {
        Self {
            history: History::All,
            steps: Steps::default(),
            bulk_bytes: StoreOptions::default().bulk_bytes,
        }
    }
}

/// A directory with a log and a store.
pub(crate) struct Site {
    directory: Arc<TempDir>,
    options: SiteOptions,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) writer: Arc<dyn Writer>,
    pub(crate) store: Arc<Store>,
}

impl Site {
    pub(crate) async fn new() -> Self {
        Self::with(SiteOptions::default()).await
    }

    pub(crate) async fn with(options: SiteOptions) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self::open(Arc::new(directory), options).await
    }

    /// Opens what a directory holds, or makes it.
    pub(crate) async fn open(directory: Arc<TempDir>, options: SiteOptions) -> Self {
        // The fold is under test here, not the disk.
        let log_options = EmbeddedOptions {
            sync: false,
            ..EmbeddedOptions::default()
        };
        let log = EmbeddedLog::open(&directory.path().join("log"), log_options).expect("a log");
        let log: Arc<dyn Log> = Arc::new(log);
        let writer = log.acquire("test", None).await.expect("the writer");
        let store = open_store(directory.path().join("store"), &options);
        Self {
            directory,
            options,
            log,
            writer,
            store,
        }
    }

    /// Closes everything and opens it again.
    pub(crate) async fn reopen(self) -> Self {
        let Self {
            directory,
            options,
            log,
            writer,
            store,
        } = self;
        drop((log, writer, store));
        Self::open(directory, options).await
    }

    /// Appends commits, each on its own.
    pub(crate) async fn append(&self, commits: &[NewCommit]) -> Position {
        let first = self
            .writer
            .append(commits.to_vec())
            .await
            .expect("an append");
        Position(first.0 + commits.len() as u64 - 1)
    }

    pub(crate) fn run(&self, batch_bytes: usize) -> RunnerHandle {
        let options = RunnerOptions {
            batch_bytes,
            history: self.options.history,
            trim_interval: Duration::ZERO,
        };
        let (log, store) = (Arc::clone(&self.log), Arc::clone(&self.store));
        Runner::spawn(log, store, &Arc::new(Health::default()), options).expect("a runner")
    }

    /// Folds up to the log's head, in batches of about so many bytes.
    pub(crate) async fn fold(&self, batch_bytes: usize) {
        let runner = self.run(batch_bytes);
        let head = *self.log.head().borrow();
        let mut position = self.store.position();
        let folded =
            cairn_engine::log::wait_for(&mut position, head, Duration::from_secs(20)).await;
        runner.stop().await.expect("a fold without failure");
        assert!(folded, "the fold did not reach the head");
    }

    pub(crate) fn digests(&self) -> Vec<TableDigest> {
        self.store.digests_at(None).expect("digests")
    }
}

fn open_store(path: PathBuf, options: &SiteOptions) -> Arc<Store> {
    let options = StoreOptions {
        cache_bytes: 8 << 20,
        bulk_bytes: options.bulk_bytes,
        steps: options.steps.clone(),
        ..StoreOptions::default()
    };
    Store::open(&path, options).expect("a store")
}

/// For rebuilds that nobody stops.
pub(crate) fn never() -> watch::Receiver<bool> {
    watch::channel(false).1
}

/// A site that folded some commits afresh.
pub(crate) async fn fresh_fold(commits: &[NewCommit]) -> Site {
    let site = Site::new().await;
    if !commits.is_empty() {
        site.append(commits).await;
        site.fold(1 << 20).await;
    }
    site
}

/// Digests without what reorganisations leave behind on purpose.
pub(crate) fn without_orphans(mut digests: Vec<TableDigest>) -> Vec<TableDigest> {
    for digest in &mut digests {
        digest.orphans = None;
        digest.orphan_rows = 0;
    }
    digests
}
