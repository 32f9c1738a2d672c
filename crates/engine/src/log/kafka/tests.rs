//! Errors that brokers answer with, one by one, from librdkafka's mock cluster; whole logs are tested
//! against Kafka itself.

use cairn_domain::{Event, Stream, commit::NewCommit};
use rdkafka::{
    mocking::MockCluster,
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey, RDKafkaRespErr as Code},
};
use tempfile::TempDir;

use super::*;

const ID: LogId = LogId([7; 16]);
const RECORD_BYTES: usize = 100_000;

struct Mocked {
    cluster: MockCluster<'static, DefaultProducerContext>,
    log: KafkaLog,
    _directory: TempDir,
}

/// A log in a topic of one mock broker.
async fn mocked() -> Mocked {
    let directory = tempfile::tempdir().unwrap();
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic("cairn", 1, 1).unwrap();
    let place = directory.path().join("index");
    let options = KafkaOptions::new(&cluster.bootstrap_servers(), "cairn", place.clone());
    let own = KafkaOptions {
        copy_of: Some(ID),
        ..options.clone()
    };
    let named = tokio::task::spawn_blocking(move || naming::name(&own, RECORD_BYTES));
    let (name, end) = named.await.unwrap().unwrap();
    let log = KafkaLog::start(options, Index::open(&place).unwrap(), name, end).unwrap();
    Mocked {
        cluster,
        log,
        _directory: directory,
    }
}

fn commit(number: u64) -> NewCommit {
    NewCommit::new(&Stream::chain("eth").unwrap(), number, &Event::examples())
}

impl Mocked {
    async fn writer(&self) -> Arc<dyn Writer> {
        let claim = Claim::default();
        self.log.begin_epoch(&claim, RECORD_BYTES).await.unwrap()
    }

    async fn event_times(&self) -> Vec<u64> {
        let commits = self.log.read(Position(1), usize::MAX).await.unwrap();
        let time = |commit: &StoredCommit| commit.decode().unwrap().header.event_time;
        commits.iter().map(time).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn appends_get_through_every_error_that_passes_and_count_once() {
    let mocked = mocked().await;
    let writer = mocked.writer().await;
    let errors = [
        Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        Code::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        Code::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        Code::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
        Code::RD_KAFKA_RESP_ERR__TRANSPORT,
    ];
    for (number, error) in (1..).zip(errors) {
        mocked
            .cluster
            .request_errors(RDKafkaApiKey::Produce, &[error, error]);
        mocked
            .cluster
            .request_errors(RDKafkaApiKey::Fetch, &[error]);
        let position = writer.append(vec![commit(number)]).await;
        assert_eq!(position.unwrap(), Position(number), "{error:?}");
    }
    assert_eq!(mocked.event_times().await, [1, 2, 3, 4, 5, 6]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_that_does_not_pass_ends_the_writer_and_the_next_one_goes_on() {
    let mocked = mocked().await;
    let writer = mocked.writer().await;
    writer.append(vec![commit(1)]).await.unwrap();
    let refused = Code::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED;
    mocked
        .cluster
        .request_errors(RDKafkaApiKey::Produce, &[refused; 1]);
    let error = writer.append(vec![commit(2)]).await.unwrap_err();
    assert!(error.to_string().contains("was not delivered"), "{error}");
    assert!(
        writer.append(vec![commit(3)]).await.is_err(),
        "it is of no more use"
    );
    let lost = tokio::time::timeout(Duration::from_secs(10), writer.lost()).await;
    assert!(lost.is_ok(), "it never says that it is lost");
    let next = mocked.writer().await;
    assert_eq!(next.append(vec![commit(4)]).await.unwrap(), Position(2));
    assert_eq!(mocked.event_times().await, [1, 4]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_was_away_is_waited_for() {
    let mocked = mocked().await;
    let writer = mocked.writer().await;
    writer.append(vec![commit(1)]).await.unwrap();
    mocked.cluster.broker_down(-1).unwrap();
    let waiting = tokio::spawn(async move { writer.append(vec![commit(2)]).await });
    let started = Instant::now();
    while !matches!(mocked.log.condition(), Condition::Waiting { .. }) {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "{:?}",
            mocked.log.condition()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(!waiting.is_finished());
    mocked.cluster.broker_up(-1).unwrap();
    assert_eq!(waiting.await.unwrap().unwrap(), Position(2));
    assert_eq!(mocked.event_times().await, [1, 2]);
}
