//! (d) Reads over HTTP with wrk, each as a share of the bare route of the same server. The requests
//! go through many different blocks, transactions and addresses, so that no single row is hot.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::{
    Args,
    process::get,
    report::{Report, median},
};

/// What a server took of a load, in requests a second and milliseconds.
pub(crate) struct Load {
    pub(crate) rate: f64,
    pub(crate) p50: f64,
    pub(crate) p99: f64,
}

/// Measures all routes; with `cold`, those whose answers are otherwise put together from what is
/// kept of final blocks and transactions, on a server that keeps nothing.
pub(crate) fn measure(
    args: &Args,
    server: &str,
    cold: bool,
    report: &mut Report,
) -> anyhow::Result<()> {
    let directory = tempfile::tempdir_in(&args.scratch)?;
    let paths = paths(server)?;
    let bare = load(args, server, directory.path(), &["/health/live".into()])?;
    let note = if cold { " (api.cache = 0)" } else { "" };
    line(report, &format!("bare route{note}"), &bare, &bare);
    for (name, paths) in &paths {
        if !cold || !name.starts_with("address") || name.contains("page") {
            let load = load(args, server, directory.path(), paths)?;
            line(report, &format!("{name}{note}"), &load, &bare);
        }
    }
    Ok(())
}

/// Asks for everything for a while.
pub(crate) fn exercise(args: &Args, server: &str) -> anyhow::Result<()> {
    let directory = tempfile::tempdir_in(&args.scratch)?;
    for (_, paths) in paths(server)? {
        load(args, server, directory.path(), &paths)?;
    }
    Ok(())
}

fn line(report: &mut Report, name: &str, load: &Load, bare: &Load) {
    report.beside(
        format!("(d) {name}, 64 connections"),
        load.rate,
        "req/s",
        "bare route",
        bare.rate,
    );
    report.figure(format!("(d) {name}, p50"), load.p50, "ms");
    report.figure(format!("(d) {name}, p99"), load.p99, "ms");
}

fn json(server: &str, path: &str) -> anyhow::Result<Value> {
    let body = get(server, path).with_context(|| format!("GET {path}"))?;
    Ok(serde_json::from_str(&body)?)
}

fn texts<'a>(value: &'a Value, list: &str, field: &'a str) -> impl Iterator<Item = String> {
    let items = value[list].as_array().cloned().unwrap_or_default();
    let field = field.to_owned();
    items
        .into_iter()
        .filter_map(move |item| Some(item[&field].as_str()?.to_owned()))
}

/// What is asked for: heights and hashes from all over the chain, and the addresses seen there.
fn paths(server: &str) -> anyhow::Result<Vec<(&'static str, Vec<String>)>> {
    let head = json(server, "/api/explorer/blocks?limit=1")?["blocks"][0]["height"]
        .as_u64()
        .unwrap_or(0);
    let heights: Vec<u64> = (0..500).map(|step| step * head / 500).collect();
    let (mut hashes, mut addresses) = (Vec::new(), Vec::new());
    for height in heights.iter().step_by(2) {
        let block = json(server, &format!("/api/explorer/blocks/{height}"))?;
        hashes.extend(texts(&block, "transactions", "hash").take(8));
        addresses.extend(texts(&block, "transactions", "from_address").take(8));
        addresses.extend(texts(&block, "transactions", "to_address").take(8));
    }
    addresses.sort();
    addresses.dedup();
    let busy: Vec<String> = addresses
        .iter()
        .filter(|address| {
            let path = format!("/api/explorer/addresses/{address}");
            json(server, &path).is_ok_and(|row| row["transaction_count"].as_u64() >= Some(50))
        })
        .cloned()
        .collect();
    ensure!(
        !hashes.is_empty() && !busy.is_empty(),
        "the store is too small to measure on"
    );
    let old = head / 2;
    let each = |list: &[String], pattern: &str| {
        list.iter()
            .map(|item| pattern.replace("{}", item))
            .collect()
    };
    let heights: Vec<String> = heights.iter().map(u64::to_string).collect();
    Ok(vec![
        ("block by height", each(&heights, "/api/explorer/blocks/{}")),
        ("tx by hash", each(&hashes, "/api/explorer/transactions/{}")),
        ("address", each(&addresses, "/api/explorer/addresses/{}")),
        (
            "address as of half the chain",
            each(
                &addresses,
                &format!("/api/explorer/addresses/{{}}?at={old}"),
            ),
        ),
        (
            "address page of 50",
            each(&busy, "/api/explorer/addresses/{}/transactions?limit=50"),
        ),
    ])
}

/// Asks for these paths in turn; a script goes into the directory.
pub(crate) fn load(
    args: &Args,
    server: &str,
    directory: &Path,
    paths: &[String],
) -> anyhow::Result<Load> {
    let script = directory.join("paths.lua");
    let list: Vec<String> = paths.iter().map(|path| format!("{path:?}")).collect();
    fs::write(
        &script,
        format!(
            "local paths = {{{}}}\nlocal at = 0\nrequest = function() at = at % #paths + 1 return wrk.format(\"GET\", paths[at]) end\ndone = function(summary, latency)\n  local errors = summary.errors.status + summary.errors.read + summary.errors.timeout\n  io.write(string.format(\"RESULT %d %d %d %d %d\\n\", summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), errors))\nend\n",
            list.join(",")
        ),
    )?;
    let mut runs = Vec::new();
    for _ in 0..args.runs {
        let output = Command::new("wrk")
            .args(["-t1", "-c64", "-d4s", "-s"])
            .arg(&script)
            .arg(format!("http://{server}"))
            .output()
            .context("running wrk; `ops/setup.sh --bench` installs it")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let result = text
            .lines()
            .find_map(|line| line.strip_prefix("RESULT "))
            .context("wrk gave no result")?;
        let figures: Vec<f64> = result
            .split(' ')
            .filter_map(|figure| figure.parse().ok())
            .collect();
        let [requests, micros, p50, p99, errors] = figures[..] else {
            anyhow::bail!("wrk gave {result}")
        };
        ensure!(
            errors == 0.0,
            "{errors} answers were not 2xx or did not come"
        );
        runs.push((requests / micros * 1e6, p50 / 1000.0, p99 / 1000.0));
    }
    Ok(Load {
        rate: median(runs.iter().map(|run| run.0).collect()),
        p50: median(runs.iter().map(|run| run.1).collect()),
        p99: median(runs.iter().map(|run| run.2).collect()),
    })
}
