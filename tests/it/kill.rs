//! `kill -9` of the real binary at random moments: nothing is lost, nothing is there twice.

use std::{
    collections::BTreeSet,
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use cairn_domain::{Event, Position};
use cairn_engine::log::{EmbeddedLog, EmbeddedOptions, Log};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::support::{
    process::{DataDir, SAMPLE_BLOCKS, SAMPLES, Server, repository},
    rounds,
};

/// A seed of its own for every run; `CAIRN_SEED` repeats one.
fn seeded() -> StdRng {
    let seed = std::env::var("CAIRN_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(rand::random);
    eprintln!("CAIRN_SEED={seed} repeats this run");
    StdRng::seed_from_u64(seed)
}

/// Starts an ingest of the samples and kills it after a while. Says whether it was still at it.
fn ingest_and_kill(data: &DataDir, after: Duration) -> bool {
    let mut command = data.command(SAMPLES);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("cairn starts");
    let started = Instant::now();
    while started.elapsed() < after {
        if let Some(status) = child.try_wait().expect("it is our child") {
            assert!(
                status.success(),
                "an ingest on what a kill left behind failed: {status}"
            );
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
    child.kill().expect("it can be killed");
    !child.wait().expect("it ends").success()
}

/// Asserts that the log holds each block of the samples exactly once, in order, whole.
async fn assert_each_block_once(data: &DataDir) {
    let log =
        EmbeddedLog::open(&data.path().join("log"), EmbeddedOptions::default()).expect("the log");
    let head = *log.head().borrow();
    let (mut next, mut heights, mut transactions) = (Position(1), Vec::new(), BTreeSet::new());
    let mut executed = 0;
    while next <= head {
        for stored in log.read(next, 1 << 20).await.expect("a readable log") {
            assert_eq!(stored.position, next, "positions are gapless");
            for event in stored.decode().expect("a whole commit").events {
                match event {
                    Event::BlockAppended(event) => heights.push(event.block.height),
                    Event::TransactionIncluded(event) => {
                        assert!(
                            transactions.insert(event.hash),
                            "{} is there twice",
                            event.hash
                        );
                    }
                    Event::TransactionExecuted(_) => executed += 1,
                    Event::BlockFinalized(_) => {}
                    other => panic!("nothing else happens in the samples: {other:?}"),
                }
            }
            next = stored.position.next();
        }
    }
    assert_eq!(
        heights,
        (0..SAMPLE_BLOCKS).collect::<Vec<_>>(),
        "every block once, in order"
    );
    assert_eq!((transactions.len(), executed), (44_299, 44_299));
}

/// How long an ingest takes that nobody disturbs.
fn undisturbed() -> Duration {
    let data = DataDir::new();
    let started = Instant::now();
    data.ingest_samples();
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_during_ingest_loses_and_doubles_nothing() {
    let (mut random, whole) = (seeded(), undisturbed());
    let (mut kills, mut finished) = (0, 0);
    while kills < rounds(50) {
        let data = DataDir::new();
        let mut head = 0;
        // Every third directory sees several kills right behind each other, before much is done.
        let share = if finished % 3 == 2 { 0.1 } else { 0.9 };
        while kills < rounds(50)
            && ingest_and_kill(&data, whole.mul_f64(share * random.random::<f64>()))
        {
            kills += 1;
            if data.path().join("log/FORMAT").is_file() {
                let now = data.head();
                assert!(now >= head, "the head went back from {head} to {now}");
                head = now;
            }
        }
        let report = data.ingest_samples().json();
        let taken = |field: &str| report[field].as_u64().unwrap_or_default();
        assert_eq!(
            taken("blocks") + taken("duplicates"),
            SAMPLE_BLOCKS,
            "{report}"
        );
        assert!(
            taken("duplicates") >= head,
            "{report}, but the head was {head} before"
        );
        data.cairn("log verify").ok();
        data.verify();
        assert_each_block_once(&data).await;
        finished += 1;
    }
    eprintln!("{kills} kills in {finished} directories; an undisturbed ingest takes {whole:?}");
}

fn serve_samples(data: &DataDir) -> Server {
    let samples = repository().join("samples");
    let config = format!(
        "[[source]]\nname = \"sample\"\nkind = \"file\"\npath = \"{}\"\nreceipts_path = \"{}\"\n",
        samples.join("blocks.jsonl.zst").display(),
        samples.join("receipts.jsonl.zst").display()
    );
    let path = data.file("cairn.toml", config);
    Server::start(data.command("serve --listen 127.0.0.1:0 -c").arg(path))
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_a_server_with_a_source_loses_and_doubles_nothing() {
    let mut random = seeded();
    let data = DataDir::new();
    let mut head = 0;
    for _ in 0..rounds(20) {
        let server = serve_samples(&data);
        thread::sleep(Duration::from_secs(3).mul_f64(random.random()));
        server.kill();
        let now = data.head();
        assert!(now >= head, "the head went back from {head} to {now}");
        head = now;
    }
    let server = serve_samples(&data);
    server.wait_until("/api/explorer/blocks?limit=1", |list| {
        list["total"] == SAMPLE_BLOCKS && list["blocks"][0]["height"] == SAMPLE_BLOCKS - 1
    });
    let (status, _) = server.terminate();
    assert!(status.success(), "{status}");
    data.verify();
    assert_each_block_once(&data).await;
}
