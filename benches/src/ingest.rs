//! (b) Live ingest from file to queryable, every commit durable.

use std::{fs::File, io::Write, path::Path, process::Command, time::Instant};

use anyhow::{Context, ensure};
use serde_json::Value;

use crate::{
    Args,
    fold::plain_batches,
    report::{Report, median},
};

/// How many times the recording is repeated.
const COPIES: u64 = 8;

pub(crate) fn measure(args: &Args, report: &mut Report) -> anyhow::Result<()> {
    let directory = tempfile::tempdir_in(&args.scratch)?;
    let (blocks, receipts) = (
        directory.path().join("blocks.jsonl"),
        directory.path().join("receipts.jsonl"),
    );
    let transactions = lengthen(&args.data, &blocks, &receipts)?;
    let (mut rates, mut bytes, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..args.runs {
        let data = directory.path().join(format!("data-{run}"));
        let start = Instant::now();
        let status = Command::new(&args.cairn)
            .args(["ingest", "--chain", "bench", "--receipts"])
            .args([&receipts, &blocks])
            .arg("--data-dir")
            .arg(&data)
            .stderr(std::process::Stdio::null())
            .stdout(std::process::Stdio::null())
            .status()
            .context("running cairn ingest")?;
        ensure!(status.success(), "cairn ingest failed");
        rates.push(transactions as f64 / start.elapsed().as_secs_f64());
        let limit = directory.path().join(format!("plain-{run}"));
        plain.push(plain_batches(&limit, 100_000, true)?);
        bytes.push(crate::process::disk_bytes(&data) as f64 / transactions as f64);
    }
    report.figure(
        "(b) bytes on disk a transaction, log and store",
        median(bytes),
        "bytes",
    );
    report.beside(
        "(b) live ingest from file to queryable, durable",
        median(rates),
        "tx/s",
        "RocksDB, 5 keys, a synced batch a block",
        median(plain),
    );
    Ok(())
}

fn lines(path: &Path) -> anyhow::Result<Vec<Value>> {
    let text = std::io::read_to_string(zstd::Decoder::new(File::open(path)?)?)?;
    text.lines()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect()
}

fn number(value: &Value) -> u64 {
    u64::from_str_radix(value.as_str().unwrap_or("0x0").trim_start_matches("0x"), 16).unwrap_or(0)
}

/// The same hash in another copy: its first digits are those of the copy.
fn rehash(value: &mut Value, copy: u64) {
    if let (Some(hash), true) = (value.as_str(), copy > 0) {
        *value = Value::String(format!("0x{copy:08x}{}", &hash[10..]));
    }
}

/// Writes the recording several times, renumbered and relinked, and counts its transactions.
fn lengthen(data: &Path, blocks: &Path, receipts: &Path) -> anyhow::Result<u64> {
    let source = lines(&data.join("blocks.jsonl.zst"))?;
    let source_receipts = lines(&data.join("receipts.jsonl.zst"))?;
    let mut out = std::io::BufWriter::new(File::create(blocks)?);
    let mut out_receipts = std::io::BufWriter::new(File::create(receipts)?);
    let (mut parent, mut height, mut total) = (Value::Null, 0u64, 0);
    let span =
        number(&source[source.len() - 1]["timestamp"]) - number(&source[0]["timestamp"]) + 12;
    for copy in 0..COPIES {
        for (block, receipt) in source
            .iter()
            .zip(&source_receipts)
            .skip(usize::from(copy > 0))
        {
            let (mut block, mut receipt) = (block.clone(), receipt.clone());
            rehash(&mut block["hash"], copy);
            let (hash, at) = (
                block["hash"].clone(),
                Value::String(format!("0x{height:x}")),
            );
            block["number"] = at.clone();
            block["timestamp"] =
                Value::String(format!("0x{:x}", number(&block["timestamp"]) + copy * span));
            if height > 0 {
                block["parentHash"] = parent;
            }
            for transaction in block["transactions"].as_array_mut().into_iter().flatten() {
                rehash(&mut transaction["hash"], copy);
                transaction["blockHash"] = hash.clone();
                transaction["blockNumber"] = at.clone();
                total += 1;
            }
            receipt["hash"] = hash.clone();
            receipt["number"] = at.clone();
            for one in receipt["receipts"].as_array_mut().into_iter().flatten() {
                rehash(&mut one["transactionHash"], copy);
                one["blockHash"] = hash.clone();
                one["blockNumber"] = at.clone();
            }
            writeln!(out, "{block}")?;
            writeln!(out_receipts, "{receipt}")?;
            parent = hash;
            height += 1;
        }
    }
    out.flush()?;
    out_receipts.flush()?;
    Ok(total)
}
