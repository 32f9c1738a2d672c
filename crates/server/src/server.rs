//! A running server: engine, sources, HTTP and the admin socket around one data directory.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Context as _;
use axum::Router;
use cairn_api::{ApiConfig, App, ShardArgs};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use crate::{
    config::Config,
    exit::{Exit, Failure},
    http::{self, HttpLimits},
    node::{Needs, Node, socket_path},
    open_files,
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

/// See the module.
pub(crate) struct Server {
    node: Arc<Node>,
    http: JoinHandle<()>,
    admin: JoinHandle<()>,
    sources: JoinSet<()>,
    _socket: SocketFile,
}

impl Server {
    /// Starts everything. Requests are answered from now on, as the log line `listening` says;
    /// `ready` follows when the answers are to be relied on.
    pub(crate) async fn start(config: &Config, port: Port) -> anyhow::Result<Self> {
        let node = Arc::new(Node::open(&config.data, Needs::Writer).await?);
        let (socket_file, admin_listener) =
            SocketFile::bind(&socket_path(&config.data.dir)).await?;
        let nodes = sources::node_states(&config.sources)?;
        let address = port.address;
        let shard = ShardArgs {
            name: "main".into(),
            log: Arc::clone(node.log()?),
            store: Arc::clone(node.store()?),
            health: Arc::clone(&node.health),
        };
        let api_config = api_config(config, address);
        let app = App::new(vec![shard], Arc::default(), api_config, nodes)?;
        let sources = sources::start(&node, &config.sources)?;
        rebuild_outdated(&node)?;
        let router = cairn_api::router(Arc::clone(&app));
        let http = http::serve(port.listener, router, &http_limits(config), node.stopping());
        let admin = serve_admin(
            admin_listener,
            socket::router(Arc::clone(&node)),
            node.stopping(),
        );
        tracing::info!(%address, data = %config.data.dir.display(), "listening");
        tokio::spawn(say_when_ready(app, address, node.stopping()));
        Ok(Self {
            node,
            http,
            admin,
            sources,
            _socket: socket_file,
        })
    }

    /// Stops in order: no new requests, the running ones finish within `grace`, sources, the fold.
    pub(crate) async fn stop(mut self, grace: Duration) -> anyhow::Result<()> {
        tracing::info!("stopping");
        self.node.begin_stop();
        let drained = async {
            let _ended = (&mut self.http).await;
            let _ended = (&mut self.admin).await;
        };
        if tokio::time::timeout(grace, drained).await.is_err() {
            tracing::warn!("requests were still running after the grace period and are cut off");
        }
        self.http.abort();
        self.admin.abort();
        self.sources.shutdown().await;
        self.node.close().await?;
        tracing::info!("stopped");
        Ok(())
    }
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
fn rebuild_outdated(node: &Arc<Node>) -> anyhow::Result<()> {
    let outdated = node.store()?.outdated();
    if outdated.is_empty() {
        return Ok(());
    }
    tracing::info!(projections = ?outdated, "rebuilding what an older version folded");
    let node = Arc::clone(node);
    tokio::spawn(async move {
        let Some(runner) = node.runner().await else {
            return;
        };
        match runner.rebuild(outdated, |_, _| (), node.stopping()).await {
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

fn api_config(config: &Config, address: SocketAddr) -> ApiConfig {
    let public_url = config.server.public_url.clone();
    ApiConfig {
        default_chain: config.api.default_chain.clone(),
        limits_enabled: config.limits_enabled,
        public_url: Some(public_url.unwrap_or_else(|| format!("http://{address}"))),
        open_access: config.api.open_access,
        finals_bytes: config.api.cache_bytes,
        partner: config.api.dialects.contains(&"partner"),
        ..ApiConfig::default()
    }
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
