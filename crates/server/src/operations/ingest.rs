//! Appends blocks of a chain from a file or a stream.

use anyhow::Context as _;
use cairn_engine::{
    log::wait_for,
    sources::{
        ChainWriter,
        file::{self, FileInput, FileOptions, FileProgress, Finality},
    },
};
use serde_json::{Value, json};

use super::{Inputs, Output, Unit};
use crate::node::Shard;

/// How to take the blocks in.
pub(super) struct IngestArgs {
    /// The chain's name.
    pub(super) chain: String,
    /// Whether all of it is final.
    pub(super) is_final: bool,
    /// What the blocks are called in messages.
    pub(super) name: String,
    /// Bytes of the blocks' input, if that is known.
    pub(super) size: Option<u64>,
}

/// Appends all blocks, and waits until they can be queried.
pub(super) async fn ingest(
    shard: &Shard,
    inputs: Inputs,
    args: IngestArgs,
    output: &Output,
) -> anyhow::Result<Value> {
    let _claim = shard.claim_chain(&args.chain).with_context(|| {
        let chain = &args.chain;
        format!("chain {chain} is being written by a source or another ingest: wait for it, or use another --chain")
    })?;
    let blocks = inputs.blocks.context("there is nothing to ingest")?;
    let mut input = FileInput::new(args.name.clone(), blocks);
    if let Some(receipts) = inputs.receipts {
        input = input.with_receipts(format!("the receipts of {}", args.name), receipts);
    }
    let mut options = FileOptions::default();
    if args.is_final {
        options.finality = Finality::All;
    }
    let mut chain = ChainWriter::open(&args.chain, &shard.source_context()?).await?;
    let progress = |progress: FileProgress, _head| {
        output.progress("ingesting", progress.bytes, args.size, Unit::Bytes);
    };
    let report = file::ingest(input, &mut chain, &options, progress).await?;
    fold(shard, output).await?;
    Ok(json!({
        "chain": args.chain,
        "blocks": report.blocks,
        "transactions": report.transactions,
        "duplicates": report.duplicates,
        "head": report.head,
        "position": *shard.log()?.head().borrow(),
    }))
}

/// Waits until everything in the log can be queried.
pub(crate) async fn fold(shard: &Shard, output: &Output) -> anyhow::Result<()> {
    const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(100);
    let head = *shard.log()?.head().borrow();
    let mut position = shard.store()?.position();
    while !wait_for(&mut position, head, LOOK_EVERY).await {
        shard.check_fold()?;
        let at = position.borrow().0;
        output.progress("folding", at, Some(head.0), Unit::Commits);
    }
    Ok(())
}
