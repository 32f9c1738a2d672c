//! Which chains there are, and which one a request means.

use std::sync::{Arc, RwLock};

use cairn_domain::{Position, Stream, projections::blocks::ChainEndsRow};
use cairn_engine::store::{ReadView, StoreError};
use serde_json::json;

use crate::{
    app::App,
    error::{ApiError, ErrorCode},
};

/// Every chain of the store with its ends, sorted by name.
type Chains = Arc<[(Stream, ChainEndsRow)]>;

/// The chains of the store, read once a position.
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

/// The chain that a request means, with its ends as of the view, a latest one: the chain it names,
/// else the configured one, else the only one.
pub(crate) fn resolve(
    app: &App,
    latest: &ReadView,
    named: Option<&str>,
) -> Result<(Stream, Option<ChainEndsRow>), ApiError> {
    let chains = app.chains.of(latest)?;
    match (named.or(app.config.default_chain.as_deref()), &*chains) {
        (Some(name), _) => find(app, &chains, name),
        (None, [(only, ends)]) => Ok((only.clone(), Some(ends.clone()))),
        (None, []) => Err(ApiError::new(
            ErrorCode::UnknownChain,
            "no chain is indexed yet",
        )),
        (None, _) => {
            let names = names(&chains);
            let message = format!("name a chain with `?chain=`: one of {}", names.join(", "));
            Err(ApiError::new(ErrorCode::ChainRequired, message).with(json!({"chains": names})))
        }
    }
}

fn names(chains: &[(Stream, ChainEndsRow)]) -> Vec<&str> {
    chains
        .iter()
        .filter_map(|(stream, _)| stream.chain_name())
        .collect()
}

/// A chain by name. One that is configured but has no block yet is an empty chain.
fn find(
    app: &App,
    chains: &[(Stream, ChainEndsRow)],
    name: &str,
) -> Result<(Stream, Option<ChainEndsRow>), ApiError> {
    let named = |(stream, _): &&(Stream, ChainEndsRow)| stream.chain_name() == Some(name);
    if let Some((stream, ends)) = chains.iter().find(named) {
        return Ok((stream.clone(), Some(ends.clone())));
    }
    let configured =
        app.config.default_chain.as_deref() == Some(name) || app.nodes.contains_key(name);
    match Stream::chain(name) {
        Ok(stream) if configured => Ok((stream, None)),
        _ => {
            let known = names(chains);
            let message = format!("no chain `{name}`; there is: {}", known.join(", "));
            Err(ApiError::new(ErrorCode::UnknownChain, message).with(json!({"chains": known})))
        }
    }
}
