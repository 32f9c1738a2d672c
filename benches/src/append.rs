//! (a) Durable appends, beside plain RocksDB with sync writing the same bytes as often.

use std::{path::Path, sync::Arc, time::Instant};

use cairn_domain::{Event, Stream, commit::NewCommit};
use cairn_engine::log::{EmbeddedLog, EmbeddedOptions, Log};

use crate::{
    Args,
    report::{Report, median},
};

/// Appends that wait for the disk at the same time, ours and RocksDB's.
pub(crate) const CONCURRENT: usize = 16;

pub(crate) fn commit(events: usize) -> anyhow::Result<NewCommit> {
    let events: Vec<Event> = Event::examples().into_iter().cycle().take(events).collect();
    Ok(NewCommit::new(&Stream::chain("bench")?, 0, &events))
}

pub(crate) async fn measure(args: &Args, report: &mut Report) -> anyhow::Result<()> {
    for (events, each) in [(1, 1500), (150, 400)] {
        let commit = commit(events)?;
        let (mut ours, mut plain) = (Vec::new(), Vec::new());
        for _ in 0..args.runs {
            let directory = tempfile::tempdir_in(&args.scratch)?;
            ours.push(cairn(directory.path(), &commit, each).await?);
            let (path, bytes) = (directory.path().join("plain"), commit.clone().seal(1, 1));
            plain.push(tokio::task::spawn_blocking(move || rocksdb(&path, &bytes, each)).await??);
        }
        let what = format!("(a) durable append, {events} events a commit, 16 waiting");
        report.beside(
            what,
            median(ours),
            "commits/s",
            "RocksDB sync",
            median(plain),
        );
    }
    Ok(())
}

async fn cairn(directory: &Path, commit: &NewCommit, each: usize) -> anyhow::Result<f64> {
    let log = EmbeddedLog::open(&directory.join("log"), EmbeddedOptions::default())?;
    append(&log, commit, each).await
}

/// Commits a second, with [`CONCURRENT`] appends that wait at the same time.
pub(crate) async fn append(log: &dyn Log, commit: &NewCommit, each: usize) -> anyhow::Result<f64> {
    let writer = log.acquire("bench", None).await?;
    let start = Instant::now();
    let tasks: Vec<_> = (0..CONCURRENT)
        .map(|_| {
            let (writer, commit) = (Arc::clone(&writer), commit.clone());
            tokio::spawn(async move {
                for _ in 0..each {
                    writer.append(vec![commit.clone()]).await?;
                }
                Ok::<_, cairn_engine::log::LogError>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok((CONCURRENT * each) as f64 / start.elapsed().as_secs_f64())
}

fn rocksdb(path: &Path, value: &[u8], each: usize) -> anyhow::Result<f64> {
    let mut options = rocksdb::Options::default();
    options.create_if_missing(true);
    let db = rocksdb::DB::open(&options, path)?;
    let mut sync = rocksdb::WriteOptions::default();
    sync.set_sync(true);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let write = |thread: usize| {
            let (db, sync) = (&db, &sync);
            scope.spawn(move || {
                (0..each).try_for_each(|number| {
                    db.put_opt(
                        ((number * CONCURRENT + thread) as u64).to_be_bytes(),
                        value,
                        sync,
                    )
                })
            })
        };
        let threads: Vec<_> = (0..CONCURRENT).map(write).collect();
        threads
            .into_iter()
            .try_for_each(|thread| thread.join().expect("no panic"))
    })?;
    Ok((CONCURRENT * each) as f64 / start.elapsed().as_secs_f64())
}
