//! (l) The lake: its files made, copied and asked, beside engines that others made, with as many threads, on
//! the same rows. The chain is a year long, and half of its accounts are seen once in a while only.

mod load;
mod peers;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, ensure};
use cairn_domain::{Stream, commit::NewCommit, events::LakeCut};
use cairn_engine::{
    log::{EmbeddedLog, EmbeddedOptions, Log},
    runner::rebuild_offline,
    store::{Store, StoreOptions},
};
use serde_json::{Value, json};

use crate::{
    Args,
    chain::Recording,
    fold::fill,
    process::{Guarded, get, resident_mib, start, wait_until},
    report::{Report, median},
};

const SERVER: &str = "127.0.0.1:18749";

/// Seconds between blocks, so that the 200,000 of the large chain are a year.
const SECONDS: u64 = 157;

/// Transactions a second of the target, and the share of a core that they may take.
const LIVE: f64 = 5_000.0;

/// A data directory and its lake.
struct Made {
    data: PathBuf,
    transactions: u64,
    head: u64,
}

impl Made {
    fn lake(&self) -> PathBuf {
        self.data.join("lake")
    }
}

pub(crate) async fn measure(args: &Args, report: &mut Report) -> anyhow::Result<()> {
    let made = make(args).await?;
    materialise(args, &made, report)?;
    bytes_a_row(&made, report)?;
    peers::exports(args, &made, report)?;
    let server = serve(args, &made, "")?;
    note_places(&made)?;
    peers::queries(args, &made, report)?;
    report.figure(
        "(l) resident memory of serve after the queries",
        resident_mib(server.0.id())?,
        "MiB",
    );
    history(report)?;
    drop(server);
    load::measure(args, &made, report)
}

/// A chain in a log that is folded, with a cut at its end.
async fn make(args: &Args) -> anyhow::Result<Made> {
    let transactions = args.sizes.last().copied().unwrap_or(1_000_000);
    let data = args.scratch.join(format!("lake-{transactions}"));
    let note = data.join("head");
    if !note.exists() {
        if data.exists() {
            fs::remove_dir_all(&data)?;
        }
        fs::create_dir_all(&data)?;
        let log = EmbeddedLog::open(&data.join("log"), EmbeddedOptions::default())?;
        let recording = Recording::load(&args.data)?.varied(SECONDS);
        fill(&log, &recording, transactions).await?;
        let head = log.head().borrow().0;
        let cut = NewCommit::new(&Stream::chain("bench")?, 0, &[LakeCut {}.into()]);
        log.acquire("bench", None).await?.append(vec![cut]).await?;
        let log: Arc<dyn Log> = Arc::new(log);
        let store = Store::open(&data.join("store"), StoreOptions::default())?;
        rebuild_offline(&log, &store, &[], &|_, _| ()).await?;
        store.flush()?;
        fs::write(&note, (head - 1).to_string())?;
    }
    let head = fs::read_to_string(&note)?.parse()?;
    Ok(Made {
        data,
        transactions,
        head,
    })
}

/// Runs a command to its end; gives its seconds, and those of the processors.
fn timed(args: &Args, made: &Made, command: &[&str]) -> anyhow::Result<(f64, f64)> {
    let (start, before) = (Instant::now(), processor_seconds()?);
    let data = made.data.to_string_lossy();
    let output = Command::new(&args.cairn)
        .args(command)
        .args(["--data-dir", &data])
        .output()
        .with_context(|| format!("running {}", args.cairn.display()))?;
    ensure!(
        output.status.success(),
        "cairn {command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok((start.elapsed().as_secs_f64(), processor_seconds()? - before))
}

/// Time of the processors that ended children took.
fn processor_seconds() -> anyhow::Result<f64> {
    /// Ticks of a second in what the kernel shows.
    const TICKS: f64 = 100.0;
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').context("the name in parentheses")?;
    let ticks = fields.split_whitespace().skip(13).take(2);
    let ticks: f64 = ticks.filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    Ok(ticks / TICKS)
}

fn materialise(args: &Args, made: &Made, report: &mut Report) -> anyhow::Result<()> {
    let (mut wall, mut busy) = (Vec::new(), Vec::new());
    for _ in 0..args.runs {
        let (seconds, of_processors) = timed(args, made, &["lake", "rebuild"])?;
        wall.push(seconds);
        busy.push(of_processors);
    }
    let transactions = made.transactions as f64;
    report.figure(
        "(l) lake rebuild, all datasets",
        transactions / median(wall),
        "tx/s",
    );
    report.beside(
        "(l) the same, of a core at 5,000 tx/s",
        median(busy) / transactions * LIVE * 100.0,
        "%",
        "target",
        20.0,
    );
    Ok(())
}

/// From the lake's own manifest.
fn bytes_a_row(made: &Made, report: &mut Report) -> anyhow::Result<()> {
    let manifest = fs::read(made.lake().join("manifest.json"))?;
    let manifest: Value = serde_json::from_slice(&manifest)?;
    for name in ["blocks", "transactions", "logs", "token_transfers"] {
        let files = manifest["files"].as_array().context("files")?;
        let files = files.iter().filter(|file| file["dataset"] == name);
        let sum =
            |field: &str| -> f64 { files.clone().filter_map(|file| file[field].as_f64()).sum() };
        let (rows, bytes) = (sum("rows"), sum("bytes"));
        report.figure(
            format!("(l) {name}, {rows} rows: a row"),
            bytes / rows,
            "bytes",
        );
    }
    Ok(())
}

fn serve(args: &Args, made: &Made, more: &str) -> anyhow::Result<Guarded> {
    let config = args.scratch.join("lake.toml");
    fs::write(
        &config,
        format!("[api]\nopen_access = true\n[lake]\ncut_interval = \"0s\"\n{more}"),
    )?;
    let (config, data) = (config.to_string_lossy(), made.data.to_string_lossy());
    let server = start(
        &args.cairn,
        &[
            "serve",
            "-c",
            &config,
            "--data-dir",
            &data,
            "--listen",
            SERVER,
        ],
    )?;
    wait_until(SERVER, "/health/ready", Duration::from_secs(60), |_| true)?;
    Ok(server)
}

/// What the questions are about: a transaction in the middle of the chain, and a sender that every copy of
/// the recording has.
fn note_places(made: &Made) -> anyhow::Result<()> {
    let middle = made.head / 2;
    let block = get(SERVER, &format!("/api/explorer/blocks/{middle}")).context("a block")?;
    let block: Value = serde_json::from_str(&block)?;
    let transactions = block["transactions"].as_array().context("transactions")?;
    let even = |sender: &str| sender.ends_with(['0', '2', '4', '6', '8', 'a', 'c', 'e']);
    let found = transactions
        .iter()
        .find(|transaction| transaction["from_address"].as_str().is_some_and(even));
    let found = found.context("a sender of each copy")?;
    let place = json!({
        "hash": found["hash"],
        "address": found["from_address"],
        "low": middle,
        "high": middle + made.head / 20,
    });
    fs::write(made.data.join("place.json"), place.to_string())?;
    Ok(())
}

/// A year by day.
fn history(report: &mut Report) -> anyhow::Result<()> {
    let end = 1_600_000_000 + 365 * 86_400;
    for metric in ["transaction_count", "gas_price", "active_addresses"] {
        let path = format!(
            "/api/v1/analytics/historical?metric={metric}&period=1d&start=1600000000&end={end}"
        );
        let mut times = Vec::new();
        for _ in 0..20 {
            let start = Instant::now();
            let answer = get(SERVER, &path).with_context(|| format!("GET {path}"))?;
            times.push(start.elapsed().as_secs_f64() * 1000.0);
            ensure!(answer.len() > 5_000, "a year of days: {answer}");
        }
        report.beside(
            format!("(l) {metric}, a year by day"),
            median(times),
            "ms",
            "target",
            50.0,
        );
    }
    Ok(())
}

/// Where the other engines are.
fn python() -> &'static Path {
    Path::new("target/tools/lake-venv/bin/python")
}
