//! What every request shares.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use cairn_engine::{health::Health, log::Log, sources::NodeState, store::Store};

use crate::{
    chains::ChainList, cursor::CursorKey, finals::Finals, nodes::NodeBalances, telemetry::Telemetry,
};

/// How the HTTP surface behaves.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// The chain of requests that name none. Without it the only chain of the store is taken.
    pub default_chain: Option<String>,
    /// Whether requests are limited per key and address. Takes effect when keys exist.
    pub limits_enabled: bool,
    /// The address under which users reach this server, without a slash at its end.
    pub public_url: Option<String>,
    /// Whether everybody may use what needs a tier, for as long as there are no keys.
    pub open_access: bool,
    /// Whether the partner dialect (`/api/…`) is served.
    pub partner: bool,
    /// Memory for final transactions that are ready as JSON, in bytes.
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
            limits_enabled: true,
            public_url: None,
            open_access: false,
            partner: true,
            finals_bytes: 64 << 20,
            request_timeout: Duration::from_secs(30),
            position_patience: Duration::from_secs(2),
        }
    }
}

/// What every request shares.
pub struct App {
    /// The log that the store is folded from.
    pub log: Arc<dyn Log>,
    /// What the projections folded.
    pub store: Arc<Store>,
    /// How far each component of this process is.
    pub health: Arc<Health>,
    /// How the HTTP surface behaves.
    pub config: ApiConfig,
    /// The nodes that can be asked for balances, by chain.
    pub nodes: BTreeMap<String, Arc<dyn NodeState>>,
    pub(crate) cursor_key: CursorKey,
    pub(crate) chains: ChainList,
    pub(crate) balances: NodeBalances,
    pub(crate) finals: Finals,
    pub(crate) telemetry: Telemetry,
}

impl App {
    /// Puts together what requests share; the first call of a process installs its metrics
    /// recorder.
    pub fn new(
        log: Arc<dyn Log>,
        store: Arc<Store>,
        health: Arc<Health>,
        config: ApiConfig,
        nodes: BTreeMap<String, Arc<dyn NodeState>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            cursor_key: CursorKey::of(log.id()),
            log,
            store,
            health,
            finals: Finals::new(config.finals_bytes),
            config,
            nodes,
            chains: ChainList::default(),
            balances: NodeBalances::default(),
            telemetry: Telemetry::install(),
        })
    }
}

impl fmt::Debug for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("App")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}
