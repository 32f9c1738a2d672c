//! Which log the topic holds: its first record says so, and a new topic gets one.

use std::time::{Duration, Instant};

use rdkafka::{consumer::Consumer as _, error::KafkaError};

use super::{
    feed::assign,
    options::KafkaOptions,
    probe::{Probe, check_first},
    record::{self, LogRecord, Record},
    topic::{self, MISSING, Topic, unanswered},
    writer::Sender,
};
use crate::log::{LogError, LogId};

/// How long one exchange with the brokers may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A topic that is there and fit for a log.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) topic: Topic,
    pub(super) log: LogRecord,
    /// The offset behind the last record.
    pub(super) end: i64,
}

/// Checks the topic and reads which log it holds. `known` is the log that it must be. Where none is
/// known, or one is to be copied there, the topic is made if it is missing, and named if it is empty.
pub(super) async fn find(options: &KafkaOptions, known: Option<LogId>) -> Result<Found, LogError> {
    let making = options.making && (known.is_none() || options.copy_of.is_some());
    let topic = topic::ensure(options, making).await?;
    let record_bytes = topic.record_bytes;
    let own = KafkaOptions {
        making,
        ..options.clone()
    };
    let named = tokio::task::spawn_blocking(move || name(&own, record_bytes));
    let (log, end) = named.await.map_err(|_| LogError::Closed)??;
    let expected = [
        (known, "what this node followed before"),
        (options.copy_of, "what is to be copied"),
    ];
    for (expected, what) in expected {
        if let Some(expected) = expected.filter(|expected| *expected != log.id) {
            return Err(options.broken_at(0, format!(
                "it holds log {}, but {what} is log {expected}: name the topic of that log, or give this node another data directory",
                log.id
            )));
        }
    }
    Ok(Found { topic, log, end })
}

pub(super) fn name(
    options: &KafkaOptions,
    record_bytes: usize,
) -> Result<(LogRecord, i64), LogError> {
    let probe = Probe::new(options)?;
    let (first, end) = ends_of_new(options, &probe)?;
    check_first(options, first)?;
    if end == 0 && !options.making {
        return Err(options.broken(
            "it is empty: name the right topic, start a node with the role `ingest`, or, if it held a log before, restore that from a copy (`cairn log copy`)",
        ));
    }
    if end == 0 {
        let id = options.copy_of.unwrap_or_else(LogId::random);
        let sender = Sender::new(options, record_bytes)?;
        sender.deliver(options, record::log(id), PATIENCE)?;
    }
    Ok((read_name(options, &probe)?, end))
}

/// Both ends of the partition; not every broker knows a topic that was just made.
fn ends_of_new(options: &KafkaOptions, probe: &Probe) -> Result<(i64, i64), LogError> {
    let started = Instant::now();
    loop {
        match probe.ends(PATIENCE) {
            Err(LogError::Broken { reason, .. })
                if options.making && reason == MISSING && started.elapsed() < PATIENCE =>
            {
                std::thread::sleep(Duration::from_millis(200));
            }
            ends => return ends,
        }
    }
}

/// Reads the first record: of all that named the log at the same time, the first did.
fn read_name(options: &KafkaOptions, probe: &Probe) -> Result<LogRecord, LogError> {
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
            Ok(Record::Log(record)) => Ok(record),
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
