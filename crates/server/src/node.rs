//! An open data directory: log, store, writer and runner, as far as they are needed.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, bail};
use cairn_engine::{
    health::{Health, Phase, Progress},
    log::{EmbeddedLog, EmbeddedOptions, Log, Writer},
    runner::{History, Runner, RunnerHandle, RunnerOptions},
    sources::{Offers, SourceContext},
    store::{Store, StoreOptions},
};
use tokio::sync::{RwLock, RwLockReadGuard, watch};

use crate::{
    config::Data,
    exit::{Exit, Failure},
};

/// What has to be open. Each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Needs {
    /// Only the directory.
    Nothing,
    /// The log, to be read.
    Log,
    /// The store, too.
    Store,
    /// Everything: the right to append, and a runner that folds what is appended.
    Writer,
}

/// See the module.
pub(crate) struct Node {
    /// How components are.
    pub(crate) health: Arc<Health>,
    /// Brings mended blocks to running sources.
    pub(crate) offers: Offers,
    data_dir: PathBuf,
    log: Option<Arc<dyn Log>>,
    store: Option<Arc<Store>>,
    writer: Option<Arc<dyn Writer>>,
    runner: RwLock<Option<RunnerHandle>>,
    written_chains: Arc<Mutex<BTreeSet<String>>>,
    stopping: watch::Sender<bool>,
}

/// The right to append to a chain: a chain has one writer at a time. Dropping it gives it back.
pub(crate) struct ChainClaim {
    chain: String,
    written_chains: Arc<Mutex<BTreeSet<String>>>,
}

impl Drop for ChainClaim {
    fn drop(&mut self) {
        if let Ok(mut chains) = self.written_chains.lock() {
            chains.remove(&self.chain);
        }
    }
}

/// The socket of a server in a data directory.
pub(crate) fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join("cairn.sock")
}

impl Node {
    /// Opens a data directory; one that is to be written is made if it is not there.
    pub(crate) async fn open(data: &Data, needs: Needs) -> anyhow::Result<Self> {
        let node = Self {
            health: Arc::default(),
            offers: Offers::default(),
            data_dir: data.dir.clone(),
            log: None,
            store: None,
            writer: None,
            runner: RwLock::default(),
            written_chains: Arc::default(),
            stopping: watch::Sender::new(false),
        };
        match needs {
            Needs::Nothing => {}
            Needs::Writer => create_directory(&data.dir)?,
            Needs::Log | Needs::Store => require_log(&data.dir)?,
        }
        let opened = node.fill(data, needs).await;
        opened.with_context(|| format!("cannot open the data directory {}", data.dir.display()))
    }

    async fn fill(mut self, data: &Data, needs: Needs) -> anyhow::Result<Self> {
        if needs >= Needs::Log {
            let path = data.dir.join("log");
            let open = move || EmbeddedLog::open(&path, EmbeddedOptions::default());
            self.log = Some(Arc::new(tokio::task::spawn_blocking(open).await??));
        }
        if needs >= Needs::Store {
            let (path, options) = (data.dir.join("store"), store_options(data));
            let open = move || Store::open(&path, options);
            self.store = Some(tokio::task::spawn_blocking(open).await??);
        }
        if needs >= Needs::Writer {
            let (log, store) = (Arc::clone(self.log()?), Arc::clone(self.store()?));
            let socket = socket_path(&data.dir);
            let writer = format!(
                "cairn {} (process {})",
                env!("CARGO_PKG_VERSION"),
                std::process::id()
            );
            self.writer = Some(log.acquire(&writer, socket.to_str()).await?);
            let runner = Runner::spawn(log, store, &self.health, runner_options(data))?;
            self.runner = RwLock::new(Some(runner));
        }
        Ok(self)
    }

    /// The log.
    pub(crate) fn log(&self) -> anyhow::Result<&Arc<dyn Log>> {
        self.log.as_ref().context("the log is not open")
    }

    /// The store.
    pub(crate) fn store(&self) -> anyhow::Result<&Arc<Store>> {
        self.store.as_ref().context("the store is not open")
    }

    /// The right to append.
    pub(crate) fn writer(&self) -> anyhow::Result<&Arc<dyn Writer>> {
        self.writer
            .as_ref()
            .context("the log is not open for appending")
    }

    /// The runner, while one runs.
    pub(crate) async fn runner(&self) -> Option<RwLockReadGuard<'_, RunnerHandle>> {
        RwLockReadGuard::try_map(self.runner.read().await, Option::as_ref).ok()
    }

    /// What sources work with.
    pub(crate) fn source_context(&self) -> anyhow::Result<SourceContext> {
        Ok(SourceContext {
            log: Arc::clone(self.log()?),
            writer: Arc::clone(self.writer()?),
            store: Arc::clone(self.store()?),
            health: Arc::clone(&self.health),
            offers: self.offers.clone(),
            data_dir: self.data_dir.clone(),
        })
    }

    /// The right to append to a chain: none while somebody else has it.
    pub(crate) fn claim_chain(&self, chain: &str) -> Option<ChainClaim> {
        let mut chains = self.written_chains.lock().ok()?;
        let written_chains = Arc::clone(&self.written_chains);
        chains.insert(chain.to_owned()).then(|| ChainClaim {
            chain: chain.to_owned(),
            written_chains,
        })
    }

    /// Where everything lives.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Tells everything that would go on for ever to stop.
    pub(crate) fn begin_stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Turns true when it is time to stop.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// Fails when the fold has stopped: what is appended would never be seen.
    pub(crate) fn check_fold(&self) -> anyhow::Result<()> {
        let components = self.health.snapshot();
        match components.get("fold") {
            Some((
                Progress {
                    phase: Phase::Failed,
                    detail,
                    ..
                },
                _,
            )) => {
                bail!(
                    "the fold has stopped: {}",
                    detail.as_deref().unwrap_or("see the log")
                )
            }
            _ => Ok(()),
        }
    }

    /// Stops folding and writes everything to files.
    pub(crate) async fn close(&self) -> anyhow::Result<()> {
        let runner = self.runner.write().await.take();
        let stopped = match runner {
            Some(runner) => runner.stop().await.map_err(anyhow::Error::from),
            None => Ok(()),
        };
        if let (Some(store), Some(_)) = (&self.store, &self.writer) {
            let store = Arc::clone(store);
            tokio::task::spawn_blocking(move || store.flush()).await??;
        }
        stopped
    }
}

fn store_options(data: &Data) -> StoreOptions {
    StoreOptions {
        cache_bytes: data.cache_bytes,
        write_buffer_bytes: data.write_buffer_bytes,
        bulk_bytes: data.rebuild_bytes,
        ..StoreOptions::default()
    }
}

fn runner_options(data: &Data) -> RunnerOptions {
    let history = data.history.map_or(History::All, History::Span);
    RunnerOptions {
        history,
        ..RunnerOptions::default()
    }
}

fn create_directory(dir: &Path) -> anyhow::Result<()> {
    let way_out = "make it writable, or name another with --data-dir";
    let failed = || {
        format!(
            "cannot make the data directory {}: {way_out}",
            dir.display()
        )
    };
    std::fs::create_dir_all(dir).with_context(failed)
}

/// A command that only looks makes nothing.
fn require_log(dir: &Path) -> anyhow::Result<()> {
    if dir.join("log").is_dir() {
        return Ok(());
    }
    let message = format!(
        "there is no log in {}: name the data directory with --data-dir, or fill it with `cairn serve` or `cairn ingest`",
        dir.display()
    );
    Err(Failure::new(Exit::Failed, message).into())
}
