//! `cairn serve`.

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

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
    /// What this process does: ingest, query, lake, or several of them, parted by commas; beats `[server] roles`
    #[arg(long, value_name = "ROLES")]
    roles: Option<String>,
}

/// `cairn serve`.
pub(crate) async fn serve(common: &Common, args: ServeArgs) -> anyhow::Result<Exit> {
    let config = Config::load(&Flags {
        listen: args.listen,
        roles: args.roles,
        ..common.flags()
    })?;
    logging::install(config.server.log_format, "info");
    // Before anything answers: whoever sees an answer may ask to stop.
    let mut signals = Signals::install()?;
    let port = Port::bind(config.server.listen).await?;
    let server = Server::start(&config, port).await?;
    signals.next().await;
    tokio::select! {
        stopped = server.stop(config.server.shutdown_grace) => stopped.map(|()| Exit::Ok),
        // Who asks twice does not want to wait. Nothing is lost: the log is durable, the store recovers.
        () = signals.next() => Ok(Exit::Failed),
    }
}

/// SIGINT and SIGTERM, caught from the moment it is made.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Catches them from now on.
    pub(super) fn install() -> anyhow::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Waits for the next one.
    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
