//! `cairn dead-letter`.

use clap::Subcommand;
use serde_json::Value;

use super::operate;
use crate::{
    cli::Common,
    exit::Exit,
    operations::{Inputs, Request},
    render::print_line,
};

/// What `cairn dead-letter` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum DeadLetterCommand {
    /// Lists what sources could not decode, oldest first
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Decodes letters again, as their files in dead-letters/ are now, and appends what fits
    Retry {
        /// The letters
        #[arg(value_name = "ID", required_unless_present = "all")]
        ids: Vec<String>,
        /// All letters
        #[arg(long, conflicts_with = "ids")]
        all: bool,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// `cairn dead-letter`.
pub(crate) async fn run(common: &Common, command: DeadLetterCommand) -> anyhow::Result<Exit> {
    match command {
        DeadLetterCommand::List { json } => {
            let letters = operate(common, Request::DeadLetterList, Inputs::default()).await?;
            print(
                &letters,
                json,
                &["id", "chain", "height", "reason"],
                "there are no dead letters",
            )?;
            Ok(Exit::Ok)
        }
        DeadLetterCommand::Retry { ids, all: _, json } => {
            let request = Request::DeadLetterRetry { ids };
            let outcomes = operate(common, request, Inputs::default()).await?;
            print(
                &outcomes,
                json,
                &["id", "detail"],
                "there are no dead letters",
            )?;
            let kept = entries(&outcomes)
                .iter()
                .any(|outcome| outcome["done"] != Value::Bool(true));
            Ok(if kept { Exit::Failed } else { Exit::Ok })
        }
    }
}

fn entries(list: &Value) -> &[Value] {
    list.as_array().map_or(&[], Vec::as_slice)
}

fn print(list: &Value, json: bool, fields: &[&str], none: &str) -> anyhow::Result<()> {
    if json {
        return Ok(print_line(&list.to_string())?);
    }
    if entries(list).is_empty() {
        print_line(none)?;
    }
    for entry in entries(list) {
        let field = |name: &&str| match &entry[*name] {
            Value::String(text) => text.clone(),
            Value::Null => "-".into(),
            other => other.to_string(),
        };
        print_line(&fields.iter().map(field).collect::<Vec<_>>().join("  "))?;
    }
    Ok(())
}
