//! `cairn config`.

use clap::Subcommand;

use crate::{
    cli::Common,
    config::{Config, DEFAULT, SourceKind},
    exit::Exit,
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

fn check(config: &Config) -> anyhow::Result<()> {
    print_line(&format!("listens on {}", config.server.listen))?;
    print_line(&format!("data in {}", config.data.dir.display()))?;
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
