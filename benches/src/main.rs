//! Measures Cairn beside its limits and its peers, in the same run, and prints a table.
//!
//! Every figure is the median of several runs and stands beside a limit: plain RocksDB writing as
//! much, or the bare route of the same server. Absolute figures are of the machine; read the
//! ratios. `make bench` runs all of it; `cairn-bench append rest` runs some.

use std::{fs, path::PathBuf};

use anyhow::Context;
use clap::Parser;

mod append;
mod chain;
mod fold;
mod ingest;
mod kafka;
mod lake;
mod process;
mod reorg;
mod report;
mod rest;
mod rpc;
mod startup;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What to measure, and with what.
#[derive(Debug, Parser)]
struct Args {
    /// append, fold, ingest, kafka, lake, rest, startup, rpc, peers, reorg; none: all.
    sections: Vec<String>,
    /// The `cairn` binary.
    #[arg(long, default_value = "target/release/cairn")]
    cairn: PathBuf,
    /// Recorded blocks and receipts; `samples` where it is not there.
    #[arg(long, default_value = "../shared/data/evm-anvil-replay-1000")]
    data: PathBuf,
    /// The replay server and its data's parent.
    #[arg(long, default_value = "../shared")]
    shared: PathBuf,
    /// Runs of each measurement; the median counts.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Transactions of the large stores.
    #[arg(long, value_delimiter = ',', default_value = "1000000,5000000")]
    sizes: Vec<u64>,
    /// Where stores are made; emptied.
    #[arg(long, default_value = "target/bench")]
    scratch: PathBuf,
    /// Where the figures go as JSON.
    #[arg(long, default_value = "target/bench.json")]
    out: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let mut args = Args::parse();
    if !args.data.join("blocks.jsonl.zst").exists() {
        println!(
            "{} is not there: measuring on samples/",
            args.data.display()
        );
        args.data = "samples".into();
    }
    fs::create_dir_all(&args.scratch).context("making the scratch directory")?;
    let wanted = |name: &str| {
        args.sections.is_empty() || args.sections.iter().any(|section| section == name)
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let mut report = report::Report::default();
    if wanted("append") {
        runtime.block_on(append::measure(&args, &mut report))?;
    }
    if wanted("fold") {
        runtime.block_on(fold::measure(&args, &mut report))?;
    }
    if wanted("ingest") {
        ingest::measure(&args, &mut report)?;
    }
    if wanted("kafka") {
        runtime.block_on(kafka::measure(&args, &mut report))?;
    }
    if wanted("lake") {
        runtime.block_on(lake::measure(&args, &mut report))?;
    }
    if wanted("rpc") || wanted("peers") {
        rpc::measure(&args, wanted("rpc"), wanted("peers"), &mut report)?;
    }
    if wanted("reorg") {
        reorg::measure(&args, &mut report)?;
    }
    if wanted("startup") || wanted("rest") {
        runtime.block_on(startup::measure(&args, wanted("rest"), &mut report))?;
    }
    report.print();
    report.write(&args.out)
}
