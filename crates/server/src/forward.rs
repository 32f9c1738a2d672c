//! Commands that arrive at a node which does not write the log go to the one that does, and are
//! answered when this node has folded what they did (read your writes).

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use cairn_engine::{
    clock::now_millis,
    log::{Condition, LogError},
};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::{
    config::{Config, Secret},
    exit::Failure,
    node::{Shard, kept_operator_key},
    operations::{Inputs, Message, Operation, Output, Request, fold},
    socket::{self, Place},
};

/// While one leader is gone and the next has not taken over, a command waits.
const PATIENCE: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_millis(250);

/// Before the proof in a request from another node.
const SCHEME: &str = "Cairn ";
const CONTEXT: &str = "cairn 2026 request of a peer v1";
/// Clocks of nodes may differ by so much.
const PROOF_LIFE: Duration = Duration::from_secs(60);

/// What other nodes want to see of this one.
#[derive(Clone)]
pub(crate) struct Peers {
    key: Secret,
}

impl Peers {
    /// With this key.
    pub(crate) fn new(key: Secret) -> Self {
        Self { key }
    }

    /// With the key of a deployment, for a command, which makes none.
    pub(crate) fn of_command(config: &Config) -> anyhow::Result<Self> {
        Ok(Self::new(kept_operator_key(
            &config.server,
            &config.data.dir,
        )?))
    }

    /// What a request to a path proves the key with, without showing it: good for a minute.
    pub(crate) fn sign(&self, path: &str, what: &[u8]) -> String {
        let now = now_millis();
        format!("{SCHEME}{now} {}", self.mac(now, path, what))
    }

    /// Whether a request proves the key.
    pub(crate) fn proves(&self, proof: &str, path: &str, what: &[u8]) -> bool {
        let parts = proof
            .strip_prefix(SCHEME)
            .and_then(|rest| rest.split_once(' '));
        let Some((time, mac)) = parts.and_then(|(time, mac)| Some((time.parse().ok()?, mac)))
        else {
            return false;
        };
        let fresh = now_millis().abs_diff(time) <= PROOF_LIFE.as_millis() as u64;
        let given = blake3::Hash::from_hex(mac);
        // Hashes compare in constant time.
        fresh
            && !self.key.reveal().is_empty()
            && given.is_ok_and(|given| given == self.mac(time, path, what))
    }

    fn mac(&self, time: u64, path: &str, what: &[u8]) -> blake3::Hash {
        let key = blake3::derive_key(CONTEXT, self.key.reveal().as_bytes());
        let mut hasher = blake3::Hasher::new_keyed(&key);
        hasher.update(format!("{time}\n{path}\n").as_bytes());
        hasher.update(what).finalize()
    }
}

/// Where the node that writes a shard's log says that it takes commands.
fn address(shard: &Shard) -> Option<String> {
    let epoch = shard.log().ok()?.epoch().borrow().clone()?;
    let address = epoch
        .address
        .filter(|address| address.starts_with("http://"))?;
    let authority = address.trim_start_matches("http://").split('/').next()?;
    Some(match authority.rsplit_once(':') {
        Some((_, port)) if !port.ends_with(']') => authority.to_owned(),
        _ => format!("{authority}:80"),
    })
}

/// The same, if anything answers there.
pub(crate) async fn leader(shard: &Shard) -> Option<String> {
    let authority = address(shard)?;
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
    let leader = wait_for_leader(shard, peers).await?;
    let mut epochs = shard.log()?.epoch();
    epochs.mark_unchanged();
    let operation = Operation {
        shard: Some(shard.name.clone()),
        request,
    };
    // A leader that sleeps would never answer; what it did already is found when it is done again.
    let result = tokio::select! {
        result = exchange(&leader, &operation, inputs, output) => result?,
        _ = epochs.changed() => bail!("another node took over while {leader} was at it: do it again, what is there already is found"),
    };
    shard.log()?.caught_up().await?;
    fold(shard, output).await?;
    Ok(result)
}

async fn exchange(
    place: &Place,
    operation: &Operation,
    inputs: Inputs,
    output: &Output,
) -> anyhow::Result<Value> {
    tracing::debug!(leader = %place, "a command is handed on");
    let leader = socket::connect_to(place.clone()).await?;
    let leader = leader.with_context(|| format!("{place} does not answer"))?;
    let mut messages = leader.perform(operation, inputs).await?;
    while let Some(message) = messages.recv().await {
        match message {
            Message::Done(result) => return Ok(result),
            Message::Failed { exit, message } => return Err(Failure::new(exit, message).into()),
            Message::Progress {
                doing,
                at,
                total,
                unit,
            } => output.progress(&doing, at, total, unit),
            Message::Line(line) => output.line(line).await?,
        }
    }
    bail!("{place} ended without a word; see its log and try again")
}

/// Waits until the node that wrote last, or the next one, says that it writes.
async fn wait_for_leader(shard: &Shard, peers: &Peers) -> anyhow::Result<Place> {
    let started = Instant::now();
    loop {
        let trouble = match address(shard) {
            None => "no node has taken it over yet".to_owned(),
            Some(authority) => {
                let peers = peers.clone();
                let place = Place::Peer { authority, peers };
                match socket::leads(&place, &shard.name).await {
                    Ok(true) => return Ok(place),
                    Ok(false) => format!("{place} wrote it last and does not write it now"),
                    Err(error) => format!("{place} wrote it last and does not answer ({error:#})"),
                }
            }
        };
        check_open(shard)?;
        if started.elapsed() > PATIENCE {
            bail!(
                "nobody writes shard {}: {trouble}{}",
                shard.name,
                waiting(shard)
            );
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// A log that is closed has no writer and will have none.
fn check_open(shard: &Shard) -> anyhow::Result<()> {
    let epoch = shard.log()?.epoch().borrow().clone();
    match epoch.and_then(|epoch| epoch.closed) {
        Some(reason) => Err(LogError::Sealed(reason).into()),
        None => Ok(()),
    }
}

/// What the log itself waits for, and the way out.
fn waiting(shard: &Shard) -> String {
    match shard.log().map(|log| log.condition()) {
        Ok(Condition::Waiting { reason, .. } | Condition::Broken(reason)) => format!("; {reason}"),
        Ok(Condition::Well { .. }) | Err(_) => {
            "; start a node with the role `ingest`, or correct `[server] advertise` of the one that runs".into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_of_one_key_one_path_and_one_request_and_ends() {
        let peers = Peers::new(Secret::new("the key of a deployment"));
        let proof = peers.sign("/v1/operations", b"{}");
        assert!(!proof.contains("deployment"), "{proof}");
        assert!(peers.proves(&proof, "/v1/operations", b"{}"));
        assert!(!peers.proves(&proof, "/v1/operations", b"{\"a\":1}"));
        assert!(!peers.proves(&proof, "/v1/receipts/x", b"{}"));
        let other = Peers::new(Secret::new("the key of another one"));
        assert!(!other.proves(&proof, "/v1/operations", b"{}"));
        let old = now_millis() - 61_000;
        let stale = format!("{SCHEME}{old} {}", peers.mac(old, "/v1/operations", b"{}"));
        assert!(!peers.proves(&stale, "/v1/operations", b"{}"));
        for bad in [
            "",
            "Cairn",
            "Cairn 1",
            "Cairn x y",
            "Bearer the key of a deployment",
        ] {
            assert!(!peers.proves(bad, "/v1/operations", b"{}"), "{bad}");
        }
        let none = Peers::new(Secret::default());
        assert!(
            !none.proves(&none.sign("/a", b""), "/a", b""),
            "no key proves nothing"
        );
    }
}
