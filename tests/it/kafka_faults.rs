//! Brokers that die, a network that is cut, a disk that fills, writers that sleep: what was
//! acknowledged is in the log once, at its position, and every node sees the same.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use cairn_domain::Position;
use cairn_engine::log::{Condition, KafkaLog, KafkaOptions, Log, LogError, Writer, wait_for};
use tokio::{sync::Mutex, task::JoinHandle};

use crate::{
    kafka_log::commit,
    support::{
        kafka,
        proxy::{moment, proxied},
        rounds,
    },
};

/// Longer than any failover may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Appends without an end, takes the log over again when it lost it, and remembers what was
/// acknowledged.
struct Load {
    acknowledged: Arc<Mutex<BTreeMap<u64, u64>>>,
    takes_over: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Load {
    /// `numbers` is shared by all loads of a test: each commit has its own.
    fn start(log: &Arc<dyn Log>, name: &str, numbers: &Arc<AtomicU64>) -> Self {
        let (acknowledged, stop) = (Arc::default(), Arc::default());
        let takes_over = Arc::new(AtomicBool::new(true));
        let work = append_all(
            Arc::clone(log),
            name.to_owned(),
            Arc::clone(numbers),
            Arc::clone(&acknowledged),
            (Arc::clone(&takes_over), Arc::clone(&stop)),
        );
        Self {
            acknowledged,
            takes_over,
            stop,
            task: tokio::spawn(work),
        }
    }

    async fn count(&self) -> usize {
        self.acknowledged.lock().await.len()
    }

    /// Waits until so many more are acknowledged.
    async fn go_on(&self, more: usize) -> Duration {
        let (started, before) = (Instant::now(), self.count().await);
        while self.count().await < before + more {
            assert!(
                started.elapsed() < PATIENCE,
                "nothing is acknowledged any more"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        started.elapsed()
    }

    /// Does not take the log over again once it lost it.
    fn resign(&self) {
        self.takes_over.store(false, Ordering::Relaxed);
    }

    /// The positions of what was acknowledged, by number.
    async fn end(self) -> BTreeMap<u64, u64> {
        self.stop.store(true, Ordering::Relaxed);
        let ended = tokio::time::timeout(PATIENCE, self.task).await;
        ended.expect("an append waits for ever").expect("no panic");
        Arc::into_inner(self.acknowledged)
            .expect("the task ended")
            .into_inner()
    }
}

async fn append_all(
    log: Arc<dyn Log>,
    name: String,
    numbers: Arc<AtomicU64>,
    acknowledged: Arc<Mutex<BTreeMap<u64, u64>>>,
    (takes_over, stop): (Arc<AtomicBool>, Arc<AtomicBool>),
) {
    while !stop.load(Ordering::Relaxed) && takes_over.load(Ordering::Relaxed) {
        let writer = match log.acquire(&name, None).await {
            Ok(writer) => writer,
            Err(error) => {
                eprintln!("{name}: {error}");
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
        };
        while !stop.load(Ordering::Relaxed) {
            match append_some(writer.as_ref(), &numbers).await {
                Ok((number, position)) => {
                    acknowledged.lock().await.insert(number, position.0);
                    acknowledged.lock().await.insert(number + 1, position.0 + 1);
                }
                Err(error) => {
                    eprintln!("{name}: {error}");
                    break;
                }
            }
        }
    }
}

/// Two commits in one append.
async fn append_some(
    writer: &dyn Writer,
    numbers: &AtomicU64,
) -> Result<(u64, Position), LogError> {
    let number = numbers.fetch_add(2, Ordering::Relaxed);
    let position = writer
        .append(vec![commit(number), commit(number + 1)])
        .await?;
    Ok((number, position))
}

fn options(brokers: &str, directory: &Path, node: &str) -> KafkaOptions {
    KafkaOptions {
        index: directory.join(node),
        replication: Some(if brokers.contains(',') { 3 } else { 1 }),
        ..kafka::options(brokers, directory)
    }
}

async fn open(brokers: &str, directory: &Path, node: &str) -> Arc<dyn Log> {
    let log = KafkaLog::open(options(brokers, directory, node)).await;
    Arc::new(log.expect("a log"))
}

/// Asserts that a node sees everything that was acknowledged at its position, appends whole, and
/// nothing twice; gives what it sees.
async fn assert_sees(log: &dyn Log, acknowledged: &BTreeMap<u64, u64>) -> Vec<u64> {
    log.caught_up().await.expect("the brokers answer");
    let head = *log.head().borrow();
    let mut numbers = Vec::new();
    while (numbers.len() as u64) < head.0 {
        let from = Position(numbers.len() as u64 + 1);
        for commit in log.read(from, 1 << 20).await.expect("a readable log") {
            numbers.push(commit.decode().expect("a commit").header.event_time);
        }
    }
    for (number, position) in acknowledged {
        let found = usize::try_from(position - 1)
            .ok()
            .and_then(|at| numbers.get(at));
        assert_eq!(found, Some(number), "acknowledged at position {position}");
    }
    assert!(
        numbers.chunks(2).all(|pair| pair[1] == pair[0] + 1),
        "an append in parts"
    );
    let mut once = numbers.clone();
    once.sort_unstable();
    once.dedup();
    assert_eq!(once.len(), numbers.len(), "a commit is there twice");
    let report = log.verify(&|_| ()).await.expect("a readable log");
    assert_eq!((report.commits, report.problems), (head.0, vec![]));
    numbers
}

/// All nodes, and one with an empty disk, see the same.
async fn assert_all_see(
    logs: &[&Arc<dyn Log>],
    (brokers, directory): (&str, &Path),
    acknowledged: &BTreeMap<u64, u64>,
) {
    let fresh = open(brokers, directory, "fresh").await;
    let expected = assert_sees(fresh.as_ref(), acknowledged).await;
    for log in logs {
        assert_eq!(assert_sees(log.as_ref(), acknowledged).await, expected);
    }
}

async fn wait_for_condition(log: &dyn Log, what: &str, holds: impl Fn(&Condition) -> bool) {
    let started = Instant::now();
    while !holds(&log.condition()) {
        let condition = log.condition();
        assert!(started.elapsed() < PATIENCE, "not {what} but {condition:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_are_killed_lose_nothing_that_was_acknowledged() {
    let cluster = kafka::three().await;
    for round in 0..rounds(10) {
        let directory = tempfile::tempdir().expect("a directory");
        let log = open(&cluster.brokers, directory.path(), "writer").await;
        let reader = open(&cluster.brokers, directory.path(), "reader").await;
        let load = Load::start(&log, "writer", &Arc::default());
        load.go_on(200).await;
        let first = 1 + u32::try_from(round % 3).expect("small");
        cluster.kill(first);
        let took = load.go_on(200).await;
        eprintln!("round {round}: broker {first} killed, appends went on after {took:?}");
        let second = 1 + first % 3;
        cluster.kill(second);
        wait_for_condition(log.as_ref(), "waiting", |condition| {
            matches!(condition, Condition::Waiting { .. })
        })
        .await;
        assert!(
            !reader
                .read(Position(1), 1)
                .await
                .expect("reads go on")
                .is_empty()
        );
        cluster.restart(second);
        let took = load.go_on(200).await;
        eprintln!("round {round}: broker {second} is back, appends went on after {took:?}");
        cluster.restart(first);
        wait_for_condition(log.as_ref(), "well", |condition| {
            matches!(condition, Condition::Well { .. })
        })
        .await;
        let acknowledged = load.end().await;
        let place = (cluster.brokers.as_str(), directory.path());
        assert_all_see(&[&log, &reader], place, &acknowledged).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_behind_a_cut_network_is_fenced_and_what_it_sends_late_does_not_count() {
    let cluster = kafka::three().await;
    let (network, through) = proxied(&cluster).await;
    for round in 0..rounds(10) {
        let directory = tempfile::tempdir().expect("a directory");
        let numbers = Arc::default();
        let cut = open(&through, directory.path(), "cut").await;
        let direct = open(&cluster.brokers, directory.path(), "direct").await;
        let old = Load::start(&cut, "old", &numbers);
        old.go_on(100).await;
        network.cut();
        old.resign();
        moment().await;
        let new = Load::start(&direct, "new", &numbers);
        new.go_on(200).await;
        wait_for_condition(cut.as_ref(), "waiting", |condition| {
            matches!(condition, Condition::Waiting { .. })
        })
        .await;
        network.mend();
        let mut acknowledged = old.end().await;
        new.go_on(100).await;
        acknowledged.extend(new.end().await);
        eprintln!("round {round}: {} acknowledged", acknowledged.len());
        let place = (cluster.brokers.as_str(), directory.path());
        assert_all_see(&[&cut, &direct], place, &acknowledged).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cut_that_is_mended_before_anybody_took_over_goes_on_in_the_same_epoch() {
    let cluster = kafka::three().await;
    let (network, through) = proxied(&cluster).await;
    let directory = tempfile::tempdir().expect("a directory");
    let log = open(&through, directory.path(), "cut").await;
    let load = Load::start(&log, "writer", &Arc::default());
    load.go_on(100).await;
    network.cut();
    moment().await;
    network.mend();
    load.go_on(100).await;
    let acknowledged = load.end().await;
    assert_eq!(log.stat().await.expect("brokers").epochs, 1);
    let place = (cluster.brokers.as_str(), directory.path());
    assert_all_see(&[&log], place, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_of_many_tasks_survive_a_takeover_in_the_middle() {
    let directory = tempfile::tempdir().expect("a directory");
    let brokers = kafka::single();
    let numbers = Arc::default();
    let (one, two) = (
        open(&brokers, directory.path(), "one").await,
        open(&brokers, directory.path(), "two").await,
    );
    let mut acknowledged = BTreeMap::new();
    let first = Load::start(&one, "one", &numbers);
    first.go_on(100).await;
    for _ in 0..rounds(20) {
        first.resign();
        let second = Load::start(&two, "two", &numbers);
        second.go_on(50).await;
        acknowledged.extend(second.end().await);
    }
    acknowledged.extend(first.end().await);
    assert_all_see(&[&one, &two], (&brokers, directory.path()), &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_waits_for_everything_that_the_old_writer_had_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let brokers = kafka::single();
    let (one, two) = (
        open(&brokers, directory.path(), "one").await,
        open(&brokers, directory.path(), "two").await,
    );
    let old = one.acquire("one", None).await.expect("the writer");
    let last = old
        .append((0..500).map(commit).collect())
        .await
        .expect("an append");
    assert_eq!(last, Position(1));
    two.acquire("two", None).await.expect("the writer");
    assert_eq!(*two.head().borrow(), Position(500));
    assert!(wait_for(&mut one.head(), Position(500), PATIENCE).await);
}
