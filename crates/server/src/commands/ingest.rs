//! `cairn ingest`.

use std::path::PathBuf;

use cairn_domain::Stream;
use clap::Args;
use serde_json::Value;

use super::operate;
use crate::{
    cli::Common,
    exit::Exit,
    operations::{
        Inputs, Request,
        inputs::{Input, open_blocks, open_file},
    },
    render::print_line,
};

/// What `cairn ingest` takes.
#[derive(Debug, Args)]
pub(crate) struct IngestArgs {
    /// Lines of blocks as eth_getBlockByNumber answers them, plain, gzip or zstd; - is stdin
    #[arg(value_name = "PATH")]
    blocks: PathBuf,
    /// The chain's name in streams and in ?chain=
    #[arg(long, value_name = "NAME", value_parser = chain_name)]
    chain: String,
    /// Lines of {number, hash, receipts}, in the order of the blocks
    #[arg(long, value_name = "PATH", value_parser = receipts_path)]
    receipts: Option<PathBuf>,
    /// All of it is final: no reorganisation will ever touch it
    #[arg(long = "final")]
    is_final: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn chain_name(name: &str) -> Result<String, String> {
    Stream::chain(name)
        .map(|_| name.to_owned())
        .map_err(|error| error.to_string())
}

fn receipts_path(path: &str) -> Result<PathBuf, String> {
    match path {
        "-" => Err("receipts come from a file; only blocks can come from stdin".into()),
        path => Ok(path.into()),
    }
}

/// `cairn ingest`.
pub(crate) async fn ingest(common: &Common, args: IngestArgs) -> anyhow::Result<Exit> {
    let (name, size, blocks) = open_blocks(&args.blocks)?;
    let receipts = args.receipts.as_deref().map(open_file).transpose()?;
    let inputs = Inputs {
        blocks: Some(blocks),
        receipts: receipts.map(|(_, file)| Box::new(file) as Input),
    };
    let request = Request::Ingest {
        chain: args.chain,
        is_final: args.is_final,
        name,
        size,
    };
    let result = operate(common, request, inputs).await?;
    match args.json {
        true => print_line(&result.to_string())?,
        false => print_line(&sentence(&result))?,
    }
    Ok(Exit::Ok)
}

/// What an ingest did, for people.
pub(super) fn sentence(result: &Value) -> String {
    let duplicates = match result["duplicates"].as_u64() {
        None | Some(0) => String::new(),
        Some(count) => format!(", {count} were there already"),
    };
    format!(
        "{} blocks with {} transactions appended to chain {}{duplicates}; the log's head is {}",
        result["blocks"],
        result["transactions"],
        result["chain"].as_str().unwrap_or_default(),
        result["position"]
    )
}
