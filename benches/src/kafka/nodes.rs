//! (k) Processes around one topic: how long a takeover takes, and a node that joins.

use std::{
    net::TcpListener,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};

use crate::{
    Args,
    process::{Guarded, get, start, wait_until},
    report::{Report, median},
};

const PATIENCE: Duration = Duration::from_secs(120);

fn free_address() -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("a free port")?;
    Ok(listener.local_addr()?.to_string())
}

/// A node of the deployment in a directory.
struct Node {
    process: Guarded,
    address: String,
}

fn config(directory: &Path, name: &str, listen: &str, brokers: &str, roles: &str) -> String {
    format!(
        "[server]\nlisten = \"{listen}\"\nroles = {roles}\noperator_key = \"a-key-for-benchmarks\"\n\
         [data]\ndir = \"{}\"\n[log]\nkind = \"kafka\"\n[kafka]\nbrokers = \"{brokers}\"\ntopic = \"nodes\"\n",
        directory.join(name).display()
    )
}

impl Node {
    fn start(
        cairn: &Path,
        directory: &Path,
        (name, roles): (&str, &str),
        brokers: &str,
    ) -> anyhow::Result<Self> {
        let address = free_address()?;
        let path = directory.join(format!("{name}.toml"));
        std::fs::write(&path, config(directory, name, &address, brokers, roles))?;
        let process = start(cairn, &["serve", "-c", &path.to_string_lossy()])?;
        Ok(Self { process, address })
    }

    fn leads(&self) -> bool {
        let body = get(&self.address, "/health/ready");
        body.is_some_and(|body| body.contains("writes the log"))
    }
}

fn wait(what: &str, holds: impl Fn() -> bool) -> anyhow::Result<f64> {
    let started = Instant::now();
    while !holds() {
        ensure!(
            started.elapsed() < PATIENCE,
            "it takes too long until {what}"
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    Ok(started.elapsed().as_secs_f64())
}

pub(super) fn measure(args: &Args, brokers: &str, report: &mut Report) -> anyhow::Result<()> {
    let directory = tempfile::tempdir_in(&args.scratch)?;
    let start = |name: &str, roles: &str| {
        Node::start(&args.cairn, directory.path(), (name, roles), brokers)
    };
    let ingest = r#"["ingest"]"#;
    let mut leader = start("one", ingest)?;
    wait("the first node writes", || leader.leads())?;
    let ingested = Command::new(&args.cairn)
        .arg("-c")
        .arg(directory.path().join("one.toml"))
        .args(["ingest", "--chain", "bench", "--final", "--receipts"])
        .args([
            args.data.join("receipts.jsonl.zst"),
            args.data.join("blocks.jsonl.zst"),
        ])
        .output()?;
    ensure!(
        ingested.status.success(),
        "ingest: {}",
        String::from_utf8_lossy(&ingested.stderr)
    );
    let mut takeovers = Vec::new();
    for run in 0..args.runs {
        let other = start(&format!("other-{run}"), ingest)?;
        wait_until(&other.address, "/health/ready", PATIENCE, |_| true)?;
        std::thread::sleep(Duration::from_secs(2));
        leader.process.0.kill()?;
        takeovers.push(wait("the other one writes", || other.leads())?);
        leader = other;
    }
    let what = "(k) takeover after kill -9 of the node that writes";
    report.beside(what, median(takeovers), "s", "target", 10.0);
    let mut joins = Vec::new();
    for run in 0..args.runs {
        let fresh = start(&format!("fresh-{run}"), r#"["query"]"#)?;
        joins.push(wait_until(
            &fresh.address,
            "/health/ready",
            PATIENCE,
            |_| true,
        )?);
    }
    report.figure(
        "(k) a query node with an empty disk, from start to ready",
        median(joins),
        "s",
    );
    Ok(())
}
