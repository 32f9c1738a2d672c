//! (g) Ingest over JSON-RPC from an in-memory node to queryable and durable, beside the peers.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Context;
use serde_json::Value;

use crate::{
    Args,
    process::{Guarded, follow, resident_mib, start, wait_until},
    report::{Report, median},
};

/// Heights 1 to this one, 25 transactions each.
const BLOCKS: u64 = 4000;
/// Heights of the run in which memory is watched.
const LONG: u64 = 40_000;
const NODE: &str = "127.0.0.1:18745";
const SERVER: &str = "127.0.0.1:18746";

pub(crate) fn measure(
    args: &Args,
    ours: bool,
    peers: bool,
    report: &mut Report,
) -> anyhow::Result<()> {
    let script = args.shared.join("tools/replay-rpc.mjs");
    if !script.exists() {
        println!("(g) left out: {} is not there", script.display());
        return Ok(());
    }
    let mut rate = f64::NAN;
    if ours {
        let _node = node(&script, &args.data, BLOCKS)?;
        let rates = (0..args.runs).map(|_| Ok(cairn(args, BLOCKS)?.0));
        rate = median(rates.collect::<anyhow::Result<_>>()?);
        report.figure(
            "(g) ingest over JSON-RPC to queryable, durable",
            rate,
            "tx/s",
        );
    }
    if ours {
        memory(args, &script, report)?;
    }
    if peers && !ours {
        println!("(g) peers stand beside our own figure: run `rpc peers`");
    } else if peers {
        for peer in ["cryo", "subsquid"] {
            let rates = (0..args.runs)
                .map(|_| other(args, peer))
                .collect::<anyhow::Result<_>>();
            let rates: Vec<f64> = match rates {
                Ok(rates) => rates,
                Err(error) => {
                    println!("(g) {peer} left out: {error:#}");
                    continue;
                }
            };
            report.beside(
                format!("(g) beside {peer}"),
                rate,
                "tx/s",
                peer,
                median(rates),
            );
        }
    }
    Ok(())
}

/// Whether memory grows over a long ingest.
fn memory(args: &Args, script: &Path, report: &mut Report) -> anyhow::Result<()> {
    let _node = node(script, &args.data, LONG)?;
    let (_, resident) = cairn(args, LONG)?;
    let millions = (LONG * 25) as f64 / 1e6;
    for (quarter, resident) in (1..).zip(resident) {
        report.figure(
            format!("(e) resident memory of serve at {quarter}/4 of following {millions} M"),
            resident,
            "MiB",
        );
    }
    Ok(())
}

fn node(script: &Path, data: &Path, tip: u64) -> anyhow::Result<Guarded> {
    let (script, data, tip) = (
        script.to_string_lossy(),
        data.to_string_lossy(),
        tip.to_string(),
    );
    let port = NODE.rsplit(':').next().unwrap_or_default();
    let node = start(
        Path::new("node"),
        &[&script, "--data", &data, "--tip", &tip, "--port", port],
    )?;
    wait_until(NODE, "/", Duration::from_secs(60), |_| true)?;
    Ok(node)
}

/// Transactions a second, and resident memory in MiB at each quarter of the way.
fn cairn(args: &Args, blocks: u64) -> anyhow::Result<(f64, [f64; 4])> {
    let directory = tempfile::tempdir_in(&args.scratch)?;
    let begin = Instant::now();
    let source = "start = 1\nfinality_depth = 64";
    let server = follow(&args.cairn, directory.path(), SERVER, NODE, source)?;
    let mut resident = [0.0; 4];
    for (quarter, resident) in (1..).zip(&mut resident) {
        let height = blocks * quarter / 4;
        let path = format!("/api/explorer/blocks/{height}");
        wait_until(SERVER, &path, Duration::from_secs(300), |_| true)?;
        *resident = resident_mib(server.0.id())?;
    }
    let rate = (blocks * 25) as f64 / begin.elapsed().as_secs_f64();
    Ok((rate, resident))
}

fn other(args: &Args, peer: &str) -> anyhow::Result<f64> {
    let output = Command::new("benches/peers/run.sh")
        .arg(peer)
        .env("SHARED", fs::canonicalize(&args.shared)?)
        .env("BLOCKS", BLOCKS.to_string())
        .output()
        .context("running benches/peers/run.sh")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text
        .lines()
        .find(|line| line.starts_with('{'))
        .with_context(|| {
            format!(
                "{peer} printed no figures: {}",
                String::from_utf8_lossy(&output.stderr)
            )
        })?;
    let figures: Value = serde_json::from_str(line)?;
    figures["tx_per_s"].as_f64().context("no tx_per_s")
}
