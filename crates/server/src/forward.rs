//! Commands that arrive at a node which does not write the log go to the one that does, and are
//! answered when this node has folded what they did (read your writes).

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::{
    config::{Config, Secret},
    node::{Shard, operator_key},
    operations::{Inputs, Message, Operation, Output, Request, fold},
    socket::{self, Place},
};

/// While one leader is gone and the next has not taken over, a command waits.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(250);

/// What other nodes want to see of this one.
#[derive(Clone)]
pub(crate) struct Peers {
    key: Secret,
}

impl Peers {
    /// Reads the operator key, or makes it.
    pub(crate) fn new(config: &Config) -> anyhow::Result<Self> {
        let key = match config.data.dir.is_dir() {
            true => operator_key(&config.server, &config.data.dir)?,
            false => config.server.operator_key.clone(),
        };
        Ok(Self { key })
    }

    /// The key that a request from another node must show.
    pub(crate) fn key(&self) -> &Secret {
        &self.key
    }
}

/// Where the node that writes a shard's log takes commands, if it answers there.
pub(crate) async fn leader(shard: &Shard) -> Option<String> {
    let epoch = shard.log().ok()?.epoch().borrow().clone()?;
    let address = epoch
        .address
        .filter(|address| address.starts_with("http://"))?;
    let authority = address
        .trim_start_matches("http://")
        .split('/')
        .next()?
        .to_owned();
    let connected = tokio::time::timeout(Duration::from_secs(2), TcpStream::connect(&authority));
    matches!(connected.await, Ok(Ok(_))).then_some(authority)
}

/// Has the leader do it, then waits until this node has folded all of the log.
pub(crate) async fn forward(
    shard: &Shard,
    peers: &Peers,
    request: Request,
    inputs: Inputs,
    output: &Output,
) -> anyhow::Result<Value> {
    let authority = wait_for_leader(shard).await?;
    tracing::debug!(leader = authority, "a command is handed on");
    let place = Place::Peer {
        authority: authority.clone(),
        key: peers.key.clone(),
    };
    let operation = Operation {
        shard: Some(shard.name.clone()),
        request,
    };
    let leader = socket::connect_to(place).await?;
    let leader = leader.with_context(|| format!("the leader at {authority} does not answer"))?;
    let mut messages = leader.perform(&operation, inputs).await?;
    while let Some(message) = messages.recv().await {
        match message {
            Message::Done(result) => {
                shard.log()?.caught_up().await?;
                fold(shard, output).await?;
                return Ok(result);
            }
            Message::Failed { exit, message } => {
                return Err(crate::exit::Failure::new(exit, message).into());
            }
            Message::Progress {
                doing,
                at,
                total,
                unit,
            } => output.progress(&doing, at, total, unit),
            Message::Line(line) => output.line(line).await?,
        }
    }
    bail!("the leader at {authority} ended without a word; see its log and try again")
}

async fn wait_for_leader(shard: &Shard) -> anyhow::Result<String> {
    let started = Instant::now();
    loop {
        if let Some(leader) = leader(shard).await {
            return Ok(leader);
        }
        if started.elapsed() > PATIENCE {
            bail!(
                "no node that writes shard {} answers: start one with the role `ingest`, or see `[server] advertise` of the one that runs",
                shard.name
            );
        }
        tokio::time::sleep(PAUSE).await;
    }
}
