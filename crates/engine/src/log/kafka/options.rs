//! How the Kafka log is told where its topic is, and what every client of it is configured with.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::PathBuf,
    time::Duration,
};

use rdkafka::{ClientConfig, error::KafkaError};

use super::client::{Client, Context};
use crate::log::{LogError, LogId};

/// Where the log is, and how it is used.
#[derive(Clone)]
pub struct KafkaOptions {
    /// Some of the brokers, `host:port`, parted by commas.
    pub brokers: String,
    /// The topic.
    pub topic: String,
    /// The partition that holds this log; the topic has one for each log of the deployment.
    pub partition: u32,
    /// How many partitions the topic must have.
    pub partitions: u32,
    /// On how many brokers a topic that is made keeps each record; none: three, or as many as there
    /// are.
    pub replication: Option<u32>,
    /// Settings of librdkafka, such as those for TLS and SASL. They may hold secrets.
    pub properties: BTreeMap<String, String>,
    /// Commits above this many bytes go in several records; less where the topic takes less.
    pub part_bytes: usize,
    /// Memory for the newest commits, in bytes; what is older is read from the brokers again.
    pub tail_bytes: usize,
    /// The directory that remembers which position is at which offset. It comes back by reading.
    pub index: PathBuf,
    /// The log of which this one is a copy, whose id a new topic gets; none for a log of its own.
    pub copy_of: Option<LogId>,
    /// Whether a topic that is not there is made, and one that is empty gets a log.
    pub making: bool,
    /// Offsets of foreign records that are passed over. Every node must have the same.
    pub ignored: BTreeSet<u64>,
    /// How long opening waits for brokers that do not answer, where nothing is known of the log yet.
    pub patience: Duration,
}

/// What the log's guarantees rest on; setting it otherwise is refused.
const OURS: &[&str] = &[
    "acks",
    "auto.offset.reset",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "isolation.level",
    "message.max.bytes",
    "message.timeout.ms",
    "delivery.timeout.ms",
    "request.required.acks",
    "transactional.id",
];

impl KafkaOptions {
    /// A log in partition 0 of a topic with one partition, everything else by default.
    pub fn new(brokers: &str, topic: &str, index: PathBuf) -> Self {
        Self {
            brokers: brokers.into(),
            topic: topic.into(),
            partition: 0,
            partitions: 1,
            replication: None,
            properties: BTreeMap::new(),
            part_bytes: 900_000,
            tail_bytes: 32 << 20,
            index,
            copy_of: None,
            making: true,
            ignored: BTreeSet::new(),
            patience: Duration::from_secs(30),
        }
    }

    /// Checks a setting of librdkafka by its own rules and by ours. The error does not repeat the value of
    /// an unknown setting, which may be a misspelt secret.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check_property(name: &str, value: &str) -> Result<(), String> {
        if OURS.contains(&name) {
            return Err(format!(
                "`{name}` is set by cairn, because what the log promises rests on it: leave it out"
            ));
        }
        let mut config = ClientConfig::new();
        config.set(name, value);
        match config.create_native_config() {
            Ok(_) => Ok(()),
            Err(KafkaError::ClientConfig(_, what, ..)) => Err(format!(
                "librdkafka says: {what}: see its CONFIGURATION.md for names and values"
            )),
            Err(other) => Err(other.to_string()),
        }
    }

    /// Topic and partition, for messages.
    pub(super) fn place(&self) -> String {
        format!("topic {} partition {}", self.topic, self.partition)
    }

    /// An error about a record.
    pub(super) fn broken_at(&self, offset: i64, reason: impl Into<String>) -> LogError {
        LogError::Broken {
            place: format!("{} offset {offset}", self.place()),
            reason: reason.into(),
        }
    }

    /// An error about the topic.
    pub(super) fn broken(&self, reason: impl Into<String>) -> LogError {
        LogError::Broken {
            place: self.place(),
            reason: reason.into(),
        }
    }

    pub(super) fn partition_id(&self) -> i32 {
        i32::try_from(self.partition).unwrap_or(i32::MAX)
    }

    fn base(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "cairn")
            // A broker that comes back, or another that leads now, is found within a second.
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("retry.backoff.max.ms", "500")
            .set("socket.keepalive.enable", "true")
            .set("socket.timeout.ms", "10000")
            .set("topic.metadata.refresh.interval.ms", "30000");
        config
    }

    fn with_properties(&self, mut config: ClientConfig) -> ClientConfig {
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config
    }

    /// For a consumer that is told where to read. It commits nothing: where it is stands in the index.
    pub(super) fn consumer(&self, client: Client) -> ClientConfig {
        let mut config = self.base();
        config
            // Queues smaller than the default 64 MiB, and filled again at once.
            .set("queued.max.messages.kbytes", "16384")
            .set("fetch.message.max.bytes", "4194304")
            .set("fetch.queue.backoff.ms", "2")
            .set("fetch.error.backoff.ms", "100")
            .set("fetch.wait.max.ms", "100")
            .set("check.crcs", "true");
        let mut config = self.with_properties(config);
        config
            .set(
                "group.id",
                format!("cairn-{}-{}", client.name(), self.topic),
            )
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "true")
            // No silent jump, wherever the topic begins or ends.
            .set("auto.offset.reset", "error")
            .set("isolation.level", "read_uncommitted");
        config
    }

    /// For a producer whose records keep their order and come once, and that never gives up by time.
    /// `record_bytes` is the most that the topic takes at once.
    pub(super) fn producer(&self, record_bytes: usize) -> ClientConfig {
        let mut config = self.base();
        config
            .set("linger.ms", "1")
            .set("compression.codec", "lz4")
            .set("batch.num.messages", "100000")
            .set("queue.buffering.max.messages", "200000")
            .set("queue.buffering.max.kbytes", "65536");
        let mut config = self.with_properties(config);
        config
            .set("message.max.bytes", record_bytes.to_string())
            .set("batch.size", record_bytes.to_string())
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", "0")
            .set("delivery.report.only.error", "true");
        config
    }

    /// For asking about the topic.
    pub(super) fn admin(&self) -> ClientConfig {
        self.with_properties(self.base())
    }

    /// For the group in which nodes share out the partitions that they write.
    pub(super) fn member(&self, group: &str) -> ClientConfig {
        let mut config = self.base();
        config
            // The shortest that brokers allow without a setting of their own.
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "1000");
        let mut config = self.with_properties(config);
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "latest")
            .set("partition.assignment.strategy", "cooperative-sticky");
        config
    }

    /// Makes a client; the error says which settings cannot be.
    pub(super) fn create<T: rdkafka::config::FromClientConfigAndContext<Context>>(
        &self,
        config: &ClientConfig,
        context: Context,
    ) -> Result<T, LogError> {
        config.create_with_context(context).map_err(|error| {
            self.broken(format!(
                "librdkafka cannot be used like this: {error}; correct the settings of the log"
            ))
        })
    }
}

impl fmt::Debug for KafkaOptions {
    /// Without the properties, which may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaOptions")
            .field("brokers", &self.brokers)
            .field("topic", &self.topic)
            .field("partition", &self.partition)
            .finish_non_exhaustive()
    }
}
