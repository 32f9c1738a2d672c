//! A real Ethereum node with a block a second, and traffic on it.

use std::{
    ffi::OsString,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use tokio::net::TcpStream;

use super::{
    LIVE,
    child::Child,
    repository::{Repository, on_path},
};
use crate::config::{Endpoint, EvmRpc, OnDeepReorg, Source, SourceKind};

/// A node that loads the state of an earlier run needs a while.
const START_PATIENCE: Duration = Duration::from_secs(60);

/// The node and its traffic.
pub(crate) struct LiveNode {
    port: u16,
    anvil: Child,
    traffic: Child,
}

/// What has to be installed for it.
pub(crate) struct Programs {
    anvil: PathBuf,
    node: PathBuf,
}

impl LiveNode {
    /// What it needs; the error says what is missing and how to get it.
    pub(crate) fn programs(repository: &Repository) -> Result<Programs, &'static str> {
        match (repository.anvil(), on_path("node")) {
            (Some(anvil), Some(node)) => Ok(Programs { anvil, node }),
            (None, _) => Err("anvil is not installed (ops/setup.sh --node does it)"),
            (_, None) => Err("Node.js is not installed (ops/setup.sh --node does it)"),
        }
    }

    /// Starts both and waits until the node answers. The node keeps its chain in the data directory.
    pub(crate) async fn start(
        repository: &Repository,
        programs: &Programs,
        data_dir: &Path,
    ) -> anyhow::Result<Self> {
        let port = free_port()?;
        let log = data_dir.join("anvil.log");
        let anvil = Child::spawn(&programs.anvil, &anvil_args(port, data_dir), &log)?;
        wait_for_port(port, &log).await?;
        let url = format!("http://127.0.0.1:{port}");
        let args = [repository.path("ops/traffic.mjs").into_os_string()];
        let rest = ["--rpc", &url, "--per-block", "8"].map(OsString::from);
        let args: Vec<_> = args.into_iter().chain(rest).collect();
        let traffic = Child::spawn(&programs.node, &args, &data_dir.join("traffic.log"))?;
        Ok(Self {
            port,
            anvil,
            traffic,
        })
    }

    /// How the server follows it.
    pub(crate) fn source(&self) -> anyhow::Result<Source> {
        let endpoint = |scheme: &str| {
            let url = format!("{scheme}://127.0.0.1:{}", self.port);
            Endpoint::parse(&url, &["http://", "ws://"]).map_err(anyhow::Error::msg)
        };
        let node = EvmRpc {
            url: endpoint("http")?,
            ws: Some(endpoint("ws")?),
            start: 0,
            receipts: true,
            poll_interval: Duration::from_secs(1),
            // Where the node's state was lost it starts another chain, and so does the demo.
            on_deep_reorg: OnDeepReorg::Reset,
        };
        Ok(Source {
            name: LIVE.into(),
            shard: 0,
            finality_depth: 64,
            kind: SourceKind::EvmRpc(node),
        })
    }

    /// Stops both; the node writes its chain down.
    pub(crate) async fn stop(self) {
        self.traffic.stop().await;
        self.anvil.stop().await;
    }
}

fn anvil_args(port: u16, data_dir: &Path) -> Vec<OsString> {
    let port = port.to_string();
    let fixed = [
        "--host",
        "127.0.0.1",
        "--port",
        &port,
        "--block-time",
        "1",
        "--auto-impersonate",
    ];
    let state = [
        "--preserve-historical-states",
        "--state-interval",
        "5",
        "--state",
    ];
    let args = fixed.into_iter().chain(state).map(OsString::from);
    args.chain([data_dir.join("anvil.json").into_os_string()])
        .collect()
}

/// A port that nobody has just now.
fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let address = listener.and_then(|listener| listener.local_addr());
    Ok(address
        .context("there is no free port for the node")?
        .port())
}

async fn wait_for_port(port: u16, log: &Path) -> anyhow::Result<()> {
    let started = Instant::now();
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .is_err()
    {
        ensure!(
            started.elapsed() < START_PATIENCE,
            "the node does not answer; see {}",
            log.display()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(())
}
