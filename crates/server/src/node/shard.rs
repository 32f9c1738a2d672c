//! One shard: a log, the store that is folded from it, and what moves between them.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use anyhow::{Context as _, bail};
use cairn_domain::Stream;
use cairn_engine::{
    health::{Health, Phase, Progress},
    log::{Log, Writer},
    runner::{History, Runner, RunnerHandle, RunnerOptions},
    sources::{Offers, SourceContext},
    store::{Store, StoreOptions},
};
use tokio::sync::{RwLock, RwLockReadGuard, watch};

use super::{Needs, open};
use crate::config::{Config, Data};

/// See the module.
pub(crate) struct Shard {
    /// Its name.
    pub(crate) name: String,
    /// How its components are.
    pub(crate) health: Arc<Health>,
    /// Brings mended blocks to running sources.
    pub(crate) offers: Offers,
    /// Where log and store are.
    pub(crate) dir: PathBuf,
    data_dir: PathBuf,
    log: Option<Arc<dyn Log>>,
    store: Option<Arc<Store>>,
    writer: watch::Sender<Option<Arc<dyn Writer>>>,
    runner: RwLock<Option<RunnerHandle>>,
    joined: watch::Sender<bool>,
    written_chains: WrittenChains,
    stopping: Arc<watch::Sender<bool>>,
}

/// The chains that something appends to just now, of all shards.
pub(super) type WrittenChains = Arc<Mutex<BTreeSet<String>>>;

/// The right to append to a chain: a chain has one writer at a time. Dropping it gives it back.
pub(crate) struct ChainClaim {
    chain: String,
    written_chains: WrittenChains,
}

impl Drop for ChainClaim {
    fn drop(&mut self) {
        if let Ok(mut chains) = self.written_chains.lock() {
            chains.remove(&self.chain);
        }
    }
}

impl Shard {
    /// The shard of that index, with nothing open.
    pub(super) fn new(
        config: &Config,
        index: usize,
        (offers, written_chains): (Offers, WrittenChains),
        stopping: Arc<watch::Sender<bool>>,
    ) -> Self {
        Self {
            name: config.log.shards[index].clone(),
            health: Arc::default(),
            offers,
            dir: open::shard_dir(config, index),
            data_dir: config.data.dir.clone(),
            log: None,
            store: None,
            writer: watch::Sender::new(None),
            runner: RwLock::default(),
            joined: watch::Sender::new(false),
            written_chains,
            stopping,
        }
    }

    /// Opens what is needed.
    pub(super) async fn fill(
        mut self,
        config: &Config,
        index: usize,
        needs: Needs,
    ) -> anyhow::Result<Self> {
        if needs >= Needs::Log {
            let making = needs >= Needs::Runner && config.server.roles.ingest;
            self.log = Some(open::open_log(config, index, making).await?);
        }
        if needs >= Needs::Store {
            let (path, options) = (self.dir.join("store"), store_options(&config.data));
            let open = move || Store::open(&path, options);
            self.store = Some(tokio::task::spawn_blocking(open).await??);
        }
        if needs >= Needs::Writer {
            let claim = open::claim(&config.data, None);
            let writer = self.log()?.take_over(claim).await?;
            self.lead(Some(writer));
        }
        if needs >= Needs::Runner {
            let (log, store) = (Arc::clone(self.log()?), Arc::clone(self.store()?));
            let runner = Runner::spawn(log, store, &self.health, runner_options(&config.data))?;
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

    /// Takes the right to append, or gives it up.
    pub(crate) fn lead(&self, writer: Option<Arc<dyn Writer>>) {
        self.writer.send_replace(writer);
    }

    /// The right to append, if this process has it.
    pub(crate) fn writer(&self) -> Option<Arc<dyn Writer>> {
        self.writer.borrow().clone()
    }

    /// Whether another process writes the log, or may.
    pub(crate) fn is_written_elsewhere(&self) -> bool {
        self.writer().is_none() && self.log.as_ref().is_some_and(|log| !log.is_local())
    }

    /// The runner, while one runs.
    pub(crate) async fn runner(&self) -> Option<RwLockReadGuard<'_, RunnerHandle>> {
        RwLockReadGuard::try_map(self.runner.read().await, Option::as_ref).ok()
    }

    /// What sources work with.
    pub(crate) fn source_context(&self) -> anyhow::Result<SourceContext> {
        let writer = self.writer();
        Ok(SourceContext {
            log: Arc::clone(self.log()?),
            writer: writer.context("this process does not write the log")?,
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

    /// Whether the store has a block of a chain.
    pub(super) fn has_chain(&self, chain: &str) -> bool {
        let Ok(stream) = Stream::chain(chain) else {
            return false;
        };
        let view = self.store.as_ref().and_then(|store| store.view(None).ok());
        view.is_some_and(|view| matches!(view.ends(&stream), Ok(Some(_))))
    }

    /// Says that all that there was when the node came is folded.
    pub(crate) fn set_joined(&self) {
        self.joined.send_replace(true);
    }

    /// Whether that was said.
    pub(crate) fn has_joined(&self) -> bool {
        *self.joined.borrow()
    }

    /// Waits until that was said.
    pub(crate) async fn joined(&self) {
        let mut joined = self.joined.subscribe();
        // The channel is the shard's own.
        drop(joined.wait_for(|joined| *joined).await);
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
    pub(super) async fn close(&self) -> anyhow::Result<()> {
        self.lead(None);
        let runner = self.runner.write().await.take();
        let Some(runner) = runner else {
            return Ok(());
        };
        let stopped = runner.stop().await.map_err(anyhow::Error::from);
        if let Some(store) = &self.store {
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
