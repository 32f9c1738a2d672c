//! The chains that are indexed.

use cairn_engine::store::ReadView;

use crate::{
    app::App,
    cursor::Cursor,
    error::ApiError,
    models::{Chain, Chains},
};

/// All chains with their ends, as of a view.
pub(crate) fn list(app: &App, view: &ReadView) -> Result<Chains, ApiError> {
    let streams = app.chains.of(view)?;
    let mut chains = Vec::with_capacity(streams.len());
    for (stream, ends) in &*streams {
        let Some(name) = stream.chain_name() else {
            continue;
        };
        let default = match &app.config.default_chain {
            Some(default) => default == name,
            None => streams.len() == 1,
        };
        chains.push(Chain {
            name: name.to_owned(),
            default,
            first: ends.first.into(),
            head: ends.head.into(),
            finalized: ends.finalized.map(Into::into),
        });
    }
    Ok(Chains {
        chains,
        cursor: Cursor::at(view.position()).encode(&app.cursor_key),
    })
}
