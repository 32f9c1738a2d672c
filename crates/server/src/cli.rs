//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::{
    commands,
    config::Flags,
    exit::EXIT_CODES,
    operations::{Operation, Request},
};

/// One log, every view: follows chains, appends what happened to one ordered log, and folds that
/// log into the views that explorers, partners and analysts read.
///
/// `cairn demo` shows it at work. `cairn serve` needs no configuration to start; `cairn config
/// default` prints every key with its meaning.
#[derive(Debug, Parser)]
#[command(name = "cairn", version, after_help = EXIT_CODES, max_term_width = 100)]
pub(crate) struct Cli {
    /// What every command takes.
    #[command(flatten)]
    pub(crate) common: Common,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// The config file (TOML). Without it the defaults hold
    #[arg(
        short = 'c',
        long,
        global = true,
        value_name = "FILE",
        env = "CAIRN_CONFIG"
    )]
    config: Option<PathBuf>,
    /// Where everything lives; beats `[data] dir`
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The shard that ingest, log, replay, verify or dead-letter is about, where there are several
    #[arg(long, global = true, value_name = "NAME")]
    shard: Option<String>,
}

impl Common {
    /// The settings among them.
    pub(crate) fn flags(&self) -> Flags {
        Flags {
            file: self.config.clone(),
            data_dir: self.data_dir.clone(),
            ..Flags::default()
        }
    }

    /// What to do, in the shard that was given.
    pub(crate) fn operation(&self, request: Request) -> Operation {
        Operation {
            shard: self.shard.clone(),
            request,
        }
    }

    /// The shard, if it was given.
    pub(crate) fn shard(&self) -> Option<&str> {
        self.shard.as_deref()
    }

    /// The data directory, if it was given.
    pub(crate) fn data_dir(&self) -> Option<&PathBuf> {
        self.data_dir.as_ref()
    }
}

/// What `cairn` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Shows Cairn at work: sample blocks, a real Ethereum node with traffic, the API to ask
    Demo(commands::demo::DemoArgs),
    /// Follows the configured sources and serves the API
    Serve(commands::serve::ServeArgs),
    /// Appends blocks of a chain from a file or from stdin
    Ingest(commands::ingest::IngestArgs),
    /// Looks at the log
    #[command(subcommand)]
    Log(commands::log::LogCommand),
    /// Final rows as Parquet files: how far they are, and making them anew
    #[command(subcommand)]
    Lake(commands::lake::LakeCommand),
    /// Writes rows of a dataset to a file
    Export(commands::export::ExportArgs),
    /// Answers a query over the datasets, final or not
    Sql(commands::sql::SqlArgs),
    /// Folds projections anew from the log, beside the live ones, and swaps them in
    Replay(commands::replay::ReplayArgs),
    /// Folds the log afresh and compares every table with the store
    Verify(commands::verify::VerifyArgs),
    /// What sources could not decode
    #[command(subcommand)]
    DeadLetter(commands::dead_letter::DeadLetterCommand),
    /// Partners: who they are, what they may use, and their keys
    #[command(subcommand)]
    Partner(commands::partner::PartnerCommand),
    /// Looks at the configuration
    #[command(subcommand)]
    Config(commands::config::ConfigCommand),
    /// Writes the files of `schemas/`: OpenAPI, JSON Schemas of events, tables, golden files
    Schemas(commands::schemas::SchemasArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_definition_of_the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_documented_command_parses_with_common_flags_on_either_side() {
        for line in [
            "cairn demo",
            "cairn serve -c cairn.toml --data-dir d --listen 127.0.0.1:0",
            "cairn --data-dir d ingest blocks.jsonl --chain eth --receipts r.jsonl --final",
            "cairn ingest - --chain eth",
            "cairn log stat --json --data-dir d",
            "cairn log tail -n 3 -f",
            "cairn log cat --from 3 --to 5",
            "cairn log verify",
            "cairn log copy --from embedded --to kafka",
            "cairn serve --roles query",
            "cairn lake stat --json",
            "cairn lake cut --chain eth",
            "cairn lake rebuild",
            "cairn export blocks --from 0 --to 9 --chain eth --format csv -o out",
            "cairn sql --format csv SELECT",
            "cairn verify --shard eth",
            "cairn replay --projection blocks --projection tokens",
            "cairn replay",
            "cairn verify --json",
            "cairn partner list --json",
            "cairn partner set-tier p enterprise",
            "cairn partner rotate p --grace 1h",
            "cairn partner revoke p --all",
            "cairn partner erase p --yes",
            "cairn dead-letter list",
            "cairn dead-letter retry --all",
            "cairn config check -c x.toml",
            "cairn config default",
            "cairn schemas --check",
        ] {
            assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
        }
    }

    #[test]
    fn what_makes_no_sense_is_a_usage_error() {
        for line in [
            "cairn",
            "cairn ingest blocks.jsonl",
            "cairn log cat --from x",
            "cairn log copy --from embedded",
            "cairn log copy --from embedded --to parchment",
            "cairn replay --projection nonsense",
            "cairn dead-letter retry",
            "cairn partner set-tier p gold",
            "cairn partner revoke p",
            "cairn partner suspend p",
            "cairn ingest - --chain eth --receipts -",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
