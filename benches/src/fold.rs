//! (c) Rebuild by replay, beside plain RocksDB taking five keys a transaction: as write batches,
//! and sorted into files that it ingests.

use std::{path::Path, sync::Arc, time::Instant};

use cairn_domain::Stream;
use cairn_engine::{
    log::{EmbeddedLog, EmbeddedOptions, Log},
    runner::rebuild_offline,
    store::{Store, StoreOptions},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    Args,
    chain::Recording,
    report::{Report, median},
};

/// Transactions that are replayed.
const TRANSACTIONS: u64 = 500_000;

/// Fills a log with commits of about so many transactions, a few at a time.
pub(crate) async fn fill(
    log: &dyn Log,
    recording: &Recording,
    transactions: u64,
) -> anyhow::Result<u64> {
    let writer = log.acquire("bench", None).await?;
    let stream = Stream::chain("bench")?;
    let (mut total, mut batch) = (0, Vec::new());
    for (count, commit) in recording.commits(&stream) {
        total += count;
        batch.push(commit);
        if batch.len() == 200 || total >= transactions {
            writer.append(std::mem::take(&mut batch)).await?;
        }
        if total >= transactions {
            return Ok(total);
        }
    }
    Ok(total)
}

pub(crate) async fn measure(args: &Args, report: &mut Report) -> anyhow::Result<()> {
    let recording = Recording::load(&args.data)?;
    let directory = tempfile::tempdir_in(&args.scratch)?;
    let log = EmbeddedLog::open(&directory.path().join("log"), EmbeddedOptions::default())?;
    let transactions = fill(&log, &recording, TRANSACTIONS).await?;
    let log: Arc<dyn Log> = Arc::new(log);
    let (mut rebuilds, mut batches, mut files) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..args.runs {
        let store = Store::open(
            &directory.path().join(format!("store-{run}")),
            StoreOptions::default(),
        )?;
        let start = Instant::now();
        rebuild_offline(&log, &store, &[], &|_, _| ()).await?;
        rebuilds.push(transactions as f64 / start.elapsed().as_secs_f64());
        drop(store);
        let path = directory.path().join(format!("plain-{run}"));
        batches.push(plain_batches(
            &path.with_extension("batches"),
            100_000,
            false,
        )?);
        files.push(plain_files(&path.with_extension("files"), 500_000)?);
    }
    let (rebuild, batches, files) = (median(rebuilds), median(batches), median(files));
    report.beside(
        "(c) rebuild by replay, 500k transactions",
        rebuild,
        "tx/s",
        "RocksDB sorted files, 5 keys",
        files,
    );
    report.beside(
        "(c) the same",
        rebuild,
        "tx/s",
        "RocksDB batches, 5 keys",
        batches,
    );
    Ok(())
}

/// Keys and values of the sizes that a transaction's rows have: itself, by hash, by two addresses,
/// and an account.
fn rows(random: &mut StdRng, number: u64) -> [(Vec<u8>, Vec<u8>); 5] {
    let by = |random: &mut StdRng, prefix: u8, key: usize, value: usize| {
        let mut bytes = vec![prefix; key];
        random.fill(&mut bytes[1..]);
        (bytes, vec![prefix; value])
    };
    let mut own = vec![0; 52];
    own[1..9].copy_from_slice(&number.to_be_bytes());
    [
        (own, vec![7; 300]),
        by(random, 1, 80, 4),
        by(random, 2, 76, 0),
        by(random, 3, 76, 0),
        by(random, 4, 30, 60),
    ]
}

fn plain_options() -> rocksdb::Options {
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    options.set_compression_type(rocksdb::DBCompressionType::Lz4);
    options
}

/// Batches of one block each, as a server that follows a chain writes them.
pub(crate) fn plain_batches(path: &Path, transactions: u64, sync: bool) -> anyhow::Result<f64> {
    let db = rocksdb::DB::open(&plain_options(), path)?;
    let mut random = StdRng::seed_from_u64(1);
    let mut options = rocksdb::WriteOptions::default();
    options.set_sync(sync);
    let start = Instant::now();
    for block in 0..transactions / 25 {
        let mut batch = rocksdb::WriteBatch::default();
        for number in 0..25 {
            for (key, value) in rows(&mut random, block * 25 + number) {
                batch.put(key, value);
            }
        }
        db.write_opt(batch, &options)?;
    }
    Ok(transactions as f64 / start.elapsed().as_secs_f64())
}

fn plain_files(path: &Path, transactions: u64) -> anyhow::Result<f64> {
    let options = plain_options();
    let db = rocksdb::DB::open(&options, path)?;
    let start = Instant::now();
    let half = |part: u64| -> anyhow::Result<std::path::PathBuf> {
        let mut random = StdRng::seed_from_u64(part);
        let mut sorted: Vec<_> = (0..transactions / 2)
            .flat_map(|number| rows(&mut random, part << 40 | number))
            .collect();
        sorted.sort_unstable();
        let file = path.with_extension(format!("{part}.sst"));
        let options = plain_options();
        let mut writer = rocksdb::SstFileWriter::create(&options);
        writer.open(&file)?;
        sorted
            .iter()
            .try_for_each(|(key, value)| writer.put(key, value))?;
        writer.finish()?;
        Ok(file)
    };
    let files = std::thread::scope(|scope| {
        let other = scope.spawn(move || half(1));
        let one = half(0);
        [one, other.join().expect("no panic")]
    });
    for file in files {
        db.ingest_external_file(vec![file?])?;
    }
    Ok(transactions as f64 / start.elapsed().as_secs_f64())
}
