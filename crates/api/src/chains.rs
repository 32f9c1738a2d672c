//! Which chains there are, and which one a request means.

use std::{
    collections::BTreeMap,
    iter,
    sync::{Arc, RwLock},
};

use cairn_domain::{Position, Stream, projections::blocks::ChainEndsRow};
use cairn_engine::store::{ReadView, StoreError};
use serde_json::json;

use crate::{
    app::App,
    error::{ApiError, ErrorCode},
    shard::Shard,
};

/// Every chain of a store with its ends, sorted by name.
type Chains = Arc<[(Stream, ChainEndsRow)]>;

/// The chains of a store, read once a position.
#[derive(Debug, Default)]
pub(crate) struct ChainList(RwLock<Option<(Position, Chains)>>);

impl ChainList {
    /// The chains as of the position of a latest view.
    pub(crate) fn of(&self, view: &ReadView) -> Result<Chains, StoreError> {
        let position = view.position();
        if let Some((read_at, chains)) = &*self.0.read().expect("no panic holds it")
            && *read_at == position
        {
            return Ok(Arc::clone(chains));
        }
        let chains: Chains = view.chains()?.into();
        *self.0.write().expect("no panic holds it") = Some((position, Arc::clone(&chains)));
        Ok(chains)
    }
}

/// A chain of one of the shards.
pub(crate) struct Chain {
    /// The shard that it belongs to.
    pub(crate) shard: Arc<Shard>,
    /// The latest view of that shard.
    pub(crate) latest: ReadView,
    /// Its name in the log.
    pub(crate) stream: Stream,
    /// Both ends as of the view; none while it is empty.
    pub(crate) ends: Option<ChainEndsRow>,
}

/// The chains of all shards as one list.
pub(crate) struct Merged {
    /// The chains by name, each of the shard that [`resolve`] finds it in.
    pub(crate) chains: BTreeMap<String, Chain>,
    /// What each shard was read as of.
    pub(crate) positions: Vec<Position>,
}

/// The chains of all shards, as of now.
pub(crate) fn merge(app: &App) -> Result<Merged, StoreError> {
    let (mut chains, mut positions) = (BTreeMap::new(), Vec::new());
    for shard in &app.shards {
        let latest = shard.store.view(None)?;
        positions.push(latest.position());
        for (stream, ends) in &*shard.chains.of(&latest)? {
            let Some(name) = stream.chain_name() else {
                continue;
            };
            let assigned = app.config.assigned.get(name);
            if assigned.is_some_and(|assigned| *assigned != shard.index) {
                continue;
            }
            chains.entry(name.to_owned()).or_insert_with(|| Chain {
                shard: Arc::clone(shard),
                latest: latest.clone(),
                stream: stream.clone(),
                ends: Some(ends.clone()),
            });
        }
    }
    Ok(Merged { chains, positions })
}

/// The chain that a request means, as of now: the one it names, else the configured one, else the
/// only one of all shards.
pub(crate) fn resolve(app: &App, named: Option<&str>) -> Result<Chain, ApiError> {
    if let Some(name) = named.or(app.config.default_chain.as_deref()) {
        return find(app, name);
    }
    let mut chains = merge(app)?.chains;
    match (chains.pop_first(), chains.is_empty()) {
        (Some((_, only)), true) => Ok(only),
        (None, _) => Err(ApiError::new(
            ErrorCode::UnknownChain,
            "no chain is indexed yet",
        )),
        (Some((first, _)), false) => {
            let names: Vec<_> = iter::once(first).chain(chains.into_keys()).collect();
            let message = format!("name a chain with `?chain=`: one of {}", names.join(", "));
            Err(ApiError::new(ErrorCode::ChainRequired, message).with(json!({"chains": names})))
        }
    }
}

/// A chain by name, of the shard that it is assigned to, else of the first that has it. One that is
/// configured but has no block yet is an empty chain.
fn find(app: &App, name: &str) -> Result<Chain, ApiError> {
    let assigned = app.config.assigned.get(name);
    let places = match assigned {
        Some(index) => &app.shards[*index..=*index],
        None => &app.shards[..],
    };
    let mut empty = None;
    for shard in places {
        let latest = shard.store.view(None)?;
        let chains = shard.chains.of(&latest)?;
        let known = chains
            .iter()
            .find(|(stream, _)| stream.chain_name() == Some(name));
        if let Some((stream, ends)) = known {
            return Ok(Chain {
                shard: Arc::clone(shard),
                latest,
                stream: stream.clone(),
                ends: Some(ends.clone()),
            });
        }
        empty = empty.or(Some((shard, latest)));
    }
    let configured = assigned.is_some()
        || app.config.default_chain.as_deref() == Some(name)
        || app.nodes.contains_key(name);
    match (empty, Stream::chain(name)) {
        (Some((shard, latest)), Ok(stream)) if configured => Ok(Chain {
            shard: Arc::clone(shard),
            latest,
            stream,
            ends: None,
        }),
        _ => {
            let known: Vec<_> = merge(app)?.chains.into_keys().collect();
            let message = format!("no chain `{name}`; there is: {}", known.join(", "));
            Err(ApiError::new(ErrorCode::UnknownChain, message).with(json!({"chains": known})))
        }
    }
}
