//! Which node writes which partition: nodes that could write join a consumer group, and the group
//! gives each partition to one of them. Whoever has a partition takes its log over; that only one
//! writes is not the group's business but that of the epochs.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use rdkafka::{
    ClientContext, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance},
    error::KafkaError,
};
use tokio::sync::watch;

use super::options::KafkaOptions;
use crate::log::LogError;

/// How often the group is served: heartbeats, and news of partitions.
const POLL: Duration = Duration::from_millis(100);

/// A member of the group. Dropping it leaves the group, and another node gets its partitions at once.
pub struct Leadership {
    assigned: watch::Receiver<BTreeSet<u32>>,
    leaving: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Leadership {
    /// Joins the group in which the partitions of the log's topic are shared out.
    ///
    /// # Errors
    /// [`LogError::Broken`] where librdkafka cannot be used like this.
    pub fn join(options: &KafkaOptions, group: &str) -> Result<Self, LogError> {
        let (assign, assigned) = watch::channel(BTreeSet::new());
        let member = Member {
            topic: options.topic.clone(),
            assigned: assign,
        };
        let broken = |error: KafkaError| {
            options.broken(format!("the group {group} cannot be joined: {error}"))
        };
        let config = options.member(group);
        let consumer: BaseConsumer<Member> = config.create_with_context(member).map_err(broken)?;
        consumer.subscribe(&[&options.topic]).map_err(broken)?;
        let leaving = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&leaving);
        let thread = std::thread::Builder::new()
            .name("cairn-group".into())
            .spawn(move || serve(&consumer, &told))
            .map_err(|error| LogError::Storage(error.to_string()))?;
        Ok(Self {
            assigned,
            leaving,
            thread: Some(thread),
        })
    }

    /// The partitions that this node has.
    pub fn assigned(&self) -> watch::Receiver<BTreeSet<u32>> {
        self.assigned.clone()
    }
}

impl Drop for Leadership {
    fn drop(&mut self) {
        self.leaving.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // It returns nothing.
            let _left = thread.join();
        }
    }
}

fn serve(consumer: &BaseConsumer<Member>, leaving: &AtomicBool) {
    while !leaving.load(Ordering::Relaxed) {
        // Partitions are paused: what comes are errors, which the log's own clients explain.
        if let Some(Err(error)) = consumer.poll(POLL) {
            tracing::debug!(%error, "the group of writers");
        }
    }
}

/// Hears which partitions the group gives and takes.
struct Member {
    topic: String,
    assigned: watch::Sender<BTreeSet<u32>>,
}

impl Member {
    fn partitions(&self, list: &TopicPartitionList) -> Vec<u32> {
        let own = list.elements_for_topic(&self.topic);
        own.iter()
            .filter_map(|element| u32::try_from(element.partition()).ok())
            .collect()
    }
}

impl ClientContext for Member {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(target: "librdkafka", ?level, facility, "{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", %error, "{reason}");
    }
}

impl ConsumerContext for Member {
    /// What is taken away must not be written any more, so that is said before it is given back.
    fn pre_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(list) = rebalance {
            let taken = self.partitions(list);
            tracing::info!(partitions = ?taken, lost = consumer.assignment_lost(), "the group takes partitions");
            self.assigned.send_modify(|assigned| {
                assigned.retain(|partition| !taken.contains(partition));
            });
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(list) = rebalance {
            // Nothing is read here: the group only says who has what.
            if let Err(error) = consumer.pause(list) {
                tracing::warn!(%error, "a partition cannot be paused");
            }
            let given = self.partitions(list);
            if !given.is_empty() {
                tracing::info!(partitions = ?given, "the group gives partitions, beside those that this node has");
            }
            self.assigned.send_modify(|assigned| assigned.extend(given));
        }
    }
}
