//! A server without a socket, over a log that the test writes.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, Request, StatusCode},
};
use cairn_domain::{
    Address, Amount, BlockRef, Bytes, Event, Hash, Position, Stream,
    commit::NewCommit,
    events::{
        BlockAppended, BlockReverted, TransactionExecuted, TransactionIncluded, TransactionKind,
    },
};
use cairn_engine::{
    health::Health,
    log::{EmbeddedLog, EmbeddedOptions, Log, Writer, wait_for},
    runner::{Runner, RunnerHandle, RunnerOptions},
    sources::NodeState,
    store::{Store, StoreOptions},
};
use serde_json::Value;
use tower::ServiceExt;

use crate::{ApiConfig, App, Desks, ShardArgs, router};

/// A log of its own with all that is folded from it.
pub(super) struct TestShard {
    pub(super) log: Arc<dyn Log>,
    pub(super) store: Arc<Store>,
    pub(super) health: Arc<Health>,
    writer: Arc<dyn Writer>,
    _runner: RunnerHandle,
    directory: PathBuf,
}

/// A server over one or several of them; the first is called `main`, the others `shard-1` and so on.
pub(super) struct Server {
    pub(super) shards: Vec<Arc<TestShard>>,
    /// The store of the first shard.
    pub(super) store: Arc<Store>,
    pub(super) health: Arc<Health>,
    pub(super) app: Arc<App>,
    pub(super) router: Router,
}

/// What it answered.
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) json: Value,
    pub(super) text: String,
}

pub(super) const ALICE: Address = Address::Evm([0xa1; 20]);
pub(super) const BOB: Address = Address::Evm([0xb0; 20]);

fn directory() -> PathBuf {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("cairn-api-{}-{count}", std::process::id()))
}

impl TestShard {
    pub(super) async fn open() -> Arc<Self> {
        let directory = directory();
        std::fs::create_dir_all(&directory).unwrap();
        let log = EmbeddedLog::open(&directory.join("log"), EmbeddedOptions::default()).unwrap();
        let log: Arc<dyn Log> = Arc::new(log);
        let store = Store::open(&directory.join("store"), StoreOptions::default()).unwrap();
        let health = Arc::new(Health::default());
        let options = RunnerOptions::default();
        let runner = Runner::spawn(Arc::clone(&log), Arc::clone(&store), &health, options).unwrap();
        let writer = log.acquire("test", None).await.unwrap();
        Arc::new(Self {
            log,
            store,
            health,
            writer,
            _runner: runner,
            directory,
        })
    }

    /// Appends a commit and waits until it is folded.
    pub(super) async fn append(&self, chain: &str, events: Vec<Event>) -> Position {
        let stream = Stream::chain(chain).unwrap();
        let commit = NewCommit::new(&stream, 0, &events);
        let position = self.writer.append(vec![commit]).await.unwrap();
        let mut folded = self.store.position();
        assert!(wait_for(&mut folded, position, Duration::from_secs(10)).await);
        position
    }

    /// What a server is told about it.
    pub(super) fn args(&self, name: &str) -> ShardArgs {
        ShardArgs {
            name: name.into(),
            log: Arc::clone(&self.log),
            store: Arc::clone(&self.store),
            health: Arc::clone(&self.health),
        }
    }
}

impl Server {
    pub(super) async fn start(
        config: ApiConfig,
        nodes: BTreeMap<String, Arc<dyn NodeState>>,
    ) -> Self {
        Self::over(&[TestShard::open().await], config, nodes)
    }

    /// A server over two shards of its own.
    pub(super) async fn sharded(config: ApiConfig) -> Self {
        let shards = [TestShard::open().await, TestShard::open().await];
        Self::over(&shards, config, BTreeMap::new())
    }

    pub(super) fn over(
        shards: &[Arc<TestShard>],
        config: ApiConfig,
        nodes: BTreeMap<String, Arc<dyn NodeState>>,
    ) -> Self {
        let name = |index| match index {
            0 => "main".to_owned(),
            _ => format!("shard-{index}"),
        };
        let args = shards.iter().enumerate();
        let args = args.map(|(index, shard)| shard.args(&name(index)));
        Self::with_args(shards, args.collect(), config, nodes)
    }

    /// A server over shards of which it is told what the test likes.
    pub(super) fn with_args(
        shards: &[Arc<TestShard>],
        args: Vec<ShardArgs>,
        config: ApiConfig,
        nodes: BTreeMap<String, Arc<dyn NodeState>>,
    ) -> Self {
        let health = Arc::new(Health::default());
        // A test asks as often as it likes.
        let config = ApiConfig {
            limits_enabled: false,
            ..config
        };
        let app = App::new(
            args,
            Arc::clone(&health),
            config,
            nodes,
            None,
            Desks::default(),
        )
        .unwrap();
        Self {
            shards: shards.to_vec(),
            store: Arc::clone(&shards[0].store),
            health,
            router: router(Arc::clone(&app)),
            app,
        }
    }

    /// Appends a commit to the first shard and waits until it is folded.
    pub(super) async fn append(&self, chain: &str, events: Vec<Event>) -> Position {
        self.shards[0].append(chain, events).await
    }

    pub(super) async fn get(&self, path: &str) -> Reply {
        self.ask(Request::get(path).body(Body::empty()).unwrap())
            .await
    }

    pub(super) async fn ask(&self, request: Request<Body>) -> Reply {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        let json = serde_json::from_slice(&body).unwrap_or(Value::Null);
        Reply {
            status: parts.status,
            headers: parts.headers,
            json,
            text: String::from_utf8_lossy(&body).into_owned(),
        }
    }
}

impl Drop for TestShard {
    fn drop(&mut self) {
        // The store may still be open: what is left is in the system's temporary directory.
        let _left = std::fs::remove_dir_all(&self.directory);
    }
}

/// The hash of the block at a height of a branch.
pub(super) fn hash(branch: u8, height: u64) -> Hash {
    let mut bytes = [branch; 32];
    bytes[24..].copy_from_slice(&height.to_be_bytes());
    Hash(bytes)
}

/// The hash of the transaction with a nonce.
pub(super) fn transaction(nonce: u64) -> Hash {
    hash(0x77, nonce)
}

/// A block in which Alice sends Bob one coin per nonce.
pub(super) fn block(branch: u8, parent: u8, height: u64, nonces: &[u64]) -> Vec<Event> {
    let mut appended = match Event::examples().into_iter().next() {
        Some(Event::BlockAppended(appended)) => appended,
        _ => panic!("the first example is a block"),
    };
    appended = BlockAppended {
        block: BlockRef {
            height,
            hash: hash(branch, height),
        },
        parent: hash(parent, height.wrapping_sub(1)),
        timestamp: 1_700_000_000 + 12 * height,
        base_fee: Some(Amount::from(1)),
        withdrawals: Vec::new(),
        transaction_count: nonces.len() as u32,
        ..appended
    };
    let mut events = vec![appended.into()];
    for (index, nonce) in nonces.iter().enumerate() {
        events.extend(transfer(index as u32, *nonce));
    }
    events
}

fn transfer(index: u32, nonce: u64) -> [Event; 2] {
    let included = TransactionIncluded {
        hash: transaction(nonce),
        index,
        kind: TransactionKind::Evm(2),
        from: ALICE,
        to: Some(BOB),
        amount: Amount::from(1),
        nonce,
        gas_limit: 21_000,
        gas_price: Amount::from(1),
        max_fee_per_gas: None,
        max_priority_fee_per_gas: None,
        input: Bytes::default(),
    };
    let executed = TransactionExecuted {
        index,
        success: true,
        gas_used: 21_000,
        effective_gas_price: Amount::from(1),
        fee: Amount::from(21_000),
        contract_address: None,
        logs: Vec::new(),
    };
    [included.into(), executed.into()]
}

/// A commit that takes blocks of a branch back, highest first.
pub(super) fn revert(branch: u8, heights: impl Iterator<Item = u64>) -> Vec<Event> {
    let event = |height| BlockReverted {
        block: BlockRef {
            height,
            hash: hash(branch, height),
        },
    };
    heights.map(|height| event(height).into()).collect()
}
