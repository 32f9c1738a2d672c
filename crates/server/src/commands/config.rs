//! `cairn config`.

use clap::Subcommand;

use crate::{
    cli::Common,
    config::{Config, DEFAULT, LogKind, SourceKind},
    exit::Exit,
    node::address_of,
    render::print_line,
};

/// What `cairn config` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Validates the file of -c with the environment over it; reports all problems at once
    Check,
    /// Prints every key with its default and its meaning
    Default,
}

/// `cairn config`.
pub(crate) fn run(common: &Common, command: &ConfigCommand) -> anyhow::Result<Exit> {
    match command {
        ConfigCommand::Check => check(&Config::load(&common.flags())?)?,
        ConfigCommand::Default => print_line(DEFAULT.trim_end())?,
    }
    Ok(Exit::Ok)
}

fn log_place(config: &Config) -> String {
    let shards = config.log.shards.join(", ");
    match config.log.kind {
        LogKind::Embedded => format!("the log is in the data directory; shards: {shards}"),
        LogKind::Kafka => {
            let kafka = &config.log.kafka;
            format!(
                "the log is topic {} at {}; shards: {shards}",
                kafka.topic, kafka.brokers
            )
        }
    }
}

/// What other nodes of a deployment must know of this one.
fn deployment(config: &Config) -> Vec<String> {
    let server = &config.server;
    if config.log.kind == LogKind::Embedded {
        return Vec::new();
    }
    let reached = address_of(server, server.listen);
    let key = match server.operator_key.reveal().is_empty() {
        true => {
            "made at the first start: give the others the one in operator.key of the data directory"
        }
        false => "configured",
    };
    vec![
        format!("other nodes reach it at {reached} ([server] advertise)"),
        format!("the operator key of the deployment is {key}"),
    ]
}

fn check(config: &Config) -> anyhow::Result<()> {
    print_line(&format!("listens on {}", config.server.listen))?;
    print_line(&format!("data in {}", config.data.dir.display()))?;
    print_line(&log_place(config))?;
    for line in deployment(config) {
        print_line(&line)?;
    }
    for source in &config.sources {
        let place = match &source.kind {
            SourceKind::EvmRpc(node) => format!("the node at {}", node.url),
            SourceKind::File { path, .. } => format!("the file {}", path.display()),
        };
        print_line(&format!("follows {} from {place}", source.name))?;
    }
    print_line("the configuration is valid")?;
    Ok(())
}
