//! Records of the partition, one behind the other from an offset on, through the acceptor.

use std::time::Duration;

use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer as _},
    error::{KafkaError, RDKafkaErrorCode},
    message::Message as _,
};

use super::{
    acceptor::{Accepted, Acceptor, Mark},
    client::{Client, Context},
    options::KafkaOptions,
    record,
    topic::unanswered,
};
use crate::log::{LogError, LogId};

/// What a feed gives.
pub(super) enum Fed {
    /// What the next record was, and its bytes.
    Record(Accepted, usize),
    /// There is nothing behind the last record yet.
    End,
    /// Nothing came in time.
    Nothing,
}

/// See the module.
pub(super) struct Feed {
    options: KafkaOptions,
    consumer: BaseConsumer<Context>,
    context: Context,
    acceptor: Acceptor,
}

impl Feed {
    /// Reads on from a mark.
    pub(super) fn new(
        options: &KafkaOptions,
        client: Client,
        id: LogId,
        mark: Mark,
    ) -> Result<Self, LogError> {
        let context = Context::default();
        let consumer: BaseConsumer<Context> =
            options.create(&options.consumer(client), context.clone())?;
        assign(options, &consumer, mark.offset)?;
        Ok(Self {
            options: options.clone(),
            consumer,
            context,
            acceptor: Acceptor::new(id, mark),
        })
    }

    /// What was read so far.
    pub(super) fn acceptor(&self) -> &Acceptor {
        &self.acceptor
    }

    /// The next record, if it comes in time.
    ///
    /// # Errors
    /// [`LogError::Unavailable`], after which it may be asked again; anything else is for good.
    pub(super) fn next(&mut self, patience: Duration) -> Result<Fed, LogError> {
        let message = match self.consumer.poll(patience) {
            None => return Ok(Fed::Nothing),
            Some(Err(KafkaError::PartitionEOF(_))) => {
                self.context.content();
                return Ok(Fed::End);
            }
            // One of several brokers went away: whether that matters, the others say.
            Some(Err(KafkaError::MessageConsumption(
                RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::Resolve,
            ))) => return Ok(Fed::Nothing),
            Some(Err(error)) => return Err(self.failed(&error)),
            Some(Ok(message)) => message,
        };
        let offset = message.offset();
        let expected = self.acceptor.next();
        if offset != expected {
            return Err(self.options.broken_at(
                expected,
                format!("the next record is at offset {offset}: what was between was deleted or compacted away; restore the topic from a copy (`cairn log copy`)"),
            ));
        }
        self.context.content();
        let bytes = message.payload_len();
        let ignored = u64::try_from(offset).is_ok_and(|own| self.options.ignored.contains(&own));
        if ignored && !record::is_foreign(&message) {
            return Err(self.options.broken_at(
                offset,
                "it is named in `[kafka] ignored_offsets`, but is a record of this log: take it off that list",
            ));
        }
        if ignored {
            self.acceptor.pass_over(offset);
            return Ok(Fed::Record(Accepted::PassedOver, bytes));
        }
        let accepted =
            record::read(&message).and_then(|record| self.acceptor.accept(offset, record));
        match accepted {
            Ok(accepted) => Ok(Fed::Record(accepted, bytes)),
            Err(reason) => Err(self.options.broken_at(offset, reason)),
        }
    }

    /// Only a lost offset is for good: whatever else the brokers complain of may be mended while this
    /// node runs.
    fn failed(&self, error: &KafkaError) -> LogError {
        let next = self.acceptor.next();
        if let Some(RDKafkaErrorCode::OffsetOutOfRange | RDKafkaErrorCode::AutoOffsetReset) =
            error.rdkafka_error_code()
        {
            let complaint = self.context.complaint();
            let complaint = complaint.unwrap_or_else(|| error.to_string());
            return self.options.broken_at(next, format!(
                "the topic does not have this offset ({complaint}): its records were deleted, or it was made anew; restart this node if the topic was restored, else restore it from a copy (`cairn log copy`)"
            ));
        }
        match unanswered(&self.options, &self.context, error) {
            passing @ LogError::Unavailable(_) => passing,
            other => LogError::Unavailable(other.to_string()),
        }
    }
}

/// Begins to read at an offset.
pub(super) fn assign(
    options: &KafkaOptions,
    consumer: &BaseConsumer<Context>,
    offset: i64,
) -> Result<(), LogError> {
    let failed = |error: KafkaError| options.broken(format!("it cannot be read: {error}"));
    let mut list = TopicPartitionList::new();
    let (topic, partition) = (&options.topic, options.partition_id());
    list.add_partition_offset(topic, partition, Offset::Offset(offset))
        .map_err(failed)?;
    consumer.assign(&list).map_err(failed)
}
