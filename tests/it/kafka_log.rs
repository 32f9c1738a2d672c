//! The log in Kafka itself: what other consumers see of it, and what it says of a topic that is not as
//! it should be.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use cairn_domain::{Event, Position, Stream, commit::NewCommit, events::ChainReset};
use cairn_engine::log::{Condition, KafkaLog, KafkaOptions, Log, LogError, wait_for};
use tempfile::TempDir;

use crate::support::kafka::{self, kcat};

mod topics;

pub(crate) fn commit(number: u64) -> NewCommit {
    let reason = format!("number {number}");
    let stream = Stream::chain("eth").expect("a name");
    NewCommit::new(&stream, number, &[ChainReset { reason }.into()])
}

/// A topic of its own on the broker that all tests share.
struct Topic {
    directory: TempDir,
    brokers: String,
}

impl Topic {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
            brokers: kafka::single(),
        }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn name(&self) -> String {
        kafka::topic(self.path())
    }

    /// As the node called `node` sees it.
    fn options(&self, node: &str) -> KafkaOptions {
        KafkaOptions {
            index: self.path().join(node),
            patience: Duration::from_secs(5),
            ..kafka::options(&self.brokers, self.path())
        }
    }

    async fn open(&self, node: &str) -> Arc<dyn Log> {
        let log = KafkaLog::open(self.options(node)).await.expect("a log");
        Arc::new(log)
    }

    /// Writes a record with these headers, each `name=value`.
    fn produce(&self, headers: &[&str], payload: &[u8]) {
        let file = self.path().join("payload");
        std::fs::write(&file, payload).expect("a file");
        let (name, file) = (self.name(), file.display().to_string());
        let mut arguments = vec!["-P", "-b", &self.brokers, "-t", &name, "-p", "0"];
        for header in headers {
            arguments.extend(["-H", header]);
        }
        arguments.push(&file);
        kcat(&arguments);
    }

    /// Headers of all records, one line each.
    fn headers(&self) -> Vec<String> {
        let name = self.name();
        let line = kcat(&[
            "-C",
            "-q",
            "-e",
            "-b",
            &self.brokers,
            "-t",
            &name,
            "-p",
            "0",
            "-f",
            "%o %h\n",
        ]);
        line.lines().map(str::to_owned).collect()
    }
}

/// Waits until the log says that it is broken, and gives the reason.
async fn broken(log: &dyn Log) -> String {
    for _ in 0..200 {
        if let Condition::Broken(reason) = log.condition() {
            return reason;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the log is still {:?}", log.condition());
}

#[tokio::test(flavor = "multi_thread")]
async fn other_consumers_see_in_the_headers_what_a_record_holds() {
    let topic = Topic::new();
    let log = topic.open("one").await;
    let writer = log.acquire("one", Some("http://one")).await.unwrap();
    let stream = Stream::chain("eth").unwrap();
    let events: Vec<Event> = Event::examples();
    writer
        .append(vec![NewCommit::new(&stream, 1, &events), commit(2)])
        .await
        .unwrap();
    let headers = topic.headers();
    assert_eq!(headers[0], "0 cairn=log/1");
    assert_eq!(headers[1], "1 cairn=epoch/1,epoch=1");
    let kinds = events
        .iter()
        .map(|event| event.kind_and_version().0.to_string());
    let kinds = kinds.collect::<Vec<_>>().join(",");
    let versions = vec!["1"; events.len()].join(",");
    assert_eq!(
        headers[2],
        format!(
            "2 cairn=commit/1,epoch=1,sequence=0,more=commit,stream=chain/eth,kind={kinds},version={versions},codec=1"
        )
    );
    assert_eq!(
        headers[3],
        "3 cairn=commit/1,epoch=1,sequence=1,stream=chain/eth,kind=6,version=1,codec=1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn several_nodes_see_the_same_log_and_only_the_last_that_took_over_writes() {
    let topic = Topic::new();
    let (one, two) = (topic.open("one").await, topic.open("two").await);
    assert_eq!(one.id(), two.id());
    let old = one.acquire("one", None).await.unwrap();
    assert_eq!(old.append(vec![commit(1)]).await.unwrap(), Position(1));
    let new = two.acquire("two", None).await.unwrap();
    let refused = old.append(vec![commit(99)]).await.unwrap_err();
    assert!(matches!(refused, LogError::Fenced { .. }), "{refused}");
    assert_eq!(new.append(vec![commit(2)]).await.unwrap(), Position(2));
    for log in [&one, &two] {
        assert!(wait_for(&mut log.head(), Position(2), Duration::from_secs(10)).await);
        let commits = log.read(Position(1), usize::MAX).await.unwrap();
        let times: Vec<_> = commits
            .iter()
            .map(|c| c.decode().unwrap().header.event_time)
            .collect();
        assert_eq!(times, [1, 2]);
        assert_eq!(log.epoch().borrow().as_ref().unwrap().writer, "two");
    }
    let report = one.verify(&|_| ()).await.unwrap();
    assert_eq!((report.commits, report.problems), (2, vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_in_memory_is_read_from_marks_and_by_a_node_with_an_empty_disk() {
    let topic = Topic::new();
    let options = KafkaOptions {
        tail_bytes: 1 << 10,
        ..topic.options("one")
    };
    let log = KafkaLog::open(options).await.unwrap();
    let writer = log.acquire("one", None).await.unwrap();
    let large = |number: u64| {
        let reason = "x".repeat(100_000);
        let stream = Stream::chain("eth").unwrap();
        NewCommit::new(&stream, number, &[ChainReset { reason }.into()])
    };
    for first in (1..=100).step_by(10) {
        writer
            .append((first..first + 10).map(large).collect())
            .await
            .unwrap();
    }
    for from in [1, 37, 50, 99, 2] {
        let commits = log.read(Position(from), 250_000).await.unwrap();
        let times: Vec<_> = commits
            .iter()
            .map(|c| c.decode().unwrap().header.event_time)
            .collect();
        assert_eq!(times[0], from, "{times:?}");
        assert!(
            times.windows(2).all(|pair| pair[1] == pair[0] + 1),
            "{times:?}"
        );
        assert!(times.len() <= 3, "{times:?}");
    }
    drop((writer, log));
    // Again with what the index remembers, and without.
    for node in ["one", "two"] {
        let log = topic.open(node).await;
        log.caught_up().await.unwrap();
        assert_eq!(*log.head().borrow(), Position(100));
        let commits = log.read(Position(64), 1).await.unwrap();
        assert_eq!(commits[0].position, Position(64));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_record_stops_the_log_until_it_is_named() {
    let topic = Topic::new();
    let log = topic.open("one").await;
    let writer = log.acquire("one", None).await.unwrap();
    writer.append(vec![commit(1)]).await.unwrap();
    topic.produce(&[], b"somebody else's");
    let reason = broken(log.as_ref()).await;
    let place = format!("topic {} partition 0 offset 3", topic.name());
    for part in [&place, "not written by cairn", "ignored_offsets"] {
        assert!(reason.contains(part), "{reason}");
    }
    let refused = writer.append(vec![commit(2)]).await.unwrap_err();
    assert!(matches!(refused, LogError::Broken { .. }), "{refused}");
    let report = log
        .verify(&|_| ())
        .await
        .expect("what comes before it can be read");
    assert_eq!(report.commits, 1);
    assert!(report.problems[0].contains(&place), "{report:?}");
    drop((writer, log));
    let options = KafkaOptions {
        ignored: BTreeSet::from([3]),
        ..topic.options("one")
    };
    let log = KafkaLog::open(options).await.unwrap();
    let writer = log.acquire("two", None).await.unwrap();
    let position = writer.append(vec![commit(2)]).await.unwrap();
    // The refused append is in the topic, behind the foreign record: its epoch was in force.
    assert!(position >= Position(2));
    assert_eq!(
        log.verify(&|_| ()).await.unwrap().problems,
        Vec::<String>::new()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_a_newer_cairn_and_of_another_deployment_stop_the_log_with_the_way_out() {
    let other = r#"{"log":"00000000000000000000000000000000","record":{"epoch":9,"writer":"x","address":null,"after":0,"recorded_time":0}}"#;
    let cases: [(&[&str], &str, &str); 3] = [
        (
            &["cairn=commit/2", "epoch=1", "sequence=0"],
            "new",
            "upgrade",
        ),
        (&["cairn=epoch/1", "epoch=9"], other, "two deployments"),
        (&["cairn=epoch/1", "epoch=9"], "{", "damaged"),
    ];
    for (headers, payload, way_out) in cases {
        let topic = Topic::new();
        let log = topic.open("one").await;
        log.acquire("one", None).await.unwrap();
        topic.produce(headers, payload.as_bytes());
        let reason = broken(log.as_ref()).await;
        assert!(reason.contains("partition 0 offset 2"), "{reason}");
        assert!(reason.contains(way_out), "{reason}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_with_the_same_index_is_refused() {
    let topic = Topic::new();
    let _log = topic.open("one").await;
    let refused = KafkaLog::open(topic.options("one")).await.err().unwrap();
    assert!(matches!(refused, LogError::InUse { .. }), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_do_not_answer_are_named_and_a_known_log_opens_without_them() {
    let topic = Topic::new();
    let log = topic.open("one").await;
    let writer = log.acquire("one", None).await.unwrap();
    writer.append(vec![commit(1)]).await.unwrap();
    let id = log.id();
    drop((writer, log));
    let away = |node: &str| KafkaOptions {
        brokers: "127.0.0.1:1".into(),
        patience: Duration::from_secs(1),
        ..topic.options(node)
    };
    let refused = KafkaLog::open(away("new")).await.err().unwrap();
    assert!(refused.is_passing(), "{refused}");
    assert!(refused.to_string().contains("127.0.0.1:1"), "{refused}");
    let log = KafkaLog::open(away("one")).await.unwrap();
    assert_eq!((log.id(), *log.head().borrow()), (id, Position(1)));
    let mut waits = false;
    for _ in 0..100 {
        waits |= matches!(log.condition(), Condition::Waiting { .. });
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(waits, "{:?}", log.condition());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_an_unknown_kind_is_located_for_whoever_cannot_fold_it() {
    let topic = Topic::new();
    let log = topic.open("one").await;
    let writer = log.acquire("one", None).await.unwrap();
    writer.append(vec![commit(1)]).await.unwrap();
    let mut stored = commit(2).seal(1, 1);
    let kind = stored
        .windows(2)
        .position(|two| two == 6u16.to_le_bytes())
        .unwrap();
    stored[kind..kind + 2].copy_from_slice(&999u16.to_le_bytes());
    let position = writer
        .append(vec![NewCommit::copy_of(stored)])
        .await
        .unwrap();
    let read = log.read(position, 1).await.unwrap();
    let error = read[0].decode().unwrap_err().to_string();
    assert!(
        error.contains("kind 999") && error.contains("upgrade"),
        "{error}"
    );
    let place = log.locate(position).await.unwrap();
    assert_eq!(
        place,
        format!("topic {} partition 0 offset 3", topic.name())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_our_own_cannot_be_ignored() {
    let topic = Topic::new();
    let log = topic.open("one").await;
    let writer = log.acquire("one", None).await.unwrap();
    writer.append(vec![commit(1)]).await.unwrap();
    let options = KafkaOptions {
        ignored: BTreeSet::from([2]),
        ..topic.options("two")
    };
    let other = KafkaLog::open(options).await.unwrap();
    let reason = broken(&other).await;
    for part in ["offset 2", "take it off that list"] {
        assert!(reason.contains(part), "{reason}");
    }
}
