//! SQL over Arrow Flight, on a port of its own.

use std::sync::Arc;

use anyhow::Context as _;
use cairn_api::{App, LakeArgs};
use cairn_domain::events::Tier;
use cairn_lake::flight;
use tokio::net::TcpListener;

use crate::{
    config::Config,
    exit::{Exit, Failure},
    http::stopped,
    node::Node,
};

/// Starts to answer, where the configuration names an address.
pub(crate) async fn start(
    node: &Node,
    config: &Config,
    lake: &LakeArgs,
    app: &Arc<App>,
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
    let app = Arc::clone(app);
    let access = Arc::new(move |token: Option<&str>| app.sees(token, Tier::Enterprise));
    let (engine, stop) = (Arc::clone(&lake.sql), node.stopping());
    tokio::spawn(async move {
        if let Err(error) = flight::serve(listener, engine, access, stopped(stop)).await {
            tracing::error!(%error, "Flight stopped");
        }
    });
    Ok(())
}
