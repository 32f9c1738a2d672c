//! Copies and questions, beside other engines: `benches/peers/lake.py`.

use std::{collections::BTreeMap, fs, process::Command};

use anyhow::{Context as _, ensure};
use serde::Deserialize;

use super::{Made, SERVER, python, timed};
use crate::{
    Args,
    report::{Report, median},
};

/// Those whose answer is found, not computed.
const LOOKUPS: [&str; 2] = ["history of an address", "transaction by hash"];

#[derive(Deserialize)]
struct Copied {
    seconds: f64,
    /// With the rows in the order of the chain, where the engine does not keep it by itself.
    sorted_seconds: Option<f64>,
    bytes: f64,
    peak_mib: f64,
}

#[derive(Deserialize)]
struct Answered {
    answers: BTreeMap<String, Answer>,
    peak_mib: f64,
}

#[derive(Deserialize)]
struct Answer {
    seconds: f64,
    rows: u64,
    digest: String,
    first: serde_json::Value,
}

fn peer<T: serde::de::DeserializeOwned>(arguments: &[&str]) -> anyhow::Result<T> {
    let output = Command::new(python())
        .arg("benches/peers/lake.py")
        .args(arguments)
        .output()
        .context("running a peer; `ops/setup.sh --lake --bench` installs them")?;
    let (out, error) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    ensure!(output.status.success(), "{arguments:?}: {error}");
    serde_json::from_str(&out).with_context(|| format!("{arguments:?} said {out} {error}"))
}

/// All transactions into one Parquet file.
pub(super) fn exports(args: &Args, made: &Made, report: &mut Report) -> anyhow::Result<()> {
    let directory = tempfile::tempdir_in(&args.scratch)?;
    let (out, lake) = (directory.path().to_string_lossy(), made.lake());
    let (lake, runs, head) = (
        lake.to_string_lossy(),
        args.runs.to_string(),
        made.head.to_string(),
    );
    let mut seconds = Vec::new();
    let mut bytes = 0;
    for _ in 0..=args.runs {
        let command = [
            "export",
            "transactions",
            "--chain",
            "bench",
            "--from",
            "0",
            "--to",
            &head,
            "-o",
            &out,
        ];
        seconds.push(timed(args, made, &command)?.0);
        let files = fs::read_dir(directory.path())?.collect::<Result<Vec<_>, _>>()?;
        bytes = files
            .iter()
            .filter_map(|file| Some(file.metadata().ok()?.len()))
            .sum();
        files
            .iter()
            .try_for_each(|file| fs::remove_file(file.path()))?;
    }
    // Others have read everything once, too.
    let ours = median(seconds.split_off(1));
    let rows = made.transactions as f64;
    for engine in ["duckdb", "pyarrow"] {
        let copied: Copied = peer(&["export", engine, &lake, &runs, &out])?;
        let what = format!("(l) export to Parquet, beside {engine}");
        report.beside(&what, rows / ours, "rows/s", engine, rows / copied.seconds);
        report.beside(
            format!("{what}: size"),
            bytes as f64 / rows,
            "bytes",
            engine,
            copied.bytes / rows,
        );
        report.figure(format!("{what}: its memory"), copied.peak_mib, "MiB");
        if let Some(sorted) = copied.sorted_seconds {
            report.beside(
                format!("{what}, in order"),
                rows / ours,
                "rows/s",
                engine,
                rows / sorted,
            );
        }
    }
    Ok(())
}

/// Twelve questions.
pub(super) fn queries(args: &Args, made: &Made, report: &mut Report) -> anyhow::Result<()> {
    let (lake, runs) = (made.lake(), args.runs.max(5).to_string());
    let lake = lake.to_string_lossy();
    let ask = |engine: &str| peer::<Answered>(&["queries", engine, &lake, &runs, SERVER]);
    let ours = ask("cairn")?;
    for engine in ["duckdb", "chdb"] {
        let theirs = ask(engine)?;
        let mut ratios = Vec::new();
        for (name, answer) in &ours.answers {
            let other = theirs
                .answers
                .get(name)
                .with_context(|| format!("{engine}: {name}"))?;
            ensure!(
                answer.digest == other.digest,
                "{name}: we gave {} rows, {}; {engine} gave {}, {}",
                answer.rows,
                answer.first,
                other.rows,
                other.first
            );
            ratios.push(answer.seconds / other.seconds);
            let what = format!("(l) {name}");
            report.beside(
                what,
                answer.seconds * 1e3,
                "ms",
                engine,
                other.seconds * 1e3,
            );
        }
        let mean = (ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp();
        report.beside(
            format!("(l) geometric mean beside {engine}"),
            mean,
            "×",
            "target",
            1.0,
        );
        report.figure(format!("(l) memory of {engine}"), theirs.peak_mib, "MiB");
    }
    for name in LOOKUPS {
        let answer = ours.answers.get(name).context("it was asked")?;
        report.beside(
            format!("(l) {name}"),
            answer.seconds * 1e3,
            "ms",
            "target",
            20.0,
        );
    }
    Ok(())
}
