//! (i) Appends through Kafka beside librdkafka's own producer, (j) replay beside its own consumer and
//! beside the embedded log, (k) takeover and joining of nodes; the broker is Kafka itself, on this
//! machine.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use cairn_domain::{Position, Stream, commit::NewCommit};
use cairn_engine::{
    log::{EmbeddedLog, EmbeddedOptions, KafkaLog, KafkaOptions, Log},
    runner::rebuild_offline,
    store::{Store, StoreOptions},
};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaError,
    producer::{FutureProducer, FutureRecord},
};

use crate::{
    Args,
    append::{CONCURRENT, append, commit},
    chain::Recording,
    fold::fill,
    report::{Report, median},
};

mod nodes;

/// Transactions that are replayed.
const TRANSACTIONS: u64 = 300_000;
/// Commits of an append, where a source catches up.
const BATCH: usize = 200;

/// A broker that ends with the process.
pub(crate) struct Broker {
    directory: PathBuf,
    pub(crate) brokers: String,
}

fn script(arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("ops/kafka.sh").args(arguments).output();
    let output = output.context("running ops/kafka.sh")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "ops/kafka.sh {arguments:?}: {said}"
    );
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

impl Broker {
    fn start(directory: &Path) -> anyhow::Result<Self> {
        let own = std::process::id().to_string();
        let text = directory.to_string_lossy();
        let brokers = script(&["start", &text, "--nodes", "1", "--while", &own])?;
        Ok(Self {
            directory: directory.to_owned(),
            brokers,
        })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // What is left, the script's watchdog stops.
        let _stopped = script(&["stop", &self.directory.to_string_lossy()]);
    }
}

pub(crate) async fn measure(args: &Args, report: &mut Report) -> anyhow::Result<()> {
    let directory = tempfile::tempdir_in(&args.scratch)?;
    let broker = Broker::start(&directory.path().join("kafka"))?;
    appends(args, &broker.brokers, report).await?;
    batches(args, &broker.brokers, report).await?;
    replays(args, &broker.brokers, report).await?;
    nodes::measure(args, &broker.brokers, report)
}

fn options(brokers: &str, topic: &str, directory: &Path) -> KafkaOptions {
    KafkaOptions::new(brokers, topic, directory.join(topic))
}

async fn appends(args: &Args, brokers: &str, report: &mut Report) -> anyhow::Result<()> {
    for (events, each) in [(1, 1500), (150, 300)] {
        let commit = commit(events)?;
        let (mut ours, mut plain, mut embedded) = (Vec::new(), Vec::new(), Vec::new());
        for run in 0..args.runs {
            let directory = tempfile::tempdir_in(&args.scratch)?;
            let topic = format!("append-{events}-{run}");
            let log = KafkaLog::open(options(brokers, &topic, directory.path())).await?;
            ours.push(append(&log, &commit, each).await?);
            drop(log);
            let bytes = commit.clone().seal(1, 1);
            plain.push(produce(brokers, &format!("{topic}-plain"), &bytes, each).await?);
            let path = directory.path().join("log");
            let log = EmbeddedLog::open(&path, EmbeddedOptions::default())?;
            embedded.push(append(&log, &commit, each).await?);
        }
        let what = format!("(i) append through Kafka, {events} events a commit, 16 waiting");
        let ours = median(ours);
        report.beside(
            &what,
            ours,
            "commits/s",
            "librdkafka, 16 waiting",
            median(plain),
        );
        report.beside(
            "(i) the same",
            ours,
            "commits/s",
            "embedded log",
            median(embedded),
        );
    }
    Ok(())
}

/// As the log's own producer is set.
fn plain_config(brokers: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("enable.idempotence", "true")
        .set("acks", "all")
        .set("linger.ms", "1")
        .set("compression.codec", "lz4")
        .set("queue.buffering.max.messages", "200000")
        .set("queue.buffering.max.kbytes", "65536");
    config
}

/// Makes a topic by opening a log in it, so that both have the same settings.
async fn plain_topic(brokers: &str, topic: &str) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    drop(KafkaLog::open(options(brokers, topic, directory.path())).await?);
    Ok(())
}

async fn produce(brokers: &str, topic: &str, bytes: &[u8], each: usize) -> anyhow::Result<f64> {
    plain_topic(brokers, topic).await?;
    let producer: FutureProducer = plain_config(brokers).create()?;
    let bytes: Arc<[u8]> = bytes.into();
    let start = Instant::now();
    let tasks: Vec<_> = (0..CONCURRENT)
        .map(|_| {
            let (producer, bytes, topic) = (producer.clone(), Arc::clone(&bytes), topic.to_owned());
            tokio::spawn(async move {
                for _ in 0..each {
                    let record = FutureRecord::<(), [u8]>::to(&topic)
                        .partition(0)
                        .payload(&bytes);
                    let sent = producer.send(record, Duration::from_secs(30)).await;
                    sent.map_err(|(error, _)| error)?;
                }
                Ok::<_, KafkaError>(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    Ok((CONCURRENT * each) as f64 / start.elapsed().as_secs_f64())
}

/// What a source that catches up appends: blocks of transactions, many at a time, one append behind
/// the other.
async fn batches(args: &Args, brokers: &str, report: &mut Report) -> anyhow::Result<()> {
    let recording = Recording::load(&args.data)?;
    let stream = Stream::chain("bench")?;
    let commits: Vec<_> = recording
        .commits(&stream)
        .take(40 * BATCH)
        .map(|(_, c)| c)
        .collect();
    let mebibytes = commits.iter().map(NewCommit::size).sum::<usize>() as f64 / f64::from(1 << 20);
    let (mut ours, mut plain, mut embedded) = (Vec::new(), Vec::new(), Vec::new());
    for run in 0..args.runs {
        let directory = tempfile::tempdir_in(&args.scratch)?;
        let topic = format!("batches-{run}");
        let log = KafkaLog::open(options(brokers, &topic, directory.path())).await?;
        ours.push(mebibytes / append_batches(&log, &commits).await?);
        drop(log);
        let topic = format!("{topic}-plain");
        plain_topic(brokers, &topic).await?;
        plain.push(mebibytes / produce_batches(brokers, &topic, &commits).await?);
        let path = directory.path().join("log");
        let log = EmbeddedLog::open(&path, EmbeddedOptions::default())?;
        embedded.push(mebibytes / append_batches(&log, &commits).await?);
    }
    let ours = median(ours);
    let what = format!("(i) append of blocks, {BATCH} an append");
    report.beside(
        what,
        ours,
        "MiB/s",
        "librdkafka, waited for as often",
        median(plain),
    );
    report.beside(
        "(i) the same",
        ours,
        "MiB/s",
        "embedded log",
        median(embedded),
    );
    Ok(())
}

async fn append_batches(log: &dyn Log, commits: &[NewCommit]) -> anyhow::Result<f64> {
    let writer = log.acquire("bench", None).await?;
    let start = Instant::now();
    for batch in commits.chunks(BATCH) {
        writer.append(batch.to_vec()).await?;
    }
    Ok(start.elapsed().as_secs_f64())
}

/// All records of a batch are on their way at once, and the batch is waited for.
async fn produce_batches(brokers: &str, topic: &str, commits: &[NewCommit]) -> anyhow::Result<f64> {
    let producer: FutureProducer = plain_config(brokers).create()?;
    let start = Instant::now();
    for batch in commits.chunks(BATCH) {
        let mut sent = Vec::new();
        for commit in batch {
            let bytes = commit.clone().seal(1, 1);
            let record = FutureRecord::<(), [u8]>::to(topic)
                .partition(0)
                .payload(&bytes);
            sent.push(producer.send_result(record).map_err(|(error, _)| error)?);
        }
        for delivery in sent {
            delivery.await?.map_err(|(error, _)| error)?;
        }
    }
    Ok(start.elapsed().as_secs_f64())
}

async fn replays(args: &Args, brokers: &str, report: &mut Report) -> anyhow::Result<()> {
    let recording = Recording::load(&args.data)?;
    let directory = tempfile::tempdir_in(&args.scratch)?;
    let log = EmbeddedLog::open(&directory.path().join("log"), EmbeddedOptions::default())?;
    let transactions = fill(&log, &recording, TRANSACTIONS).await?;
    let embedded: Arc<dyn Log> = Arc::new(log);
    let with_id = KafkaOptions {
        copy_of: Some(embedded.id()),
        ..options(brokers, "replay", directory.path())
    };
    let log: Arc<dyn Log> = Arc::new(KafkaLog::open(with_id).await?);
    fill(log.as_ref(), &recording, TRANSACTIONS).await?;
    let head = *log.head().borrow();
    let (mut ours, mut theirs, mut folds, mut reads) = (vec![], vec![], vec![], vec![]);
    let rate = |seconds: f64| transactions as f64 / seconds;
    for run in 0..args.runs {
        let store = |name: &str| directory.path().join(format!("{name}-{run}"));
        folds.push(rate(rebuild(&log, &store("kafka")).await?));
        theirs.push(rate(rebuild(&embedded, &store("embedded")).await?));
        let fresh = KafkaOptions {
            index: directory.path().join(format!("index-{run}")),
            ..options(brokers, "replay", directory.path())
        };
        reads.push(rate(read_all(fresh, head).await?));
        ours.push(rate(consume(brokers, "replay")?));
    }
    let what = "(j) rebuild by replay through Kafka";
    report.beside(
        what,
        median(folds),
        "tx/s",
        "from the embedded log",
        median(theirs),
    );
    let what = "(j) reading all commits through Kafka";
    report.beside(
        what,
        median(reads),
        "tx/s",
        "librdkafka's consumer",
        median(ours),
    );
    Ok(())
}

async fn rebuild(log: &Arc<dyn Log>, path: &Path) -> anyhow::Result<f64> {
    let store = Store::open(path, StoreOptions::default())?;
    let start = Instant::now();
    rebuild_offline(log, &store, &[], &|_, _| ()).await?;
    Ok(start.elapsed().as_secs_f64())
}

/// A node with an empty disk reads the log as its fold does.
async fn read_all(options: KafkaOptions, head: Position) -> anyhow::Result<f64> {
    let start = Instant::now();
    let log = KafkaLog::open(options).await?;
    let (mut seen, mut next) = (log.head(), Position(1));
    while next <= head {
        seen.wait_for(|head| *head >= next).await?;
        next = Position(next.0 + log.read(next, 4 << 20).await?.len() as u64);
    }
    Ok(start.elapsed().as_secs_f64())
}

fn consume(brokers: &str, topic: &str) -> anyhow::Result<f64> {
    let start = Instant::now();
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", brokers)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("enable.partition.eof", "true")
        .set("check.crcs", "true")
        // As the log's own consumer is set.
        .set("queued.max.messages.kbytes", "16384")
        .set("fetch.message.max.bytes", "4194304")
        .set("fetch.queue.backoff.ms", "2");
    let consumer: BaseConsumer = config.create()?;
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(topic, 0, Offset::Beginning)?;
    consumer.assign(&partitions)?;
    let mut bytes = 0;
    loop {
        match consumer.poll(Duration::from_secs(10)) {
            Some(Ok(message)) => bytes += message.payload_len(),
            Some(Err(KafkaError::PartitionEOF(_))) => break,
            Some(Err(error)) => return Err(error.into()),
            None => anyhow::bail!("no record came after {bytes} bytes"),
        }
    }
    Ok(start.elapsed().as_secs_f64())
}
