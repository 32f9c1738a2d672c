//! What every request shares.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use cairn_domain::Position;
use cairn_engine::{health::Health, sources::NodeState};
use cairn_lake::{Lake, sql::SqlEngine};
use tokio::sync::Semaphore;

use crate::{
    access::{Accounts, Proxies},
    cursor::CursorKeys,
    exports::ExportDesk,
    nodes::NodeBalances,
    partners::PartnerDesk,
    roles::Roles,
    shard::{Shard, ShardArgs},
    stream::Feed,
    telemetry::Telemetry,
};

/// How the HTTP surface behaves.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// The chain of requests that name none. Without it the only chain of all shards is taken.
    pub default_chain: Option<String>,
    /// Which shard a chain belongs to, by the shard's place among the shards, from 0. A chain that is
    /// not assigned belongs to the first shard that has it.
    pub assigned: BTreeMap<String, usize>,
    /// What this process is for. Without the query role it serves health and metrics alone.
    pub roles: Roles,
    /// Whether requests are limited per key and address.
    pub limits_enabled: bool,
    /// How many partners may register from one address in an hour.
    pub registrations_per_hour: u64,
    /// Whose word on clients' addresses is taken.
    pub proxies: Proxies,
    /// The hash of the key that sees all.
    pub operator_key: Option<blake3::Hash>,
    /// The address under which users reach this server, without a slash at its end.
    pub public_url: Option<String>,
    /// Whether everybody may use what needs a tier, and as much as the highest.
    pub open_access: bool,
    /// How many may follow events at a time, and how many connections of one partner.
    pub streams: StreamLimits,
    /// Whether the partner dialect (`/api/…`) is served.
    pub partner: bool,
    /// Memory for final transactions that are ready as JSON, in bytes; shards have equal parts.
    pub finals_bytes: usize,
    /// How long a request may take before it is answered with 503.
    pub request_timeout: Duration,
    /// How long `?min_position=` waits for the fold.
    pub position_patience: Duration,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            default_chain: None,
            assigned: BTreeMap::new(),
            roles: Roles::default(),
            limits_enabled: true,
            registrations_per_hour: 10,
            proxies: Proxies::default(),
            operator_key: None,
            public_url: None,
            open_access: false,
            streams: StreamLimits::default(),
            partner: true,
            finals_bytes: 64 << 20,
            request_timeout: Duration::from_secs(30),
            position_patience: Duration::from_secs(2),
        }
    }
}

/// How many may follow events.
#[derive(Debug, Clone, Copy)]
pub struct StreamLimits {
    /// Connections at a time.
    pub connections: usize,
    /// Of them, those of one partner.
    pub connections_of_a_partner: usize,
    /// Subscriptions of one connection.
    pub subscriptions: usize,
    /// Memory for the newest events, which are made once for all who follow, in bytes.
    pub memory_bytes: usize,
}

impl Default for StreamLimits {
    fn default() -> Self {
        Self {
            connections: 10_000,
            connections_of_a_partner: 100,
            subscriptions: 64,
            memory_bytes: 64 << 20,
        }
    }
}

/// Why an [`App`] cannot be put together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AppError {
    /// A cursor counts shards in one byte.
    #[error("a server has 1 to {MAX_SHARDS} shards, not {0}")]
    ShardCount(usize),
    /// Two shards have one name.
    #[error("two shards are called `{0}`; give each its own name")]
    ShardTwice(String),
    /// A chain is assigned to a shard that is not there.
    #[error("chain `{chain}` is assigned to shard {shard}, counted from 0, and there are {count}")]
    NoSuchShard {
        /// The chain.
        chain: String,
        /// Where the shard should be.
        shard: usize,
        /// How many shards there are.
        count: usize,
    },
    /// The process is for nothing.
    #[error("a server needs at least one role: ingest, query, lake")]
    NoRole,
}

/// As many shards as a cursor can count.
const MAX_SHARDS: usize = u8::MAX as usize;

/// Final rows as files, and queries over them.
#[derive(Clone)]
pub struct LakeArgs {
    /// The files.
    pub lake: Arc<Lake>,
    /// Answers queries.
    pub sql: Arc<SqlEngine>,
    /// Answers those of exports, which may take long.
    pub exports: Arc<SqlEngine>,
}

/// What the server does for requests.
#[derive(Clone, Default)]
pub struct Desks {
    /// Makes exports, where this process has the lake role.
    pub exports: Option<Arc<dyn ExportDesk>>,
    /// Takes what changes partners, where this process can.
    pub partners: Option<Arc<dyn PartnerDesk>>,
}

/// What every request shares.
pub struct App {
    /// The shards; at least one, the first is the default one. Cursors name positions by a shard's
    /// place: new shards come last, and none is taken out.
    pub shards: Vec<Arc<Shard>>,
    /// How far the components are that belong to the process and to no shard.
    pub health: Arc<Health>,
    /// How the HTTP surface behaves.
    pub config: ApiConfig,
    /// The nodes that can be asked for balances, by chain.
    pub nodes: BTreeMap<String, Arc<dyn NodeState>>,
    /// Final rows as files, where this process has the lake role.
    pub lake: Option<LakeArgs>,
    /// What the server does for requests.
    pub desks: Desks,
    pub(crate) accounts: Accounts,
    pub(crate) feed: Arc<Feed>,
    /// A permit for each connection that follows.
    pub(crate) connections: Arc<Semaphore>,
    pub(crate) cursor_keys: CursorKeys,
    pub(crate) balances: NodeBalances,
    pub(crate) telemetry: Telemetry,
}

impl App {
    /// Puts together what requests share; the first call of a process installs its metrics
    /// recorder.
    ///
    /// # Errors
    /// [`AppError`] when shards, assignments and roles do not fit together.
    pub fn new(
        shards: Vec<ShardArgs>,
        health: Arc<Health>,
        config: ApiConfig,
        nodes: BTreeMap<String, Arc<dyn NodeState>>,
        lake: Option<LakeArgs>,
        desks: Desks,
    ) -> Result<Arc<Self>, AppError> {
        check(&shards, &config)?;
        let finals_bytes = config.finals_bytes / shards.len();
        let shard = |(index, args)| Arc::new(Shard::new(index, args, finals_bytes));
        let shards: Vec<_> = shards.into_iter().enumerate().map(shard).collect();
        let cursor_keys = CursorKeys::of(shards.iter().map(|shard| shard.log.id()));
        let reporter = health.reporter("streams");
        Ok(Arc::new(Self {
            feed: Feed::new(
                shards.clone(),
                cursor_keys.clone(),
                config.streams.memory_bytes,
                reporter,
            ),
            connections: Arc::new(Semaphore::new(config.streams.connections)),
            cursor_keys,
            shards,
            health,
            config,
            nodes,
            lake,
            desks,
            accounts: Accounts::default(),
            balances: NodeBalances::default(),
            telemetry: Telemetry::install(),
        }))
    }

    /// The shard of what belongs to none.
    pub(crate) fn first_shard(&self) -> &Arc<Shard> {
        &self.shards[0]
    }

    /// Whether there are several shards, so that answers have to say which.
    pub(crate) fn is_sharded(&self) -> bool {
        self.shards.len() > 1
    }

    /// Whether the partner dialect is answered, and its page shown.
    pub(crate) fn serves_partner(&self) -> bool {
        self.config.partner && (self.config.roles.query || self.lake.is_some())
    }

    /// What is folded: a position for each shard, in their order.
    pub(crate) fn positions(&self) -> Vec<Position> {
        self.shards.iter().map(|shard| shard.position()).collect()
    }

    /// Ends the connections of all that follow events.
    pub fn stop_streams(&self) {
        self.feed.stop();
    }

    /// The absolute URL under which the partner dialect is.
    pub(crate) fn api_url(&self) -> String {
        format!("{}/api/v1", self.config.public_url.as_deref().unwrap_or(""))
    }

    /// What a thing of a shard is called where things of all shards stand side by side: with several
    /// shards the shard's name comes first.
    pub(crate) fn shown(&self, shard: &Shard, name: &str) -> String {
        match self.is_sharded() {
            true => format!("{}/{name}", shard.name),
            false => name.to_owned(),
        }
    }
}

fn check(shards: &[ShardArgs], config: &ApiConfig) -> Result<(), AppError> {
    let count = shards.len();
    if !(1..=MAX_SHARDS).contains(&count) {
        return Err(AppError::ShardCount(count));
    }
    let mut names = BTreeSet::new();
    if let Some(twice) = shards.iter().find(|shard| !names.insert(&shard.name)) {
        return Err(AppError::ShardTwice(twice.name.clone()));
    }
    let misplaced = config.assigned.iter().find(|(_, shard)| **shard >= count);
    if let Some((chain, shard)) = misplaced {
        return Err(AppError::NoSuchShard {
            chain: chain.clone(),
            shard: *shard,
            count,
        });
    }
    match config.roles.each().next() {
        Some(_) => Ok(()),
        None => Err(AppError::NoRole),
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("shards", &self.shards)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
