//! A running server: engine, sources, HTTP and the admin socket around one data directory.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::Router;
use cairn_api::{ApiConfig, App, Desks, ExportDesk, LakeArgs, PartnerDesk, Roles, ShardArgs};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::watch,
    task::JoinHandle,
};

use crate::{
    condition::show_condition,
    config::{Config, LogKind, Secret},
    exit::{Exit, Failure},
    exports::ExportMaker,
    flight,
    forward::Peers,
    gauges,
    http::{self, HttpLimits},
    lake::LakeKeeper,
    lead::Leaders,
    node::{Needs, Node, Shard, address_of, operator_key, socket_path},
    open_files, partners,
    socket::{self, SocketFile},
    sources,
};

/// A port that is taken before anything else happens.
pub(crate) struct Port {
    listener: TcpListener,
    /// The address, with the port that was given for port 0.
    pub(crate) address: SocketAddr,
}

impl Port {
    /// Takes the address.
    pub(crate) async fn bind(address: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(address).await.map_err(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => Failure::new(
                Exit::InUse,
                format!("{address} is in use by another process: stop it, or choose another address with --listen"),
            ),
            _ => Failure::new(
                Exit::Failed,
                format!("cannot listen on {address} ({error}): choose another address with --listen"),
            ),
        })?;
        let address = listener
            .local_addr()
            .context("the address that was bound is unknown")?;
        Ok(Self { listener, address })
    }
}

/// What was counted may take so long to be appended at the end: the log may have no writer.
const COUNTING: Duration = Duration::from_secs(2);

/// See the module.
pub(crate) struct Server {
    node: Arc<Node>,
    http: JoinHandle<()>,
    admin: JoinHandle<()>,
    leaders: Option<Leaders>,
    lake: Option<LakeKeeper>,
    app: Arc<App>,
    desk: Arc<partners::Desk>,
    _socket: SocketFile,
}

impl Server {
    /// Starts everything. Requests are answered from now on, as the log line `listening` says;
    /// `ready` follows when the answers are to be relied on.
    pub(crate) async fn start(config: &Config, port: Port) -> anyhow::Result<Self> {
        // Who writes a log that others share is settled while the server runs.
        let needs = match config.log.kind {
            LogKind::Embedded => Needs::Writer,
            LogKind::Kafka => Needs::Runner,
        };
        let node = Arc::new(Node::open(config, needs, None).await?);
        let operator_key = operator_key(&config.server, &config.data.dir)?;
        let peers = Peers::new(operator_key.clone());
        let (socket_file, admin_listener) =
            SocketFile::bind(&socket_path(&config.data.dir)).await?;
        let address = port.address;
        let leaders = match config.server.roles.ingest {
            true => {
                let reached = address_of(&config.server, address);
                Some(Leaders::start(&node, config, &reached))
            }
            false => None,
        };
        let lake = match config.server.roles.lake {
            true => Some(LakeKeeper::start(&node, &peers, config).await?),
            false => None,
        };
        let files = lake.as_ref().map(|keeper| keeper.args.clone());
        let desk = partners::Desk::new(&node, &peers);
        let desks = desks(&node, &peers, config, (files.as_ref(), &desk));
        let api = api_config(config, address, &operator_key);
        let app = app(&node, config, api, files.clone(), desks)?;
        if let Some(files) = &files {
            flight::start(&node, config, files, &app).await?;
        }
        // A key that cannot be read or made is told now.
        node.vault()?;
        tokio::spawn(Arc::clone(&desk).keep_counting(Arc::clone(&app)));
        gauges::measure(&node);
        for shard in &node.shards {
            show_condition(shard)?;
            rebuild_outdated(shard)?;
        }
        let router = cairn_api::router(Arc::clone(&app))
            .merge(socket::peer_router(Arc::clone(&node), peers.clone()));
        let http = http::serve(port.listener, router, &http_limits(config), node.stopping());
        let admin = serve_admin(
            admin_listener,
            socket::router(Arc::clone(&node), peers),
            node.stopping(),
        );
        tracing::info!(%address, data = %config.data.dir.display(), "listening");
        tokio::spawn(say_when_ready(Arc::clone(&app), address, node.stopping()));
        Ok(Self {
            node,
            http,
            admin,
            leaders,
            lake,
            app,
            desk,
            _socket: socket_file,
        })
    }

    /// Stops in order: no new requests, the running ones finish within `grace`, sources, the fold.
    pub(crate) async fn stop(mut self, grace: Duration) -> anyhow::Result<()> {
        tracing::info!("stopping");
        // What is asked for while the last requests are answered is counted no more.
        let counted = tokio::time::timeout(COUNTING, self.desk.count(&self.app)).await;
        if counted.is_err() {
            tracing::warn!("usage of the last seconds is in no event");
        }
        self.app.stop_streams();
        self.node.begin_stop();
        let drained = async {
            let _ended = (&mut self.http).await;
            let _ended = (&mut self.admin).await;
        };
        // Another node takes over while the last requests are answered.
        let resigned = async {
            if let Some(leaders) = self.leaders {
                leaders.stop().await;
            }
        };
        let (drained, ()) = tokio::join!(tokio::time::timeout(grace, drained), resigned);
        if drained.is_err() {
            tracing::warn!("requests were still running after the grace period and are cut off");
        }
        self.http.abort();
        self.admin.abort();
        if let Some(lake) = self.lake.take() {
            lake.stop().await;
        }
        self.node.close().await?;
        tracing::info!("stopped");
        Ok(())
    }
}

/// What the server does for requests.
fn desks(
    node: &Arc<Node>,
    peers: &Peers,
    config: &Config,
    (files, desk): (Option<&LakeArgs>, &Arc<partners::Desk>),
) -> Desks {
    let exports = files.map(|files| ExportMaker::start(node, peers, config, files));
    Desks {
        exports: exports.map(|exports| exports as Arc<dyn ExportDesk>),
        partners: Some(Arc::clone(desk) as Arc<dyn PartnerDesk>),
    }
}

/// What requests share.
fn app(
    node: &Node,
    config: &Config,
    api: ApiConfig,
    lake: Option<LakeArgs>,
    desks: Desks,
) -> anyhow::Result<Arc<App>> {
    let nodes = sources::node_states(&config.sources)?;
    let shard = |shard: &Arc<Shard>| -> anyhow::Result<ShardArgs> {
        Ok(ShardArgs {
            name: shard.name.clone(),
            log: Arc::clone(shard.log()?),
            store: Arc::clone(shard.store()?),
            health: Arc::clone(&shard.health),
        })
    };
    let shards = node.shards.iter().map(shard).collect::<Result<_, _>>()?;
    Ok(App::new(shards, Arc::default(), api, nodes, lake, desks)?)
}

/// Says `ready` in the log when `/health/ready` does.
async fn say_when_ready(app: Arc<App>, address: SocketAddr, stop: watch::Receiver<bool>) {
    const LONGEST_PAUSE: Duration = Duration::from_secs(1);
    let ready = async {
        let mut pause = Duration::from_millis(5);
        while !app.is_ready() {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    };
    tokio::select! {
        () = ready => tracing::info!(%address, "ready"),
        () = http::stopped(stop) => {}
    }
}

/// Rebuilds projections that an older version filled, while everything else goes on.
fn rebuild_outdated(shard: &Arc<Shard>) -> anyhow::Result<()> {
    let outdated = shard.store()?.outdated();
    if outdated.is_empty() {
        return Ok(());
    }
    tracing::info!(projections = ?outdated, "rebuilding what an older version folded");
    let shard = Arc::clone(shard);
    tokio::spawn(async move {
        let Some(runner) = shard.runner().await else {
            return;
        };
        match runner.rebuild(outdated, |_, _| (), shard.stopping()).await {
            Ok(rebuilt) => tracing::info!(position = %rebuilt.position, "rebuilt"),
            Err(error) => {
                tracing::error!(%error, "what an older version folded waits for a rebuild")
            }
        }
    });
    Ok(())
}

fn http_limits(config: &Config) -> HttpLimits {
    let limits = &config.server.http;
    HttpLimits {
        max_connections: open_files::connections(limits.max_connections),
        ..limits.clone()
    }
}

fn api_config(config: &Config, address: SocketAddr, operator_key: &Secret) -> ApiConfig {
    let public_url = config.server.public_url.clone();
    let chains = config.sources.iter();
    ApiConfig {
        default_chain: config.api.default_chain.clone(),
        assigned: chains
            .map(|source| (source.name.clone(), source.shard))
            .collect(),
        roles: Roles {
            ingest: config.server.roles.ingest,
            query: config.server.roles.query,
            lake: config.server.roles.lake,
        },
        limits_enabled: config.limits.enabled,
        registrations_per_hour: config.limits.registrations_per_hour,
        proxies: config.server.proxies.clone(),
        operator_key: Some(blake3::hash(operator_key.reveal().as_bytes())),
        public_url: Some(public_url.unwrap_or_else(|| format!("http://{address}"))),
        open_access: config.api.open_access,
        streams: config.streams,
        finals_bytes: config.api.cache_bytes,
        partner: config.api.dialects.contains(&"partner"),
        request_timeout: request_timeout(config.sql.timeout),
        ..ApiConfig::default()
    }
}

/// How long a request may take: longer than a query, so that a query that takes too long is told so in its
/// own words.
fn request_timeout(of_a_query: Duration) -> Duration {
    const MORE: Duration = Duration::from_secs(5);
    ApiConfig::default()
        .request_timeout
        .max(of_a_query.saturating_add(MORE))
}

fn serve_admin(
    listener: UnixListener,
    router: Router,
    stopped: watch::Receiver<bool>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let served = axum::serve(listener, router)
            .with_graceful_shutdown(http::stopped(stopped))
            .await;
        if let Err(error) = served {
            tracing::error!(%error, "the admin socket stopped");
        }
    })
}
