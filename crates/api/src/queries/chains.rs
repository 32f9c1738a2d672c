//! The chains that are indexed.

use crate::{
    app::App,
    chains::{self, Merged},
    cursor::Cursor,
    models::{Chain, Chains},
};

/// All chains with their ends, as of when they were merged.
pub(crate) fn list(app: &App, merged: &Merged) -> Chains {
    let only = merged.chains.len() == 1;
    let chain = |(name, chain): (&String, &chains::Chain)| {
        let ends = chain.ends.as_ref()?;
        let default = match &app.config.default_chain {
            Some(default) => default == name,
            None => only,
        };
        Some(Chain {
            name: name.clone(),
            shard: app.is_sharded().then(|| chain.shard.name.clone()),
            default,
            first: ends.first.into(),
            head: ends.head.into(),
            finalized: ends.finalized.map(Into::into),
        })
    };
    Chains {
        chains: merged.chains.iter().filter_map(chain).collect(),
        cursor: Cursor::at(merged.positions.clone()).encode(&app.cursor_keys),
    }
}
