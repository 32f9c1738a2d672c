//! Which log the topic holds: its first record says so, and a new topic gets one.

use std::time::{Duration, Instant};

use rdkafka::{consumer::Consumer as _, error::KafkaError};

use super::{
    feed::assign,
    options::KafkaOptions,
    probe::{Probe, check_first},
    record::{self, Record},
    topic::{self, Topic, unanswered},
    writer::Sender,
};
use crate::log::{LogError, LogId};

/// How long one exchange with the brokers may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A topic that is there and fit for a log.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) topic: Topic,
    pub(super) id: LogId,
    /// The offset behind the last record.
    pub(super) end: i64,
}

/// Makes or checks the topic, and reads or writes which log it holds. `known` is the log that it must
/// be.
pub(super) async fn find(options: &KafkaOptions, known: Option<LogId>) -> Result<Found, LogError> {
    let topic = topic::ensure(options).await?;
    let record_bytes = topic.record_bytes;
    let own = options.clone();
    let named = tokio::task::spawn_blocking(move || name(&own, record_bytes));
    let (id, end) = named.await.map_err(|_| LogError::Closed)??;
    let expected = [
        (known, "what this node followed before"),
        (options.copy_of, "what is to be copied"),
    ];
    for (expected, what) in expected {
        if let Some(expected) = expected.filter(|expected| *expected != id) {
            return Err(options.broken_at(0, format!(
                "it holds log {id}, but {what} is log {expected}: name the topic of that log, or give this node another data directory"
            )));
        }
    }
    Ok(Found { topic, id, end })
}

pub(super) fn name(options: &KafkaOptions, record_bytes: usize) -> Result<(LogId, i64), LogError> {
    let probe = Probe::new(options)?;
    let (first, end) = probe.ends(PATIENCE)?;
    check_first(options, first)?;
    if end == 0 {
        let id = options.copy_of.unwrap_or_else(LogId::random);
        let sender = Sender::new(options, record_bytes)?;
        sender.deliver(options, record::log(id), PATIENCE)?;
    }
    Ok((read_name(options, &probe)?, end))
}

/// Reads the first record: of all that named the log at the same time, the first did.
fn read_name(options: &KafkaOptions, probe: &Probe) -> Result<LogId, LogError> {
    let Probe {
        consumer, context, ..
    } = probe;
    assign(options, consumer, 0)?;
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        let message = match consumer.poll(Duration::from_millis(100)) {
            None | Some(Err(KafkaError::PartitionEOF(_))) => continue,
            Some(Err(error)) => return Err(unanswered(options, context, &error)),
            Some(Ok(message)) => message,
        };
        let named = match record::read(&message) {
            Ok(Record::Log(record)) => Ok(record.id),
            Ok(_) => Err("the topic does not say which log it holds: it is no log of cairn; name another topic".into()),
            Err(reason) => Err(format!("the topic holds something else than a log: {reason}")),
        };
        let unassigned = consumer.unassign();
        unassigned.map_err(|error| unanswered(options, context, &error))?;
        return named.map_err(|reason| options.broken_at(0, reason));
    }
    Err(LogError::Unavailable(format!(
        "the first record of {} did not come",
        options.place()
    )))
}
