//! Brokers that want to know who comes, topics that lose records, and a broker whose disk fills.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use cairn_domain::{Position, Stream, commit::NewCommit, events::ChainReset};
use cairn_engine::log::{Condition, KafkaLog, KafkaOptions, Log, LogError, Writer};
use tokio::sync::OnceCell;

use crate::{
    kafka_log::commit,
    support::{
        disk::SmallDisk,
        kafka::{self, Cluster, kafka_sh},
    },
};

/// A broker that wants a name and a password.
async fn secured() -> &'static Cluster {
    static SECURED: OnceCell<Cluster> = OnceCell::const_new();
    let start = || async { Cluster::start(&["--nodes", "1", "--sasl"]) };
    SECURED.get_or_init(start).await
}

fn secured_options(
    cluster: &Cluster,
    directory: &Path,
    mechanism: &str,
    password: &str,
) -> KafkaOptions {
    let ca = cluster.path().join("ca.pem").display().to_string();
    let properties = [
        ("security.protocol", "SASL_SSL"),
        ("sasl.mechanism", mechanism),
        ("sasl.username", "cairn"),
        ("sasl.password", password),
        ("ssl.ca.location", &ca),
    ];
    let properties = properties.map(|(name, value)| (name.to_owned(), value.to_owned()));
    KafkaOptions {
        properties: BTreeMap::from(properties),
        patience: Duration::from_secs(10),
        ..kafka::options(&format!("127.0.0.1:{}", cluster.port(1, "SASL")), directory)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_with_each_way_to_say_a_password_works() {
    let cluster = secured().await;
    for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
        let directory = tempfile::tempdir().expect("a directory");
        let options = secured_options(cluster, directory.path(), mechanism, "cairn-secret");
        let log = KafkaLog::open(options).await.expect(mechanism);
        let writer = log.acquire("one", None).await.expect(mechanism);
        assert_eq!(
            writer.append(vec![commit(1)]).await.expect(mechanism),
            Position(1)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_and_an_unknown_authority_are_refused_with_the_way_out() {
    let cluster = secured().await;
    let directory = tempfile::tempdir().expect("a directory");
    let wrong = secured_options(cluster, directory.path(), "SCRAM-SHA-512", "guessed");
    let refused = KafkaLog::open(wrong).await.err().expect("it is refused");
    assert!(!refused.is_passing(), "{refused}");
    for part in [
        &kafka::topic(directory.path()),
        "refuse this node",
        "[kafka.properties]",
    ] {
        assert!(refused.to_string().contains(part), "{refused}");
    }
    assert!(!refused.to_string().contains("guessed"), "{refused}");
    let mut unknown = secured_options(cluster, directory.path(), "PLAIN", "cairn-secret");
    unknown.properties.remove("ssl.ca.location");
    let refused = KafkaLog::open(unknown)
        .await
        .err()
        .expect("it is refused")
        .to_string();
    assert!(refused.contains("certificate"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_librdkafka_does_not_know_are_named() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut options = kafka::options(&kafka::single(), directory.path());
    options.properties.insert("colour".into(), "blue".into());
    let refused = KafkaLog::open(options)
        .await
        .err()
        .expect("it is refused")
        .to_string();
    assert!(refused.contains("colour"), "{refused}");
}

/// Makes a topic with a setting of its own.
fn make_topic(brokers: &str, name: &str, setting: &str) {
    kafka_sh(&[
        "tool",
        "TopicCommand",
        "--bootstrap-server",
        brokers,
        "--create",
        "--topic",
        name,
        "--partitions",
        "1",
        "--replication-factor",
        "1",
        "--config",
        setting,
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn topics_that_lose_records_are_refused_with_the_reason() {
    let brokers = kafka::single();
    for (setting, reason) in [
        (
            "retention.ms=604800000",
            "retention.ms is 604800000, it must be -1",
        ),
        (
            "cleanup.policy=compact",
            "cleanup.policy is compact, it must be delete",
        ),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        let topic = kafka::topic(directory.path());
        make_topic(&brokers, &topic, setting);
        let options = kafka::options(&brokers, directory.path());
        let refused = KafkaLog::open(options)
            .await
            .err()
            .expect("it is refused")
            .to_string();
        for part in [&topic, reason, "name another topic"] {
            assert!(refused.contains(part), "{refused}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_whose_first_records_are_gone_is_refused_and_a_running_log_says_so() {
    let brokers = kafka::single();
    let directory = tempfile::tempdir().expect("a directory");
    let log = KafkaLog::open(kafka::options(&brokers, directory.path()))
        .await
        .expect("a log");
    let writer = log.acquire("one", None).await.expect("the writer");
    writer
        .append((0..50).map(commit).collect())
        .await
        .expect("an append");
    let topic = kafka::topic(directory.path());
    let file = directory.path().join("delete.json");
    let text = format!(
        r#"{{"version":1,"partitions":[{{"topic":"{topic}","partition":0,"offset":20}}]}}"#
    );
    std::fs::write(&file, text).expect("a file");
    kafka_sh(&[
        "tool",
        "DeleteRecordsCommand",
        "--bootstrap-server",
        &brokers,
        "--offset-json-file",
        file.to_str().expect("a plain name"),
    ]);
    let mut reason = None;
    for _ in 0..200 {
        if let Condition::Broken(broken) = log.condition() {
            reason = Some(broken);
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let refused = writer.append(vec![commit(99)]).await.err();
    assert!(
        matches!(refused, Some(LogError::Broken { .. })),
        "{refused:?}"
    );
    drop((writer, log));
    let fresh = KafkaOptions {
        index: directory.path().join("fresh"),
        ..kafka::options(&brokers, directory.path())
    };
    let refused = KafkaLog::open(fresh)
        .await
        .err()
        .expect("it is refused")
        .to_string();
    for text in [reason.expect("the running log says so"), refused] {
        for part in [&topic, "partition 0", "begins at offset 20", "log copy"] {
            assert!(text.contains(part), "{text}");
        }
    }
}

/// A commit that does not compress, so that a disk fills.
fn noise(number: u64) -> NewCommit {
    let sign = |_| char::from(rand::random_range(b' '..b'~'));
    let reason = (0..60_000).map(sign).collect();
    let stream = Stream::chain("eth").expect("a name");
    NewCommit::new(&stream, number, &[ChainReset { reason }.into()])
}

/// Appends until nothing is acknowledged any more; gives how many were.
async fn fill(writer: &dyn Writer) -> u64 {
    for number in 0..5000 {
        let append = writer.append(vec![noise(number)]);
        match tokio::time::timeout(Duration::from_secs(15), append).await {
            Ok(Ok(position)) => assert_eq!(position, Position(number + 1)),
            Ok(Err(error)) => {
                eprintln!("{number} commits, then: {error}");
                return number;
            }
            Err(_) => {
                eprintln!("{number} commits, then an append waits");
                return number;
            }
        }
    }
    panic!("the disk never fills");
}

async fn take_over_again(log: &dyn Log) -> Arc<dyn Writer> {
    loop {
        match log.acquire("two", None).await {
            Ok(writer) => return writer,
            Err(error) if error.is_passing() => {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_whose_disk_fills_loses_nothing_that_was_acknowledged() {
    let parent = tempfile::tempdir().expect("a directory");
    let Some(disk) = SmallDisk::mount(parent.path().join("disk"), 64) else {
        eprintln!("SKIPPED: this user may not mount a small disk");
        return;
    };
    let cluster = Cluster::start_in(disk.path(), &["--nodes", "1"]);
    let directory = tempfile::tempdir().expect("a directory");
    let log = KafkaLog::open(kafka::options(&cluster.brokers, directory.path())).await;
    let log: Arc<dyn Log> = Arc::new(log.expect("a log"));
    let writer = log.acquire("one", None).await.expect("the writer");
    let acknowledged = fill(writer.as_ref()).await;
    assert!(
        matches!(log.condition(), Condition::Waiting { .. }),
        "{:?}",
        log.condition()
    );
    assert!(
        disk.resize("remount,size", 1024),
        "the disk cannot be made larger"
    );
    // Kafka ends by itself when its only disk fails; else it is told to start anew.
    cluster.kill_if_alive(1);
    cluster.restart(1);
    let writer = take_over_again(log.as_ref()).await;
    let position = writer.append(vec![noise(1)]).await.expect("there is room");
    // The append that nobody acknowledged may be there, once.
    assert!(
        (acknowledged + 1..=acknowledged + 2).contains(&position.0),
        "{position}"
    );
    let report = log.verify(&|_| ()).await.expect("a readable log");
    assert_eq!((report.commits, report.problems), (position.0, vec![]));
}
