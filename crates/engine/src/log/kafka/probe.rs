//! Asks the brokers where the topic begins and ends, so that a silent stall, a topic that lost its
//! beginning or its end, and appends that nobody takes show (promise P10).

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use rdkafka::{
    consumer::{BaseConsumer, Consumer as _},
    error::KafkaResult,
    metadata::Metadata,
};

use super::{
    client::{Client, Context},
    options::KafkaOptions,
    reader::Readers,
    shared::{Shared, State},
    topic::unanswered,
};
use crate::log::LogError;

/// How often they are asked, and for how long.
const PROBE_EVERY: Duration = Duration::from_secs(1);
const PROBE_PATIENCE: Duration = Duration::from_secs(3);
/// So many answers in a row must say that the topic ends before what was read: a broker that has just
/// become the leader may not know the end yet.
const SHORT_ANSWERS: u32 = 10;

/// Complaints that a client may have at a time.
const MOST_EVENTS: usize = 100;

/// A client that asks.
pub(super) struct Probe {
    options: KafkaOptions,
    pub(super) consumer: BaseConsumer<Context>,
    pub(super) context: Context,
}

impl Probe {
    pub(super) fn new(options: &KafkaOptions) -> Result<Self, LogError> {
        let context = Context::default();
        let consumer = options.create(&options.consumer(Client::Probe), context.clone())?;
        Ok(Self {
            options: options.clone(),
            consumer,
            context,
        })
    }

    /// The first offset of the partition, which must be 0, and the one behind its last.
    pub(super) fn ends(&self, patience: Duration) -> Result<(i64, i64), LogError> {
        let (topic, partition) = (&self.options.topic, self.options.partition_id());
        self.explained(self.consumer.fetch_watermarks(topic, partition, patience))
    }

    /// Which brokers there are, and the partitions of the topic.
    pub(super) fn metadata(&self, patience: Duration) -> Result<Metadata, LogError> {
        let topic = Some(self.options.topic.as_str());
        self.explained(self.consumer.fetch_metadata(topic, patience))
    }

    /// Why the brokers take no records, if too few of them have all there are.
    fn in_sync(&self, shared: &Shared) -> Result<Option<String>, LogError> {
        let needed = shared.in_sync.load(Ordering::Relaxed);
        if needed <= 1 {
            return Ok(None);
        }
        let metadata = self.metadata(PROBE_PATIENCE)?;
        let mut partitions = metadata
            .topics()
            .iter()
            .flat_map(|topic| topic.partitions());
        let own = partitions.find(|partition| partition.id() == self.options.partition_id());
        let alive = own.map_or(0, |partition| partition.isr().len());
        Ok((alive < needed).then(|| {
            format!(
                "{alive} of the brokers that hold {} are in sync, {needed} must be: appends wait",
                self.options.place()
            )
        }))
    }

    fn explained<T>(&self, answer: KafkaResult<T>) -> Result<T, LogError> {
        // What is wrong with the connection comes as events; a poll without a result may have had one.
        for _ in 0..MOST_EVENTS {
            drop(self.consumer.poll(Duration::ZERO));
        }
        match answer {
            Ok(answer) => {
                self.context.content();
                Ok(answer)
            }
            Err(error) => Err(unanswered(&self.options, &self.context, &error)),
        }
    }
}

/// Asks until the log is closed.
pub(super) fn watch(shared: &Arc<Shared>, probe: &Probe, readers: &Readers) {
    let mut short = 0;
    while !shared.is_closing() {
        let found = probe.ends(PROBE_PATIENCE);
        let found = found.and_then(|ends| Ok((ends, probe.in_sync(shared)?)));
        match found {
            Ok((ends, in_sync)) => {
                if let Err(error) = check_ends(shared, ends, &mut short) {
                    return shared.fail(&error);
                }
                shared.note(in_sync.map_or_else(|| appending(shared), State::Away));
            }
            Err(LogError::Unavailable(reason)) => shared.note(State::Away(reason)),
            Err(error) => shared.note(State::Away(error.to_string())),
        }
        readers.tidy();
        sleep(shared, PROBE_EVERY);
    }
}

fn check_ends(shared: &Shared, (first, end): (i64, i64), short: &mut u32) -> Result<(), LogError> {
    check_first(&shared.options, first)?;
    let next = *shared.next.borrow();
    *short = if end < next { *short + 1 } else { 0 };
    if *short >= SHORT_ANSWERS {
        return Err(shared.options.broken(format!(
            "it ends at offset {end}, but this node has read up to {next}: it lost its end or was made anew; restart this node if the topic was restored, else restore it from a copy (`cairn log copy`)"
        )));
    }
    shared.end.fetch_max(end, Ordering::Relaxed);
    Ok(())
}

/// Whether appends get through.
fn appending(shared: &Shared) -> State {
    match shared.slow_append() {
        Some(waited) => State::Away(format!(
            "an append waits for {} s: the brokers take no records of {}",
            waited.as_secs(),
            shared.options.place()
        )),
        None => State::Well,
    }
}

/// The log must be there from its first record on.
pub(super) fn check_first(options: &KafkaOptions, first: i64) -> Result<(), LogError> {
    if first == 0 {
        return Ok(());
    }
    Err(options.broken(format!(
        "it begins at offset {first}: the records before were deleted, and the log is not whole without them; restore the topic from a copy (`cairn log copy`)"
    )))
}

/// In short steps, so that closing does not wait.
fn sleep(shared: &Shared, time: Duration) {
    let since = Instant::now();
    while since.elapsed() < time && !shared.is_closing() {
        std::thread::sleep(Duration::from_millis(50));
    }
}
