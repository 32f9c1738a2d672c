//! `cairn serve`.

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::{
    cli::Common,
    config::{Config, Flags},
    exit::Exit,
    logging,
    server::{Port, Server},
};

/// What `cairn serve` takes.
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where the HTTP API listens; beats `[server] listen`
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
}

/// `cairn serve`.
pub(crate) async fn serve(common: &Common, args: ServeArgs) -> anyhow::Result<Exit> {
    let config = Config::load(&Flags {
        listen: args.listen,
        ..common.flags()
    })?;
    logging::install(config.server.log_format, "info");
    let port = Port::bind(config.server.listen).await?;
    let server = Server::start(&config, port).await?;
    wait_for_signal().await?;
    tokio::select! {
        stopped = server.stop(config.server.shutdown_grace) => stopped.map(|()| Exit::Ok),
        // Who asks twice does not want to wait. Nothing is lost: the log is durable, the store recovers.
        asked_again = wait_for_signal() => asked_again.map(|()| Exit::Failed),
    }
}

/// Waits for SIGINT or SIGTERM.
pub(super) async fn wait_for_signal() -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
