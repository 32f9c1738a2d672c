//! `cairn log copy`: the log moves, and stores, cursors and digests stay what they were.

use std::{
    future::poll_fn,
    path::Path,
    pin::pin,
    process::{Command, Stdio},
    task::Poll,
    thread,
    time::Duration,
};

use cairn_domain::{Position, commit::NewCommit};
use cairn_engine::log::{
    Claim, EmbeddedLog, EmbeddedOptions, KafkaLog, KafkaOptions, Log, LogError, copy,
};
use serde_json::Value;

use crate::kafka_log::commit;
use crate::support::{
    deployment::Deployment,
    http::get,
    kafka,
    process::{SAMPLE_BLOCKS, SAMPLES, Server},
    rounds,
};

const ALL: &str = r#"["ingest", "query"]"#;
const TO_KAFKA: &str = "log copy --from embedded --to kafka --json";
const TO_EMBEDDED: &str = "log copy --from kafka --to embedded --json";

fn page(server: &Server, path: &str) -> Value {
    let answer = get(&server.address, path);
    assert_eq!(
        answer.status,
        200,
        "{path}: {}",
        String::from_utf8_lossy(&answer.body)
    );
    serde_json::from_slice(&answer.body).expect("JSON")
}

/// A page, its cursor, and the page behind that.
fn pages(server: &Server) -> [Value; 3] {
    let first = page(server, "/api/explorer/transactions?limit=7&chain=sample");
    let cursor = first["next_cursor"].as_str().expect("a cursor").to_owned();
    let path = format!("/api/explorer/transactions?limit=7&chain=sample&cursor={cursor}");
    let second = page(server, &path);
    [first, Value::String(cursor), second]
}

fn serve(deployment: &Deployment, node: &str, kind: &str) -> Server {
    deployment.config(node, ALL, kind);
    let server = Server::start(&mut deployment.command(node, "serve"));
    server.wait_until("/health/ready", |health| health["ready"] == true);
    server
}

#[test]
fn a_log_that_moves_to_kafka_and_back_keeps_stores_cursors_and_digests() {
    let deployment = Deployment::new(&kafka::single(), "");
    deployment.config("one", ALL, "embedded");
    deployment.cairn("one", SAMPLES).ok();
    let server = serve(&deployment, "one", "embedded");
    let before = pages(&server);
    let digests = deployment.verified("one");
    deployment
        .cairn("one", TO_KAFKA)
        .refused(1, &["a server runs", "stop it"]);
    drop(server);
    let report = deployment.cairn("one", TO_KAFKA).ok().json();
    assert_eq!(
        (&report["copied"], &report["head"]),
        (&SAMPLE_BLOCKS.into(), &SAMPLE_BLOCKS.into())
    );
    // The source is sealed: nothing is appended behind the copy.
    let sealed = deployment.cairn("one", "serve --listen 127.0.0.1:0");
    sealed.refused(1, &["copied to topic", "copy it back"]);
    let server = serve(&deployment, "one", "kafka");
    assert_eq!(pages(&server), before);
    assert_eq!(deployment.verified("one"), digests);
    let [_, cursor, second] = &before;
    let path = format!(
        "/api/explorer/transactions?limit=7&chain=sample&cursor={}",
        cursor.as_str().expect("text")
    );
    assert_eq!(
        page(&server, &path),
        *second,
        "a cursor from before the move"
    );
    drop(server);
    // A node with an empty disk folds the same from the copy.
    let fresh = serve(&deployment, "two", "kafka");
    assert_eq!(deployment.verified("two"), digests);
    assert_eq!(pages(&fresh), before);
    drop(fresh);
    // More is appended, and it moves back.
    let other = "ingest samples/blocks.jsonl.zst --chain other --final --json";
    deployment.cairn("one", other).ok();
    let back = deployment.cairn("one", TO_EMBEDDED).ok().json();
    assert_eq!(
        (&back["found"], &back["copied"]),
        (&SAMPLE_BLOCKS.into(), &SAMPLE_BLOCKS.into())
    );
    let refused = deployment.cairn("one", other);
    refused.refused(1, &["copied to"]);
    let server = serve(&deployment, "one", "embedded");
    assert_eq!(
        page(&server, &path),
        *second,
        "a cursor from before both moves"
    );
    let epochs = deployment.stat("one");
    assert!(
        epochs["epoch"]["epoch"].as_u64() > Some(4),
        "epochs go on: {epochs}"
    );
}

#[test]
fn a_node_at_a_topic_that_was_copied_away_serves_what_it_has_and_says_so() {
    let deployment = Deployment::new(&kafka::single(), "");
    deployment.config("one", ALL, "kafka");
    deployment.cairn("one", SAMPLES).ok();
    let query = deployment.serve("two", r#"["query"]"#);
    deployment.cairn("one", TO_EMBEDDED).ok();
    let health = query.wait_until("/health/ready", |health| health["degraded"] == true);
    let detail = health["components"]["log"]["detail"].to_string();
    assert!(detail.contains("copied to"), "{health}");
    assert_eq!(health["ready"], true, "{health}");
    let list = page(&query, "/api/explorer/blocks?limit=1");
    assert_eq!(list["total"], SAMPLE_BLOCKS);
}

#[test]
fn the_same_file_through_both_logs_gives_the_same_digests_and_cursors() {
    let deployment = Deployment::new(&kafka::single(), "");
    for node in ["one", "two"] {
        deployment.config(node, ALL, "embedded");
    }
    // Two logs with one id: one in the directory, one in the topic, both empty.
    serve(&deployment, "one", "embedded").terminate();
    let copied = Command::new("cp")
        .arg("-a")
        .args([deployment.data("one"), deployment.data("two")])
        .status();
    assert!(copied.expect("cp runs").success());
    deployment.cairn("two", TO_KAFKA).ok();
    deployment.config("two", ALL, "kafka");
    for node in ["one", "two"] {
        assert_eq!(
            deployment.cairn(node, SAMPLES).ok().json()["position"],
            SAMPLE_BLOCKS
        );
    }
    assert_eq!(deployment.verified("one"), deployment.verified("two"));
    let (one, two) = (
        serve(&deployment, "one", "embedded"),
        serve(&deployment, "two", "kafka"),
    );
    assert_eq!(pages(&one), pages(&two));
}

#[test]
fn a_copy_that_is_killed_goes_on_where_it_was() {
    for round in 0..rounds(10) {
        let deployment = Deployment::new(&kafka::single(), "");
        deployment.config("one", ALL, "embedded");
        deployment.cairn("one", SAMPLES).ok();
        let digests = deployment.verified("one");
        let mut kills = 0;
        for pause in [100, 200, 300, 400].map(|base| base + 20 * round as u64) {
            let mut command = deployment.command("one", TO_KAFKA);
            let mut child = command.stdout(Stdio::null()).spawn().expect("cairn starts");
            thread::sleep(Duration::from_millis(pause));
            kills += u32::from(child.try_wait().expect("our child").is_none());
            child.kill().expect("it can be killed");
            child.wait().expect("it ends");
        }
        let report = deployment.cairn("one", TO_KAFKA).ok().json();
        eprintln!("round {round}: {kills} kills, then {report}");
        let (found, copied) = (report["found"].as_u64(), report["copied"].as_u64());
        assert_eq!(
            found.zip(copied).map(|(found, copied)| found + copied),
            Some(SAMPLE_BLOCKS)
        );
        let _server = serve(&deployment, "one", "kafka");
        assert_eq!(deployment.verified("one"), digests);
    }
}

#[test]
fn a_target_that_holds_another_log_is_refused() {
    let deployment = Deployment::new(&kafka::single(), "");
    drop(serve(&deployment, "one", "kafka"));
    deployment.config("two", ALL, "embedded");
    deployment.cairn("two", SAMPLES).ok();
    let refused = deployment.cairn("two", TO_KAFKA);
    refused.refused(1, &[&deployment.topic(), "name the topic of that log"]);
    // Nothing was sealed for it.
    deployment.cairn("two", SAMPLES).ok();
}

/// A log of so many commits, and an empty topic that is to be its copy.
async fn source_and_target(directory: &Path, commits: u64) -> (EmbeddedLog, KafkaLog) {
    let source = EmbeddedLog::open(&directory.join("log"), EmbeddedOptions::default());
    let source = source.expect("a log");
    let writer = source.acquire("source", None).await.expect("the writer");
    let appended = writer.append((1..=commits).map(commit).collect()).await;
    appended.expect("an append");
    let options = KafkaOptions {
        copy_of: Some(source.id()),
        ..kafka::options(&kafka::single(), directory)
    };
    let target = KafkaLog::open(options).await.expect("a log");
    (source, target)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_goes_on_behind_what_an_interrupted_one_had_appended() {
    let directory = tempfile::tempdir().expect("a directory");
    let (source, target) = source_and_target(directory.path(), 50).await;
    // What an interrupted copy leaves: some commits, and a log that is closed to everybody else.
    let claim = Claim {
        closed: Some("a copy is not complete".into()),
        ..Claim::default()
    };
    let copier = target.take_over(claim).await.expect("the writer");
    let some = source.read(Position(1), usize::MAX).await.expect("commits");
    let copies = some
        .into_iter()
        .take(20)
        .map(|c| NewCommit::copy_of(c.bytes));
    copier.append(copies.collect()).await.expect("an append");
    let refused = target.acquire("an impatient one", None).await.err();
    assert!(matches!(refused, Some(LogError::Sealed(_))), "{refused:?}");
    let report = copy(&source, &target, "copy", "the topic", &|_, _, _| ()).await;
    let report = report.expect("a copy");
    assert_eq!(
        (report.found, report.copied, report.head),
        (20, 30, Position(50))
    );
    let sealed = source
        .acquire("late", None)
        .await
        .err()
        .expect("it is sealed");
    assert!(
        sealed.to_string().contains("copied to the topic"),
        "{sealed}"
    );
    target.acquire("next", None).await.expect("it is open");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_with_another_commit_is_not_taken_for_a_copy() {
    let directory = tempfile::tempdir().expect("a directory");
    let (source, target) = source_and_target(directory.path(), 2).await;
    let other = target.acquire("other", None).await.expect("the writer");
    other.append(vec![commit(7)]).await.expect("an append");
    let refused = copy(&source, &target, "copy", "the topic", &|_, _, _| ()).await;
    let refused = refused.expect_err("it differs").to_string();
    assert!(
        refused.contains("commit 1 of the target differs"),
        "{refused}"
    );
}

/// Polls a future so many times at most, then drops it: a crash at one of its steps.
async fn polled<F: Future>(future: F, polls: u32) -> Option<F::Output> {
    let (mut future, mut left) = (pin!(future), polls);
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// Whether the epoch in force is of a log that everybody may acquire.
async fn is_open(log: &dyn Log) -> bool {
    log.caught_up().await.expect("the log");
    let epoch = log.epoch().borrow().clone();
    epoch.is_none_or(|record| record.closed.is_none())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_stops_at_any_step_leaves_no_two_logs_to_append_to() {
    let mut sealed = 0;
    for polls in 1.. {
        let directory = tempfile::tempdir().expect("a directory");
        let (source, target) = source_and_target(directory.path(), 3).await;
        let copying = copy(&source, &target, "copy", "the topic", &|_, _, _| ());
        let report = polled(copying, polls).await;
        let finished = report.transpose().expect("a copy").is_some();
        // What was under way when it stopped arrives all the same.
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (source_open, target_open) = (is_open(&source).await, is_open(&target).await);
        let whole = *target.head().borrow() == *source.head().borrow();
        eprintln!("{polls} polls: source open {source_open}, target open {target_open}");
        assert!(source_open || whole || !target_open, "{polls} polls");
        assert!(!finished || (!source_open && target_open && whole));
        sealed += u32::from(!source_open && !finished);
        if finished {
            break;
        }
    }
    assert!(sealed > 0, "no step was behind the seal");
}
