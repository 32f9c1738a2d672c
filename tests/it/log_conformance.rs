//! The suite that every implementation of the log must pass.

use std::{path::Path, sync::Arc, time::Duration};

use cairn_domain::{Event, Position, Stream, commit::NewCommit, events::ChainReset};
use cairn_engine::log::{
    Claim, EmbeddedLog, EmbeddedOptions, KafkaLog, KafkaOptions, Log, LogError, LogId, wait_for,
};

use crate::support::kafka;

/// How the suite opens, closes and reopens an implementation.
trait Implementation {
    async fn open(directory: &Path) -> Arc<dyn Log> {
        Self::open_copy(directory, None).await.expect("a log")
    }

    /// As [`Implementation::open`], as the copy of another log.
    async fn open_copy(directory: &Path, of: Option<LogId>) -> Result<Arc<dyn Log>, LogError>;
}

struct Embedded;

impl Implementation for Embedded {
    async fn open_copy(directory: &Path, of: Option<LogId>) -> Result<Arc<dyn Log>, LogError> {
        let options = EmbeddedOptions {
            part_bytes: 300,
            copy_of: of,
            ..EmbeddedOptions::default()
        };
        let log = EmbeddedLog::open(&directory.join("log"), options)?;
        Ok(Arc::new(log))
    }
}

struct Kafka;

impl Implementation for Kafka {
    /// A directory stands for a topic; its index lies in it.
    async fn open_copy(directory: &Path, of: Option<LogId>) -> Result<Arc<dyn Log>, LogError> {
        let options = KafkaOptions {
            part_bytes: 300,
            copy_of: of,
            ..kafka::options(&kafka::single(), directory)
        };
        Ok(Arc::new(KafkaLog::open(options).await?))
    }
}

fn commit(number: u64) -> NewCommit {
    let stream = Stream::chain("eth").expect("a name");
    NewCommit::new(&stream, number, &Event::examples())
}

fn event_times(commits: &[cairn_engine::log::StoredCommit]) -> Vec<u64> {
    commits
        .iter()
        .map(|commit| commit.decode().expect("a commit").header.event_time)
        .collect()
}

async fn positions_are_gapless_and_survive_reopening<I: Implementation>(directory: &Path) {
    let log = I::open(directory).await;
    let writer = log.acquire("one", None).await.unwrap();
    assert_eq!(
        writer.append(vec![commit(1), commit(2)]).await.unwrap(),
        Position(1)
    );
    assert_eq!(writer.append(vec![commit(3)]).await.unwrap(), Position(3));
    drop((writer, log));
    let log = I::open(directory).await;
    assert_eq!(*log.head().borrow(), Position(3));
    let writer = log.acquire("two", None).await.unwrap();
    assert_eq!(writer.append(vec![commit(4)]).await.unwrap(), Position(4));
    let commits = log.read(Position(1), usize::MAX).await.unwrap();
    assert_eq!(event_times(&commits), [1, 2, 3, 4]);
    let positions: Vec<_> = commits.iter().map(|commit| commit.position.0).collect();
    assert_eq!(positions, [1, 2, 3, 4]);
}

async fn a_log_keeps_its_id_for_good_and_a_copy_has_it_too<I: Implementation>(directory: &Path) {
    let [one, two, copy] = ["one", "two", "copy"].map(|name| directory.join(name));
    for place in [&one, &two, &copy] {
        std::fs::create_dir(place).unwrap();
    }
    let id = I::open(&one).await.id();
    assert_eq!(I::open(&one).await.id(), id, "after reopening");
    assert_ne!(I::open(&two).await.id(), id, "no two logs are alike");
    let log = I::open_copy(&copy, Some(id)).await.unwrap();
    assert_eq!(log.id(), id);
    drop(log);
    assert_eq!(I::open(&copy).await.id(), id, "the copy has it for good");
    let other = I::open_copy(&two, Some(id)).await.err().unwrap();
    let refused = matches!(
        other,
        LogError::Incompatible { .. } | LogError::Broken { .. }
    );
    assert!(refused, "{other}");
}

async fn an_older_writer_is_fenced<I: Implementation>(directory: &Path) {
    let log = I::open(directory).await;
    let old = log.acquire("old", Some("http://old")).await.unwrap();
    old.append(vec![commit(1)]).await.unwrap();
    let new = log.acquire("new", None).await.unwrap();
    assert!(new.epoch() > old.epoch());
    let refused = old.append(vec![commit(2)]).await.unwrap_err();
    assert!(matches!(refused, LogError::Fenced { .. }), "{refused}");
    assert_eq!(new.append(vec![commit(3)]).await.unwrap(), Position(2));
    let commits = log.read(Position(1), usize::MAX).await.unwrap();
    assert_eq!(event_times(&commits), [1, 3]);
    let stat = log.stat().await.unwrap();
    let epoch = stat.epoch.unwrap();
    assert_eq!((epoch.writer.as_str(), epoch.after), ("new", Position(1)));
    let last = commits[1].decode().unwrap();
    assert_eq!(last.header.epoch, new.epoch());
}

async fn the_tail_wakes_readers_and_shows_only_what_can_be_read<I: Implementation>(
    directory: &Path,
) {
    let log = I::open(directory).await;
    let writer = log.acquire("one", None).await.unwrap();
    let (reader, mut head) = (Arc::clone(&log), log.head());
    let reading = tokio::spawn(async move {
        assert!(wait_for(&mut head, Position(3), Duration::from_secs(10)).await);
        let seen = *head.borrow();
        (seen, reader.read(seen, 1).await.unwrap().len())
    });
    for number in 1..=3 {
        writer.append(vec![commit(number)]).await.unwrap();
    }
    assert_eq!(reading.await.unwrap(), (Position(3), 1));
    assert!(!wait_for(&mut log.head(), Position(4), Duration::from_millis(20)).await);
}

async fn reads_are_ranges_bounded_in_bytes<I: Implementation>(directory: &Path) {
    let log = I::open(directory).await;
    let writer = log.acquire("one", None).await.unwrap();
    writer.append((1..=10).map(commit).collect()).await.unwrap();
    let size = commit(1).size();
    assert_eq!(
        event_times(&log.read(Position(4), 2 * size).await.unwrap()),
        [4, 5]
    );
    assert_eq!(event_times(&log.read(Position(10), 1).await.unwrap()), [10]);
    assert_eq!(event_times(&log.read(Position(0), 1).await.unwrap()), [1]);
    assert!(log.read(Position(11), usize::MAX).await.unwrap().is_empty());
}

async fn a_commit_larger_than_a_part_comes_back_whole<I: Implementation>(directory: &Path) {
    let log = I::open(directory).await;
    let writer = log.acquire("one", None).await.unwrap();
    let stream = Stream::chain("eth").expect("a name");
    let events: Vec<Event> = (0..500).flat_map(|_| Event::examples()).collect();
    let large = NewCommit::new(&stream, 9, &events);
    writer
        .append(vec![commit(1), large, commit(2)])
        .await
        .unwrap();
    let commits = log.read(Position(1), usize::MAX).await.unwrap();
    assert_eq!(event_times(&commits), [1, 9, 2]);
    assert_eq!(commits[1].decode().unwrap().events, events);
}

async fn concurrent_appends_keep_their_order_and_lose_nothing<I: Implementation>(directory: &Path) {
    let log = I::open(directory).await;
    let writer = log.acquire("one", None).await.unwrap();
    let appends = (0..8u64).map(|task| {
        let writer = Arc::clone(&writer);
        tokio::spawn(async move {
            let mut positions = Vec::new();
            for number in 0..25 {
                let pair = vec![
                    commit(task * 1000 + number * 2),
                    commit(task * 1000 + number * 2 + 1),
                ];
                positions.push(writer.append(pair).await.unwrap());
            }
            positions
        })
    });
    let appends: Vec<_> = appends.collect();
    for append in appends {
        let positions = append.await.unwrap();
        assert!(
            positions.is_sorted(),
            "one writer's appends are in its order"
        );
    }
    let times = event_times(&log.read(Position(1), usize::MAX).await.unwrap());
    assert_eq!(times.len(), 400);
    assert!(
        times.chunks(2).all(|pair| pair[1] == pair[0] + 1),
        "commits of one append stay together"
    );
}

async fn a_clean_log_verifies<I: Implementation>(directory: &Path) {
    let log = I::open(directory).await;
    let writer = log.acquire("one", None).await.unwrap();
    writer.append((1..=10).map(commit).collect()).await.unwrap();
    let report = log.verify(&|_| ()).await.unwrap();
    assert_eq!((report.commits, report.problems), (10, Vec::new()));
    assert_eq!(report.events, 10 * Event::examples().len() as u64);
}

async fn a_writer_hears_that_it_lost_the_log<I: Implementation>(directory: &Path) {
    let log = I::open(directory).await;
    let old = log.acquire("old", None).await.unwrap();
    let lost = tokio::spawn(async move { old.lost().await });
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(!lost.is_finished());
    let new = log.acquire("new", None).await.unwrap();
    let lost = tokio::time::timeout(Duration::from_secs(10), lost).await;
    let reason = lost.expect("it never hears").unwrap();
    assert!(matches!(reason, LogError::Fenced { current, .. } if current == new.epoch()));
}

async fn a_closed_log_is_taken_over_only_by_who_reopens_it<I: Implementation>(directory: &Path) {
    let log = I::open(directory).await;
    let claim = |closed: Option<&str>, reopens| Claim {
        writer: "one".into(),
        closed: closed.map(Into::into),
        reopens,
        ..Claim::default()
    };
    log.take_over(claim(Some("it moved away"), false))
        .await
        .unwrap();
    let refused = log.acquire("two", None).await.err().unwrap();
    assert!(
        matches!(&refused, LogError::Sealed(reason) if reason == "it moved away"),
        "{refused}"
    );
    assert_eq!(log.stat().await.unwrap().health, "closed: it moved away");
    let writer = log.take_over(claim(None, true)).await.unwrap();
    assert_eq!(writer.append(vec![commit(1)]).await.unwrap(), Position(1));
    log.acquire("two", None).await.unwrap();
    assert_eq!(log.stat().await.unwrap().health, "ok");
}

async fn epochs_go_on_above_those_of_the_original<I: Implementation>(directory: &Path) {
    let log = I::open(directory).await;
    let claim = Claim {
        above: 41,
        ..Claim::default()
    };
    assert_eq!(log.take_over(claim).await.unwrap().epoch(), 42);
    assert_eq!(log.acquire("next", None).await.unwrap().epoch(), 43);
    assert_eq!(log.stat().await.unwrap().epochs, 2);
}

macro_rules! conformance {
    ($implementation:ident, $module:ident: $($claim:ident),* $(,)?) => {
        mod $module {
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $claim() {
                let directory = tempfile::tempdir().unwrap();
                super::$claim::<super::$implementation>(directory.path()).await;
            })*
        }
    };
}

/// Every implementation keeps all of these.
macro_rules! suite {
    ($($implementation:ident, $module:ident;)*) => {
        $(conformance!(
            $implementation, $module:
            positions_are_gapless_and_survive_reopening,
            a_log_keeps_its_id_for_good_and_a_copy_has_it_too,
            an_older_writer_is_fenced,
            the_tail_wakes_readers_and_shows_only_what_can_be_read,
            reads_are_ranges_bounded_in_bytes,
            a_commit_larger_than_a_part_comes_back_whole,
            concurrent_appends_keep_their_order_and_lose_nothing,
            a_clean_log_verifies,
            a_writer_hears_that_it_lost_the_log,
            a_closed_log_is_taken_over_only_by_who_reopens_it,
            epochs_go_on_above_those_of_the_original,
        );)*
    };
}

suite! {
    Embedded, embedded;
    Kafka, kafka_log;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_append_with_a_commit_of_too_many_parts_is_refused_whole() {
    let directory = tempfile::tempdir().unwrap();
    let options = EmbeddedOptions {
        part_bytes: 1,
        ..EmbeddedOptions::default()
    };
    let log = EmbeddedLog::open(&directory.path().join("log"), options).unwrap();
    let writer = log.acquire("one", None).await.unwrap();
    let stream = Stream::chain("eth").unwrap();
    let reset = |reason: String| NewCommit::new(&stream, 1, &[ChainReset { reason }.into()]);
    let (small, large) = (reset("small".into()), reset("x".repeat(1 << 16)));
    let refused = writer.append(vec![small.clone(), large]).await.unwrap_err();
    assert!(refused.to_string().contains("part_bytes"), "{refused}");
    assert_eq!(*log.head().borrow(), Position(0), "nothing was appended");
    assert_eq!(writer.append(vec![small]).await.unwrap(), Position(1));
    let report = log.verify(&|_| ()).await.unwrap();
    assert_eq!((report.commits, report.problems), (1, Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_and_a_newer_format_are_refused_with_the_way_out() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let log = EmbeddedLog::open(&path, EmbeddedOptions::default()).unwrap();
    let second = EmbeddedLog::open(&path, EmbeddedOptions::default())
        .err()
        .unwrap();
    assert!(matches!(second, LogError::InUse { .. }), "{second}");
    drop(log);
    std::fs::write(path.join("FORMAT"), "cairn log 99\n").unwrap();
    let newer = EmbeddedLog::open(&path, EmbeddedOptions::default())
        .err()
        .unwrap();
    assert!(
        newer
            .to_string()
            .contains("use the version of cairn that wrote it"),
        "{newer}"
    );
    let other = directory.path().join("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("notes.txt"), "mine").unwrap();
    let foreign = EmbeddedLog::open(&other, EmbeddedOptions::default())
        .err()
        .unwrap();
    assert!(
        foreign.to_string().contains("use another directory"),
        "{foreign}"
    );
}
