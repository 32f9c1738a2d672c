//! SQL over Arrow Flight, on a port of its own.

use std::sync::Arc;

use anyhow::Context as _;
use cairn_api::LakeArgs;
use cairn_domain::events::Visibility;
use cairn_lake::flight::{self, Access};
use tokio::net::TcpListener;

use crate::{
    config::{Config, Secret},
    exit::{Exit, Failure},
    http::stopped,
    node::Node,
};

/// Starts to answer, where the configuration names an address.
pub(crate) async fn start(
    node: &Node,
    config: &Config,
    lake: &LakeArgs,
    operator_key: &Secret,
) -> anyhow::Result<()> {
    let Some(address) = config.flight_listen else {
        return Ok(());
    };
    let listener = TcpListener::bind(address).await.map_err(|error| {
        let exit = match error.kind() {
            std::io::ErrorKind::AddrInUse => Exit::InUse,
            _ => Exit::Failed,
        };
        let message =
            format!("cannot listen on {address} ({error}): choose another `[flight] listen`");
        Failure::new(exit, message)
    })?;
    let address = listener
        .local_addr()
        .context("the address that was bound is unknown")?;
    tracing::info!(%address, "listening for Flight");
    let access = access(config.api.open_access, operator_key.clone());
    let (engine, stop) = (Arc::clone(&lake.sql), node.stopping());
    tokio::spawn(async move {
        if let Err(error) = flight::serve(listener, engine, access, stopped(stop)).await {
            tracing::error!(%error, "Flight stopped");
        }
    });
    Ok(())
}

/// The operator key sees all; without one, everybody sees what is public where that is open.
fn access(open: bool, operator_key: Secret) -> Access {
    Arc::new(move |token| {
        match token {
        // Hashes compare in constant time.
        Some(token) if blake3::hash(token.as_bytes()) == blake3::hash(operator_key.reveal().as_bytes()) => {
            Ok(Visibility::Operator)
        }
        Some(_) => Err("the token is none that this server knows".into()),
        None if open => Ok(Visibility::Public),
        None => Err("this needs the tier enterprise: show the operator key as a bearer token, or let the operator set `[api] open_access`".into()),
    }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operator_key_sees_all_and_nobody_else_sees_more_than_is_open() {
        let key = Secret::new("the key of operators");
        let (open, closed) = (access(true, key.clone()), access(false, key));
        for access in [&open, &closed] {
            assert_eq!(
                access(Some("the key of operators")),
                Ok(Visibility::Operator)
            );
            assert!(access(Some("another")).is_err());
        }
        assert_eq!(open(None), Ok(Visibility::Public));
        assert!(closed(None).is_err());
    }
}
