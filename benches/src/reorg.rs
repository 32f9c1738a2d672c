//! (h) How long a reorganisation of 64 blocks takes, from the node's serving the new branch to our
//! serving it.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::{
    Args,
    process::{Guarded, follow, get, post, start, wait_until},
    report::{Report, median},
};

const NODE: &str = "127.0.0.1:18748";
const SERVER: &str = "127.0.0.1:18749";
const ANVIL: &str = "target/tools/anvil";
const DEPTH: u64 = 64;
/// Transactions of each block.
const TRANSACTIONS: usize = 10;
/// How long we may take, in milliseconds.
const TARGET: f64 = 250.0;

pub(crate) fn measure(args: &Args, report: &mut Report) -> anyhow::Result<()> {
    if !Path::new(ANVIL).exists() {
        println!("(h) left out: {ANVIL} is not there; `ops/setup.sh --node` installs it");
        return Ok(());
    }
    let times = (0..args.runs)
        .map(|_| converge(args))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let middle = |which: usize| median(times.iter().map(|time| time[which]).collect());
    report.beside(
        format!("(h) {DEPTH} blocks of {TRANSACTIONS} transactions reorganised"),
        middle(0),
        "ms",
        "target",
        TARGET,
    );
    report.figure(
        "(h) the node itself, to make the new branch",
        middle(1),
        "ms",
    );
    Ok(())
}

fn call(method: &str, params: Value) -> anyhow::Result<Value> {
    let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
    let answer = post(NODE, "/", "application/json", &body.to_string())
        .context("the node does not answer")?;
    let answer: Value = serde_json::from_str(&answer)?;
    ensure!(answer["error"].is_null(), "{method}: {answer}");
    Ok(answer["result"].clone())
}

/// A node of its own with a branch of so many blocks.
fn node() -> anyhow::Result<Guarded> {
    let port = NODE.rsplit(':').next().unwrap_or_default();
    let host = ["--host", "127.0.0.1", "--port", port];
    let node = start(
        Path::new(ANVIL),
        &[&host[..], &["--silent", "--no-mining"]].concat(),
    )?;
    let begin = Instant::now();
    while call("eth_chainId", json!([])).is_err() {
        ensure!(
            begin.elapsed() < Duration::from_secs(20),
            "anvil does not start"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let accounts = call("eth_accounts", json!([]))?;
    for _ in 0..2 * DEPTH {
        for index in 0..TRANSACTIONS {
            let (from, to) = (&accounts[index % 10], &accounts[(index + 1) % 10]);
            let transfer = json!({"from": from, "to": to, "value": "0x1", "gas": "0x5208"});
            call("eth_sendTransaction", json!([transfer]))?;
        }
        call("anvil_mine", json!(["0x1"]))?;
    }
    Ok(node)
}

/// Milliseconds from the answer of the node to ours, and those that the node took to answer.
fn converge(args: &Args) -> anyhow::Result<[f64; 2]> {
    let _node = node()?;
    let directory = tempfile::tempdir_in(&args.scratch)?;
    let source = format!("ws = \"ws://{NODE}\"\nfinality_depth = {}", 2 * DEPTH);
    let _server = follow(&args.cairn, directory.path(), SERVER, NODE, &source)?;
    let head = || call("eth_getBlockByNumber", json!(["latest", false]));
    let old = head()?;
    served(&old)?;
    // It answers when the new branch is made, and may serve it a little before.
    let asked = Instant::now();
    call("anvil_reorg", json!([DEPTH, []]))?;
    let (made, begin) = (asked.elapsed(), Instant::now());
    let new = head()?;
    ensure!(new["hash"] != old["hash"], "the node did not reorganise");
    served(&new)?;
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    Ok([ms(begin.elapsed()), ms(made)])
}

/// Waits until a block is the head that we serve.
fn served(block: &Value) -> anyhow::Result<()> {
    let hash = block["hash"].as_str().context("a block without a hash")?;
    let path = "/api/explorer/blocks?limit=1";
    wait_until(SERVER, path, Duration::from_secs(30), |body| {
        body.contains(hash)
    })?;
    ensure!(get(SERVER, path).is_some(), "the server went away");
    Ok(())
}
