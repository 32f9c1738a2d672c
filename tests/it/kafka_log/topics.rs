//! Topics that are not what a node expects: gone, of another log, restored, not there yet.

use std::sync::Arc;

use cairn_domain::Position;
use cairn_engine::log::{KafkaLog, KafkaOptions, Log, copy as copy_log};

use super::{Topic, commit};
use crate::support::kafka;

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_no_log_or_of_another_log_is_refused() {
    let topic = Topic::new();
    let log = topic.open("one").await;
    drop(log);
    // Another node's index, of another log.
    let other = Topic::new();
    drop(other.open("x").await);
    let elsewhere = KafkaOptions {
        index: topic.path().join("one"),
        ..other.options("x")
    };
    let refused = KafkaLog::open(elsewhere).await.err().unwrap().to_string();
    for part in [&other.name(), "offset 0", "another data directory"] {
        assert!(refused.contains(part), "{refused}");
    }
    let wrong_count = KafkaOptions {
        partitions: 2,
        ..topic.options("one")
    };
    let refused = KafkaLog::open(wrong_count).await.err().unwrap().to_string();
    for part in [&topic.name(), "1 partitions", "2 shards"] {
        assert!(refused.contains(part), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_known_topic_that_is_gone_is_not_made_again_and_one_that_was_restored_is_read_anew() {
    let (topic, copy) = (Topic::new(), Topic::new());
    let log = topic.open("one").await;
    let writer = log.acquire("one", None).await.unwrap();
    for number in 1..=30 {
        writer.append(vec![commit(number)]).await.unwrap();
    }
    let backup = KafkaOptions {
        copy_of: Some(log.id()),
        ..copy.options("one")
    };
    let backup: Arc<dyn Log> = Arc::new(KafkaLog::open(backup).await.unwrap());
    copy_log(log.as_ref(), backup.as_ref(), "x", "y", &|_, _, _| ())
        .await
        .unwrap();
    drop((writer, log));
    let name = topic.name();
    let delete = [
        "tool",
        "TopicCommand",
        "--bootstrap-server",
        &topic.brokers,
        "--delete",
        "--topic",
        &name,
    ];
    kafka::kafka_sh(&delete);
    let refused = KafkaLog::open(topic.options("one"))
        .await
        .err()
        .unwrap()
        .to_string();
    for part in [name.as_str(), "there is no such topic", "restore it"] {
        assert!(refused.contains(part), "{refused}");
    }
    // Restored under the same name: the same log, at other offsets.
    let restored = KafkaOptions {
        copy_of: Some(backup.id()),
        ..topic.options("two")
    };
    let restored = KafkaLog::open(restored).await.unwrap();
    copy_log(backup.as_ref(), &restored, "x", "y", &|_, _, _| ())
        .await
        .unwrap();
    let log = topic.open("one").await;
    log.caught_up().await.unwrap();
    let writer = log.acquire("one", None).await.unwrap();
    assert_eq!(writer.append(vec![commit(31)]).await.unwrap(), Position(31));
    let report = log.verify(&|_| ()).await.unwrap();
    assert_eq!((report.commits, report.problems), (31, vec![]));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_only_looks_makes_no_topic() {
    let topic = Topic::new();
    let options = KafkaOptions {
        making: false,
        ..topic.options("one")
    };
    let refused = KafkaLog::open(options.clone())
        .await
        .err()
        .unwrap()
        .to_string();
    assert!(refused.contains("there is no such topic"), "{refused}");
    let refused = KafkaLog::open(options).await.err().unwrap().to_string();
    assert!(refused.contains("there is no such topic"), "{refused}");
}
