//! An open data directory: its shards, each with log, store, writer and runner, as far as they are
//! needed.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use anyhow::Context as _;
use cairn_api::LakeArgs;
use cairn_engine::{sources::Offers, vault::Vault};
use tokio::sync::watch;

use crate::{
    config::{Config, LogKind, Partners, Prefixes},
    exit::{Exit, Failure},
};

mod open;
mod operator_key;
mod shard;
mod vault;

pub(crate) use open::{address_of, claim, kafka_options, open_embedded, open_log, shard_dir};
pub(crate) use operator_key::{kept_operator_key, operator_key};
pub(crate) use shard::Shard;
use shard::WrittenChains;

/// What has to be open. Each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Needs {
    /// Only the directory.
    Nothing,
    /// The log, to be read.
    Log,
    /// The store, too.
    Store,
    /// A runner, too, that folds what is appended.
    Runner,
    /// Everything: also the right to append.
    Writer,
}

/// See the module.
pub(crate) struct Node {
    /// The shards in the order of the configuration.
    pub(crate) shards: Vec<Arc<Shard>>,
    data_dir: PathBuf,
    /// The shard of each chain that has a source, by name.
    assigned: Vec<(String, String)>,
    lake: OnceLock<LakeArgs>,
    partners: Partners,
    vault: OnceLock<Vault>,
    stopping: Arc<watch::Sender<bool>>,
}

/// The socket of a server in a data directory.
pub(crate) fn socket_path(data_dir: &Path) -> PathBuf {
    data_dir.join("cairn.sock")
}

impl Node {
    /// Opens a data directory, or only one of its shards; one that is to be written is made if it is not
    /// there.
    pub(crate) async fn open(
        config: &Config,
        needs: Needs,
        only: Option<&str>,
    ) -> anyhow::Result<Self> {
        let dir = &config.data.dir;
        let stopping = Arc::new(watch::Sender::new(false));
        let names = config.log.shards.iter().enumerate();
        let wanted: Vec<_> = names
            .filter(|(_, name)| only.is_none_or(|only| only == *name))
            .map(|(index, _)| index)
            .collect();
        if needs >= Needs::Runner || (needs > Needs::Nothing && config.log.kind == LogKind::Kafka) {
            create_directory(dir)?;
        }
        let common = (Offers::default(), WrittenChains::default());
        let mut shards = Vec::new();
        for index in wanted {
            let shard = Shard::new(config, index, common.clone(), Arc::clone(&stopping));
            let opened = shard.fill(config, index, needs).await;
            let shard = opened.with_context(|| match config.log.kind {
                LogKind::Embedded => format!("cannot open the data directory {}", dir.display()),
                LogKind::Kafka => format!("cannot open shard {}", config.log.shards[index]),
            })?;
            shards.push(Arc::new(shard));
        }
        if shards.is_empty() {
            return Err(unknown_shard(only.unwrap_or_default(), &config.log.shards).into());
        }
        let chains = config.sources.iter();
        Ok(Self {
            shards,
            data_dir: dir.clone(),
            assigned: chains
                .map(|source| (source.name.clone(), config.log.shards[source.shard].clone()))
                .collect(),
            lake: OnceLock::new(),
            partners: config.partners.clone(),
            vault: OnceLock::new(),
            stopping,
        })
    }

    /// The lake of this process, if it has one open.
    pub(crate) fn lake(&self) -> Option<&LakeArgs> {
        self.lake.get()
    }

    /// Says which lake this process has open; the first one stays.
    pub(crate) fn set_lake(&self, lake: LakeArgs) {
        let _first = self.lake.set(lake);
    }

    /// What opens secrets of the log.
    pub(crate) fn vault(&self) -> anyhow::Result<&Vault> {
        if self.vault.get().is_none() {
            let opened = vault::open(&self.partners.master_key, &self.data_dir)?;
            // Whoever was quicker read the same key.
            let _same = self.vault.set(opened);
        }
        self.vault.get().context("the vault is not open")
    }

    /// How keys of partners begin.
    pub(crate) fn prefixes(&self) -> &Prefixes {
        &self.partners.prefixes
    }

    /// Where everything lives.
    pub(crate) fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The shard that an operation is about: the one it names, else that of its chain, else the only
    /// one.
    pub(crate) fn shard(
        &self,
        named: Option<&str>,
        chain: Option<&str>,
    ) -> anyhow::Result<&Arc<Shard>> {
        let assigned = chain.and_then(|chain| self.assigned_shard(chain));
        if let Some(name) = named {
            if let Some(assigned) = assigned.filter(|assigned| assigned.name != name) {
                let message = format!(
                    "this chain has its source in shard {}: leave --shard out, or name that one",
                    assigned.name
                );
                return Err(Failure::new(Exit::Usage, message).into());
            }
            let found = self.shards.iter().find(|shard| shard.name == name);
            return found.ok_or_else(|| unknown_shard(name, &self.names()).into());
        }
        match (self.shards.as_slice(), chain) {
            ([only], _) => Ok(only),
            ([first, ..], Some(chain)) => {
                let holder = || self.shards.iter().find(|shard| shard.has_chain(chain));
                Ok(assigned.or_else(holder).unwrap_or(first))
            }
            _ => Err(Failure::new(
                Exit::Usage,
                format!(
                    "name a shard with --shard: one of {}",
                    self.names().join(", ")
                ),
            )
            .into()),
        }
    }

    /// The shard in which a chain has its source.
    fn assigned_shard(&self, chain: &str) -> Option<&Arc<Shard>> {
        let (_, shard) = self.assigned.iter().find(|(name, _)| name == chain)?;
        self.shards.iter().find(|own| own.name == *shard)
    }

    fn names(&self) -> Vec<String> {
        self.shards.iter().map(|shard| shard.name.clone()).collect()
    }

    /// Tells everything that would go on for ever to stop.
    pub(crate) fn begin_stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Turns true when it is time to stop.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// Stops folding and writes everything to files.
    pub(crate) async fn close(&self) -> anyhow::Result<()> {
        let mut result = Ok(());
        for shard in &self.shards {
            let closed = shard.close().await;
            result = result.and(closed);
        }
        result
    }
}

fn unknown_shard(name: &str, names: &[String]) -> Failure {
    let message = format!("there is no shard `{name}`; there is: {}", names.join(", "));
    Failure::new(Exit::Usage, message)
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
