//! What the tests of sources share: a log with a running fold, made-up blocks as a node serves them,
//! recordings, and a node made of a closure.

use std::{
    io::Read,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use cairn_domain::{
    BlockRef, Commit, Event, Hash, Position, Stream, projections::blocks::ChainEndsRow,
};
use cairn_engine::{
    health::{Health, Phase, Progress},
    log::{EmbeddedLog, EmbeddedOptions, Log, Writer, wait_for},
    runner::{Runner, RunnerHandle, RunnerOptions},
    sources::{Offers, SourceConfig, SourceContext, SourceKind},
    store::{Store, StoreOptions, TableDigest},
};
use serde_json::{Value, json};
use tokio::{sync::watch, task::JoinHandle};

mod node;

pub(crate) use node::{FakeNode, Reply, answer_all};

/// A data directory with a log, a store and a fold that runs.
pub(crate) struct World {
    pub(crate) directory: tempfile::TempDir,
    log: Arc<dyn Log>,
    writer: Arc<dyn Writer>,
    pub(crate) store: Arc<Store>,
    pub(crate) health: Arc<Health>,
    pub(crate) offers: Offers,
    runner: RunnerHandle,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::open(tempfile::tempdir().unwrap()).await
    }

    async fn open(directory: tempfile::TempDir) -> Self {
        let options = EmbeddedOptions {
            sync: false,
            ..EmbeddedOptions::default()
        };
        let log: Arc<dyn Log> =
            Arc::new(EmbeddedLog::open(&directory.path().join("log"), options).unwrap());
        let writer = log.acquire("test", None).await.unwrap();
        let options = StoreOptions {
            cache_bytes: 8 << 20,
            ..StoreOptions::default()
        };
        let store = Store::open(&directory.path().join("store"), options).unwrap();
        let health = Arc::new(Health::default());
        let (shared_log, shared_store) = (Arc::clone(&log), Arc::clone(&store));
        let runner =
            Runner::spawn(shared_log, shared_store, &health, RunnerOptions::default()).unwrap();
        Self {
            directory,
            log,
            writer,
            store,
            health,
            offers: Offers::default(),
            runner,
        }
    }

    /// Stops the fold, closes everything and opens it again.
    pub(crate) async fn reopen(self) -> Self {
        let Self {
            directory,
            log,
            writer,
            store,
            health,
            offers: _,
            runner,
        } = self;
        runner.stop().await.unwrap();
        drop((log, writer, store, health));
        Self::open(directory).await
    }

    pub(crate) fn context(&self) -> SourceContext {
        SourceContext {
            log: Arc::clone(&self.log),
            writer: Arc::clone(&self.writer),
            store: Arc::clone(&self.store),
            health: Arc::clone(&self.health),
            offers: self.offers.clone(),
            data_dir: self.directory.path().to_owned(),
        }
    }

    /// Returns when the fold has reached the log's head.
    pub(crate) async fn folded(&self) -> Position {
        let head = *self.log.head().borrow();
        let reached = wait_for(&mut self.store.position(), head, Duration::from_secs(60)).await;
        assert!(
            reached,
            "the fold did not reach {head}: {:?}",
            self.health.snapshot()
        );
        head
    }

    pub(crate) async fn commits(&self) -> Vec<Commit> {
        let head = *self.log.head().borrow();
        let mut commits: Vec<Commit> = Vec::new();
        while commits.last().map_or(Position(0), |commit| commit.position) < head {
            let from = commits
                .last()
                .map_or(Position(1), |commit| commit.position.next());
            let read = self.log.read(from, 16 << 20).await.unwrap();
            commits.extend(read.iter().map(|commit| commit.decode().unwrap()));
        }
        commits
    }

    pub(crate) async fn events(&self) -> Vec<Event> {
        self.commits()
            .await
            .into_iter()
            .flat_map(|commit| commit.events)
            .collect()
    }

    pub(crate) async fn ends(&self, chain: &str) -> Option<ChainEndsRow> {
        self.folded().await;
        let view = self.store.view(None).unwrap();
        view.ends(&Stream::chain(chain).unwrap()).unwrap()
    }

    pub(crate) async fn head(&self, chain: &str) -> Option<BlockRef> {
        self.ends(chain).await.map(|ends| ends.head)
    }

    /// The canonical chain, lowest first.
    pub(crate) async fn canonical(&self, chain: &str) -> Vec<BlockRef> {
        self.folded().await;
        let stream = Stream::chain(chain).unwrap();
        let view = self.store.view(None).unwrap();
        let Some(ends) = view.ends(&stream).unwrap() else {
            return Vec::new();
        };
        let block = |height| {
            let hash = view.canonical(&stream, height).unwrap().unwrap().hash;
            BlockRef { height, hash }
        };
        (ends.first.height..=ends.head.height).map(block).collect()
    }

    pub(crate) async fn digests(&self) -> Vec<TableDigest> {
        self.folded().await;
        crate::support::without_orphans(self.store.digests_at(None).unwrap())
    }

    /// How far a source is; none before it has begun.
    pub(crate) fn progress(&self, name: &str) -> Option<Progress> {
        self.health
            .snapshot()
            .remove(&format!("source/{name}"))
            .map(|(progress, _)| progress)
    }

    /// Starts a source.
    pub(crate) fn follow(&self, config: SourceConfig) -> Following {
        let (stop, shutdown) = watch::channel(false);
        let task = tokio::spawn(cairn_engine::sources::run(config, self.context(), shutdown));
        Following { stop, task }
    }

    /// Returns when the chain's head is this block.
    pub(crate) async fn reach(&self, chain: &str, block: BlockRef) {
        let reached = async {
            while self.head(chain).await != Some(block) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(30), reached)
            .await
            .is_err()
        {
            let head = self.head(chain).await;
            panic!("at {head:?}, not at {block}: {:?}", self.progress(chain));
        }
    }

    /// Returns when the source is in a phase whose detail contains `words`.
    pub(crate) async fn phase(&self, chain: &str, phase: Phase, words: &str) {
        let reached = async {
            loop {
                let fits = |progress: Progress| {
                    progress.phase == phase && progress.detail.unwrap_or_default().contains(words)
                };
                if self.progress(chain).is_some_and(fits) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), reached)
            .await
            .is_err()
        {
            panic!("not {phase:?} with `{words}`: {:?}", self.progress(chain));
        }
    }
}

/// A source that runs.
pub(crate) struct Following {
    stop: watch::Sender<bool>,
    task: JoinHandle<Result<(), cairn_engine::sources::SourceError>>,
}

impl Following {
    pub(crate) async fn stop(self) {
        self.stop.send_replace(true);
        self.task.await.unwrap().unwrap();
    }
}

/// A source of a node that answers at once, patient as tests are.
pub(crate) fn node_config(name: &str, url: String) -> SourceConfig {
    let mut config = SourceConfig::new(name, SourceKind::EvmRpc);
    config.url = Some(url);
    config.poll_interval = Duration::from_millis(20);
    config.retry.base = Duration::from_millis(5);
    config.retry.cap = Duration::from_millis(50);
    config.retry.timeout = Duration::from_secs(5);
    config.retry.stuck = Duration::from_millis(100);
    config
}

/// The recordings, or none where the folder is absent.
pub(crate) fn recordings() -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    if path.exists() {
        return Some(path);
    }
    eprintln!("SKIPPED: {} is not there", path.display());
    None
}

/// The lines of a zstd file.
pub(crate) fn lines(path: &Path) -> Vec<String> {
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap();
    zstd::stream::read::Decoder::new(file)
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    text.lines().map(str::to_owned).collect()
}

pub(crate) fn hash_of(branch: u8, height: u64) -> Hash {
    let mut hash = [branch; 32];
    hash[24..].copy_from_slice(&height.to_be_bytes());
    Hash(hash)
}

/// A block as a node serves it, with transactions and receipts; blocks of a branch stand on each
/// other, the one at `fork + 1` on branch 0.
pub(crate) fn block_json(branch: u8, fork: u64, height: u64, transactions: usize) -> Value {
    let parent = if height == fork.wrapping_add(1) {
        0
    } else {
        branch
    };
    let hash = hash_of(branch, height);
    let transaction = |index: usize| {
        let mut own = hash.0;
        own[..8].copy_from_slice(&(index as u64 + 1).to_be_bytes());
        json!({
            "hash": Hash(own), "blockHash": hash, "blockNumber": format!("0x{height:x}"),
            "transactionIndex": format!("0x{index:x}"), "type": "0x2",
            "from": format!("0x{:040x}", index % 7 + 1), "to": format!("0x{:040x}", branch),
            "value": "0xde0b6b3a7640000", "nonce": format!("0x{height:x}"), "gas": "0x5208",
            "gasPrice": "0x3b9aca00", "maxFeePerGas": "0x77359400", "input": "0x",
        })
    };
    json!({
        "number": format!("0x{height:x}"), "hash": hash,
        "parentHash": hash_of(parent, height.wrapping_sub(1)),
        "timestamp": format!("0x{:x}", 1_700_000_000 + 12 * height), "gasUsed": "0x5208",
        "gasLimit": "0x1c9c380", "miner": format!("0x{:040x}", 99), "size": "0x200",
        "transactions": (0..transactions).map(transaction).collect::<Vec<_>>(),
    })
}

/// The receipts of a block, as `eth_getBlockReceipts` answers.
pub(crate) fn receipts_json(block: &Value) -> Value {
    let receipt = |transaction: &Value| {
        json!({
            "transactionHash": transaction["hash"], "transactionIndex": transaction["transactionIndex"],
            "blockHash": transaction["blockHash"], "blockNumber": transaction["blockNumber"],
            "status": "0x1", "gasUsed": "0x5208", "effectiveGasPrice": "0x3b9aca00",
            "contractAddress": null, "logs": [], "blockTimestamp": 1_700_000_000,
        })
    };
    block["transactions"]
        .as_array()
        .unwrap()
        .iter()
        .map(receipt)
        .collect()
}
