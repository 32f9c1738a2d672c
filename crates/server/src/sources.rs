//! From configured sources to running ones.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context as _;
use cairn_engine::sources::{self, DeepReorg, NodeState, SourceConfig, SourceKind as EngineKind};
use tokio::task::JoinSet;

use crate::{
    config::{Endpoint, OnDeepReorg, Source, SourceKind},
    node::Shard,
};

/// A source as the engine wants it.
fn engine_config(source: &Source) -> SourceConfig {
    let mut config = match &source.kind {
        SourceKind::EvmRpc(node) => SourceConfig {
            url: Some(node.url.reveal().to_owned()),
            ws: node.ws.as_ref().map(Endpoint::reveal).map(str::to_owned),
            start: node.start,
            receipts: node.receipts,
            poll_interval: node.poll_interval,
            on_deep_reorg: match node.on_deep_reorg {
                OnDeepReorg::Halt => DeepReorg::Halt,
                OnDeepReorg::Reset => DeepReorg::Reset,
            },
            ..SourceConfig::new(&source.name, EngineKind::EvmRpc)
        },
        SourceKind::File {
            path,
            receipts_path,
        } => SourceConfig {
            path: Some(path.clone()),
            receipts_path: receipts_path.clone(),
            ..SourceConfig::new(&source.name, EngineKind::File)
        },
    };
    config.finality_depth = source.finality_depth;
    config
}

/// What the nodes of the sources say, by chain.
pub(crate) fn node_states(
    sources: &[Source],
) -> anyhow::Result<BTreeMap<String, Arc<dyn NodeState>>> {
    let mut nodes = BTreeMap::new();
    for source in sources {
        let state = sources::node_state(&engine_config(source));
        let state = state.with_context(|| format!("source {} cannot be used", source.name))?;
        nodes.extend(state.map(|state| (source.name.clone(), state)));
    }
    Ok(nodes)
}

/// Starts all sources. One that fails says so in its health, and the others go on.
pub(crate) fn start(shard: &Shard, sources: &[Source]) -> anyhow::Result<JoinSet<()>> {
    let mut running = JoinSet::new();
    for source in sources {
        let claim = shard.claim_chain(&source.name);
        let claim = claim.with_context(|| {
            format!(
                "chain {} is being written by an ingest: it is waited for",
                source.name
            )
        })?;
        let (config, context, stopping) = (
            engine_config(source),
            shard.source_context()?,
            shard.stopping(),
        );
        running.spawn(async move {
            let _claim = claim;
            // The engine has logged the error and shows it in the source's health.
            let _shown = sources::run(config, context, stopping).await;
        });
    }
    Ok(running)
}

/// The name under which a source shows how far it is.
pub(crate) fn component(source: &Source) -> String {
    format!("source/{}", source.name)
}
