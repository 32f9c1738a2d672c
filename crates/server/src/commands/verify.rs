//! `cairn verify`.

use anyhow::Context as _;
use cairn_engine::runner::{TableReport, VerifyReport};
use clap::Args;

use super::operate;
use crate::{
    cli::Common,
    exit::Exit,
    operations::{Inputs, Request},
    render::print_line,
};

/// What `cairn verify` takes.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `cairn verify`.
pub(crate) async fn verify(common: &Common, args: VerifyArgs) -> anyhow::Result<Exit> {
    let result = operate(common, Request::Verify, Inputs::default()).await?;
    let report: VerifyReport =
        serde_json::from_value(result.clone()).context("the server speaks another version")?;
    match args.json {
        true => print_line(&result.to_string())?,
        false => show(&report)?,
    }
    Ok(if report.is_clean() {
        Exit::Ok
    } else {
        Exit::Differs
    })
}

fn show(report: &VerifyReport) -> anyhow::Result<()> {
    for table in &report.tables {
        print_line(&row(table))?;
    }
    for (projection, reason) in &report.skipped {
        print_line(&format!(
            "projection {projection} was not compared: {reason}"
        ))?;
    }
    match (report.is_clean(), report.first_difference()) {
        (true, _) => print_line(&format!(
            "the store equals a fresh fold at position {}",
            report.position
        ))?,
        (false, Some(at)) => print_line(&format!(
            "the store differs from a fresh fold since position {at}: see `cairn log cat --from {at} --to {at}`, \
             mend the store with `cairn replay`, and report this"
        ))?,
        (false, None) => {
            print_line(
                "the store differs from a fresh fold: mend it with `cairn replay`, and report this",
            )?;
        }
    }
    Ok(())
}

fn row(table: &TableReport) -> String {
    let (stored, fresh) = (&table.stored, &table.fresh);
    let digest = stored.digest.get(..16).unwrap_or(&stored.digest);
    match (table.is_clean(), table.first_difference) {
        (true, _) => format!(
            "{:<24} {:>10} rows  {digest}  equal",
            stored.table, stored.rows
        ),
        (false, at) => format!(
            "{:<24} {:>10} rows  {digest}  DIFFERS: a fresh fold gives {} rows{}",
            stored.table,
            stored.rows,
            fresh.rows,
            at.map(|at| format!(", first at position {at}"))
                .unwrap_or_default()
        ),
    }
}
