//! `cairn export`.

use std::path::PathBuf;

use anyhow::Context as _;
use cairn_domain::{
    Address,
    events::{ExportCompression, ExportFormat, ExportRequested},
};
use cairn_lake::queries;
use clap::Args;

use super::operate;
use crate::{
    cli::Common,
    config::units::show_size,
    exit::Exit,
    operations::{Inputs, Request},
    render::print_line,
};

/// What `cairn export` takes.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// blocks, transactions, logs, token_transfers or withdrawals
    dataset: String,
    /// The first height
    #[arg(long, value_name = "HEIGHT")]
    from: u64,
    /// The last height, included
    #[arg(long, value_name = "HEIGHT")]
    to: u64,
    /// The chain; the only one where it is left out
    #[arg(long, value_name = "NAME")]
    chain: Option<String>,
    /// json (an array), ndjson, csv, parquet or arrow
    #[arg(long, default_value = "parquet")]
    format: ExportFormat,
    /// none, gzip or zstd; Parquet is compressed inside
    #[arg(long, default_value = "none")]
    compression: ExportCompression,
    /// Only what this account sent or received
    #[arg(long, value_name = "ADDRESS")]
    address: Option<Address>,
    /// Leave out what is not final yet; otherwise the column `final` tells
    #[arg(long)]
    final_only: bool,
    /// The directory of the file
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    output: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// `cairn export`.
pub(crate) async fn export(common: &Common, args: ExportArgs) -> anyhow::Result<Exit> {
    let request = ExportRequested {
        id: String::new(),
        owner: None,
        dataset: args.dataset,
        // The server knows which one there is.
        chain: args.chain.unwrap_or_default(),
        from: args.from,
        to: args.to,
        address: args.address,
        final_only: args.final_only,
        format: args.format,
        compression: args.compression,
    };
    queries(&request)?;
    anyhow::ensure!(
        request.from <= request.to,
        "--to is below --from: swap them"
    );
    let directory = std::fs::create_dir_all(&args.output).and_then(|()| args.output.canonicalize());
    let directory = directory.with_context(|| {
        format!(
            "cannot write to {}: name a directory that you may write",
            args.output.display()
        )
    })?;
    let operation = Request::Export {
        request: Box::new(request),
        directory,
    };
    let result = operate(common, operation, Inputs::default()).await?;
    if args.json {
        print_line(&result.to_string())?;
        return Ok(Exit::Ok);
    }
    print_line(&format!(
        "{} rows, {}: {}",
        result["rows"],
        show_size(result["bytes"].as_u64().unwrap_or(0)),
        result["path"].as_str().unwrap_or_default()
    ))?;
    Ok(Exit::Ok)
}
