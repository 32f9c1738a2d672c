//! `kill -9` of the real binary at random moments: nothing is lost, nothing is there twice.

use std::{
    collections::BTreeSet,
    io::Write as _,
    process::Stdio,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use cairn_domain::{Event, Position};
use cairn_engine::log::{EmbeddedLog, EmbeddedOptions, Log};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::support::{
    process::{DataDir, SAMPLE_BLOCKS, SAMPLES, Server, repository, unpack},
    rounds, seed,
};

/// How the blocks come: from the file as fast as they are taken, in few large appends, or through
/// stdin with pauses, in many small ones.
#[derive(Clone)]
enum Blocks {
    AtOnce,
    OneByOne(Arc<Vec<String>>),
}

/// Starts an ingest of the samples and kills it after a while. Says whether it was still at it.
fn ingest_and_kill(data: &DataDir, blocks: Blocks, after: Duration) -> bool {
    let line = match blocks {
        Blocks::AtOnce => SAMPLES.to_owned(),
        Blocks::OneByOne(_) => SAMPLES.replace("samples/blocks.jsonl.zst", "-"),
    };
    let mut command = data.command(&line);
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = command.spawn().expect("cairn starts");
    let mut stdin = child.stdin.take().expect("stdin is piped");
    let feeding = thread::spawn(move || {
        if let Blocks::OneByOne(lines) = blocks {
            let feed = |line: &String| {
                thread::sleep(Duration::from_millis(1));
                stdin.write_all(line.as_bytes())
            };
            // A reader that was killed takes no more.
            let _refused = lines.iter().try_for_each(feed);
        }
    });
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
    let killed = !child.wait().expect("it ends").success();
    feeding.join().expect("it only writes");
    killed
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

/// Kills ingests into one directory at random moments until one ends by itself, at most four times.
/// Gives the log's head behind each kill.
fn kill_some(data: &DataDir, blocks: &Blocks, whole: Duration, random: &mut StdRng) -> Vec<u64> {
    let mut heads = Vec::new();
    // Some directories see all their kills before much is done.
    let share = if random.random_bool(0.3) { 0.2 } else { 0.9 };
    while heads.len() < 4 {
        let after = whole.mul_f64(share * random.random::<f64>());
        if !ingest_and_kill(data, blocks.clone(), after) {
            break;
        }
        // Before the directory is made there is nothing to look at.
        let made = data.path().join("log/FORMAT").is_file();
        let head = if made { data.head() } else { 0 };
        let before = heads.last().copied().unwrap_or_default();
        assert!(head >= before, "the head went back from {before} to {head}");
        heads.push(head);
    }
    heads
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_during_ingest_loses_and_doubles_nothing() {
    let (mut random, whole) = (StdRng::seed_from_u64(seed()), undisturbed());
    let lines = Arc::new(unpack(&repository().join("samples/blocks.jsonl.zst")));
    let mut kills = 0;
    while kills < rounds(50) {
        let data = DataDir::new();
        let slow = random.random_bool(0.6);
        let blocks = if slow {
            Blocks::OneByOne(Arc::clone(&lines))
        } else {
            Blocks::AtOnce
        };
        let heads = kill_some(&data, &blocks, whole, &mut random);
        let report = data.ingest_samples().json();
        let taken = |field: &str| report[field].as_u64().unwrap_or_default();
        assert_eq!(
            taken("blocks") + taken("duplicates"),
            SAMPLE_BLOCKS,
            "{report}"
        );
        let head = heads.last().copied().unwrap_or_default();
        assert!(
            taken("duplicates") >= head,
            "{report}, but the head was {head} before"
        );
        data.cairn("log verify").ok();
        data.verify();
        assert_each_block_once(&data).await;
        kills += heads.len();
        eprintln!("{kills} kills; heads behind those of this directory: {heads:?}");
    }
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
    let mut random = StdRng::seed_from_u64(seed());
    let data = DataDir::new();
    let mut head = 0;
    for _ in 0..rounds(20) {
        let server = serve_samples(&data);
        thread::sleep(Duration::from_secs(3).mul_f64(random.random()));
        server.kill();
        let made = data.path().join("log/FORMAT").is_file();
        let now = if made { data.head() } else { 0 };
        assert!(now >= head, "the head went back from {head} to {now}");
        eprintln!("the head behind a kill is {now}");
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
