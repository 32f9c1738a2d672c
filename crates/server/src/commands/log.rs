//! `cairn log`.

use anyhow::Context as _;
use cairn_engine::log::{LogReport, LogStat};
use clap::Subcommand;

use super::operate;
use crate::{
    cli::Common,
    config::units::show_size,
    exit::Exit,
    operations::{Inputs, Request},
    render::print_line,
};

/// What `cairn log` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// How long the log is and who writes it
    Stat {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Prints the events of the last commits, a JSON object a line
    Tail {
        /// How many commits
        #[arg(short = 'n', long, default_value_t = 10)]
        commits: u64,
        /// Go on with what is appended from now on; beside a running server
        #[arg(short, long)]
        follow: bool,
    },
    /// Prints the events of commits, a JSON object a line; raw bytes where a record is unknown
    Cat {
        /// The first position
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// The last position; the head if left out
        #[arg(long)]
        to: Option<u64>,
    },
    /// Reads every byte: checksums, gaps, frames, bodies
    Verify {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Moves the log from one kind to the other, both as `[log]` and `[kafka]` name them
    Copy(super::copy::CopyArgs),
}

/// `cairn log`.
pub(crate) async fn run(common: &Common, command: LogCommand) -> anyhow::Result<Exit> {
    match command {
        LogCommand::Stat { json } => stat(common, json).await,
        LogCommand::Tail { commits, follow } => {
            operate(
                common,
                Request::LogTail { commits, follow },
                Inputs::default(),
            )
            .await?;
            Ok(Exit::Ok)
        }
        LogCommand::Cat { from, to } => {
            operate(common, Request::LogCat { from, to }, Inputs::default()).await?;
            Ok(Exit::Ok)
        }
        LogCommand::Verify { json } => verify(common, json).await,
        LogCommand::Copy(args) => super::copy::copy(common, args).await,
    }
}

async fn stat(common: &Common, json: bool) -> anyhow::Result<Exit> {
    let result = operate(common, Request::LogStat, Inputs::default()).await?;
    if json {
        print_line(&result.to_string())?;
        return Ok(Exit::Ok);
    }
    let stat: LogStat =
        serde_json::from_value(result).context("the server speaks another version")?;
    for (name, value) in rows(&stat) {
        print_line(&format!("{name:<10} {value}"))?;
    }
    Ok(Exit::Ok)
}

/// What is known of a log, for people.
fn rows(stat: &LogStat) -> Vec<(&'static str, String)> {
    let mut rows = vec![
        ("id", stat.id.to_string()),
        ("kind", stat.kind.clone()),
        ("place", stat.place.clone()),
        ("health", stat.health.clone()),
        ("head", stat.head.to_string()),
        ("lag", format!("{} records not read yet", stat.lag)),
        ("retention", stat.retention.clone()),
        (
            if stat.kind == "kafka" {
                "index"
            } else {
                "bytes"
            },
            format!("{} on this machine", show_size(stat.bytes)),
        ),
        ("epochs", stat.epochs.to_string()),
    ];
    match &stat.epoch {
        None => rows.push(("epoch", "none; nothing was written yet".into())),
        Some(epoch) => {
            let address = epoch.address.as_deref().unwrap_or("no address");
            let began = format!("{} after position {}", epoch.epoch, epoch.after);
            rows.push(("epoch", began));
            rows.push(("writer", format!("{} at {address}", epoch.writer)));
        }
    }
    if stat.passed_over > 0 {
        let passed_over = format!(
            "{} records that do not count, since the start",
            stat.passed_over
        );
        rows.push(("passed", passed_over));
    }
    rows
}

async fn verify(common: &Common, json: bool) -> anyhow::Result<Exit> {
    let result = operate(common, Request::LogVerify, Inputs::default()).await?;
    let report: LogReport =
        serde_json::from_value(result.clone()).context("the server speaks another version")?;
    if json {
        print_line(&result.to_string())?;
    } else {
        print_line(&format!(
            "{} commits with {} events",
            report.commits, report.events
        ))?;
        for problem in &report.problems {
            print_line(&format!("problem: {problem}"))?;
        }
        print_line(if report.problems.is_empty() {
            "the log is whole"
        } else {
            "the log is damaged"
        })?;
    }
    Ok(if report.problems.is_empty() {
        Exit::Ok
    } else {
        Exit::Differs
    })
}
