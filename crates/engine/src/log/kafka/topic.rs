//! The topic: made with settings that lose nothing, or checked and refused with the reason.

use std::time::Duration;

use rdkafka::{
    admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication},
    error::{KafkaError, RDKafkaErrorCode},
    metadata::Metadata,
};

use super::{client::Context, options::KafkaOptions, probe::Probe};
use crate::log::LogError;

/// How long the brokers may take over one request.
const PATIENCE: Duration = Duration::from_secs(10);
/// Copies of each record where there are brokers enough.
const REPLICATION: u32 = 3;

type Admin = AdminClient<Context>;

/// The most that librdkafka sends as one record.
const MOST_RECORD_BYTES: usize = 8 << 20;

/// What brokers take where nothing else is set.
const DEFAULT_RECORD_BYTES: usize = 1_000_000;

/// What the topic is like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Topic {
    /// The largest record, or batch of records, that it takes, in bytes.
    pub(super) record_bytes: usize,
    /// How many brokers must have a record before it counts; 0 where that is not known.
    pub(super) in_sync: usize,
    /// What is kept, for people.
    pub(super) retention: String,
}

/// A client for [`ensure`] and [`describe`].
pub(super) fn admin(options: &KafkaOptions) -> Result<(Admin, Context), LogError> {
    let context = Context::default();
    let admin = options.create(&options.admin(), context.clone())?;
    Ok((admin, context))
}

/// What the brokers said instead of an answer.
pub(super) fn unanswered(
    options: &KafkaOptions,
    context: &Context,
    error: &KafkaError,
) -> LogError {
    if let Some(refusal) = context.refusal() {
        return options.broken(format!(
            "the brokers at {} refuse this node ({refusal}): correct user, password, certificate or rights in `[kafka.properties]`",
            options.brokers
        ));
    }
    if let Some(
        RDKafkaErrorCode::UnknownTopic
        | RDKafkaErrorCode::UnknownTopicOrPartition
        | RDKafkaErrorCode::UnknownPartition,
    ) = error.rdkafka_error_code()
    {
        return options.broken(MISSING);
    }
    let reason = context.complaint().unwrap_or_else(|| error.to_string());
    LogError::Unavailable(format!(
        "no answer from the brokers at {} about {} ({reason})",
        options.brokers,
        options.place()
    ))
}

/// Makes the topic where it is missing and that is wanted, else checks it.
pub(super) async fn ensure(options: &KafkaOptions, making: bool) -> Result<Topic, LogError> {
    let own = options.clone();
    let asked = tokio::task::spawn_blocking(move || Probe::new(&own)?.metadata(PATIENCE / 2));
    let metadata = asked.await.map_err(|_| LogError::Closed)??;
    let (admin, context) = admin(options)?;
    let brokers = u32::try_from(metadata.brokers().len()).unwrap_or(1);
    let copies = partitions(options, &metadata)?;
    match copies {
        Some(_) => {}
        None if making => {
            let made = create(options, &admin, brokers).await;
            made.map_err(|error| match error {
                Ok(refused) => refused,
                Err(error) => unanswered(options, &context, &error),
            })?;
        }
        None => return Err(options.broken(MISSING)),
    }
    let topic = describe(options, &admin, &context).await?;
    check_copies(options, copies, &topic)?;
    Ok(topic)
}

/// What is wrong with a topic that should be there.
pub(super) const MISSING: &str = "there is no such topic: name the right one and the right brokers, or, if it was deleted, restore it from a copy (`cairn log copy`)";

/// There must be as many copies as were asked for, and where there are several, one alone must not
/// count.
fn check_copies(
    options: &KafkaOptions,
    copies: Option<usize>,
    topic: &Topic,
) -> Result<(), LogError> {
    let wanted = options.replication.unwrap_or(0) as usize;
    match copies {
        Some(copies) if copies < wanted => Err(options.broken(format!(
            "each record has {copies} copies, but `[kafka] replication` asks for {wanted}: give the topic more replicas (kafka-reassign-partitions), or ask for fewer"
        ))),
        Some(copies @ 2..) if topic.in_sync == 1 => Err(options.broken(format!(
            "each record has {copies} copies, but min.insync.replicas is 1: a record that one broker had and lost would have counted; set it to 2 (kafka-configs --alter)"
        ))),
        Some(_) | None => Ok(()),
    }
}

/// On how many brokers each record is; none where there is no such topic.
fn partitions(options: &KafkaOptions, metadata: &Metadata) -> Result<Option<usize>, LogError> {
    let mut topics = metadata.topics().iter();
    let found = topics.find(|topic| {
        topic.name() == options.topic && topic.error().is_none() && !topic.partitions().is_empty()
    });
    let Some(topic) = found else {
        return Ok(None);
    };
    let (count, partitions) = (topic.partitions().len(), topic.partitions().iter());
    if count != options.partitions as usize {
        return Err(options.broken(format!(
            "the topic has {count} partitions, but {} shards are configured, one partition each: name another topic, or make `[log] shards` and partitions the same number",
            options.partitions
        )));
    }
    Ok(partitions.map(|partition| partition.replicas().len()).min())
}

/// The error is ours, or that of the exchange.
async fn create(
    options: &KafkaOptions,
    admin: &Admin,
    brokers: u32,
) -> Result<(), Result<LogError, KafkaError>> {
    let copies = options.replication.unwrap_or(REPLICATION.min(brokers));
    let in_sync = if copies >= 2 { "2" } else { "1" };
    if options.replication.is_none() && copies < REPLICATION {
        tracing::warn!(
            copies,
            "the topic is made with fewer copies than three: there are no more brokers just now"
        );
    }
    let copies = i32::try_from(copies).unwrap_or(i32::MAX);
    let partitions = i32::try_from(options.partitions).unwrap_or(i32::MAX);
    let topic = NewTopic::new(&options.topic, partitions, TopicReplication::Fixed(copies))
        .set("cleanup.policy", "delete")
        .set("retention.ms", "-1")
        .set("retention.bytes", "-1")
        .set("min.insync.replicas", in_sync)
        .set("unclean.leader.election.enable", "false")
        .set("compression.type", "producer");
    let wait = AdminOptions::new()
        .operation_timeout(Some(PATIENCE))
        .request_timeout(Some(PATIENCE));
    let made = admin.create_topics([&topic], &wait).await.map_err(Err)?;
    match made.into_iter().next() {
        Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
        Some(Ok(_)) | None => {
            tracing::info!(topic = options.topic, partitions, copies, "made the topic");
            Ok(())
        }
        Some(Err((_, code))) => Err(Ok(options.broken(format!(
            "the topic is not there and cannot be made ({code}): make it by hand, or correct the rights of this node or `[kafka] replication`"
        )))),
    }
}

/// Reads the settings of the topic and refuses those that lose records.
pub(super) async fn describe(
    options: &KafkaOptions,
    admin: &Admin,
    context: &Context,
) -> Result<Topic, LogError> {
    let wait = AdminOptions::new().request_timeout(Some(PATIENCE));
    let asked = [ResourceSpecifier::Topic(&options.topic)];
    // A topic that was just made is not known to every broker at once.
    for _ in 0..10 {
        let described = admin.describe_configs(asked.iter(), &wait).await;
        let described = described.map_err(|error| unanswered(options, context, &error))?;
        match described.into_iter().next() {
            Some(Ok(config)) if !config.entries.is_empty() => {
                let setting = |name: &str| config.get(name).and_then(|entry| entry.value.clone());
                return check(options, &setting);
            }
            Some(Err(RDKafkaErrorCode::TopicAuthorizationFailed)) => {
                tracing::warn!(
                    topic = options.topic,
                    "this node may not see the settings of the topic: whether it keeps everything is not checked"
                );
                return Ok(Topic {
                    record_bytes: DEFAULT_RECORD_BYTES,
                    in_sync: 0,
                    retention: "unknown: this node may not see the settings of the topic".into(),
                });
            }
            Some(_) | None => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
    Err(LogError::Unavailable(format!(
        "the brokers do not know the settings of topic {} yet",
        options.topic
    )))
}

fn check(
    options: &KafkaOptions,
    setting: &dyn Fn(&str) -> Option<String>,
) -> Result<Topic, LogError> {
    let text = |name: &str| setting(name).unwrap_or_default();
    let mut wrong = Vec::new();
    let mut require = |name: &str, holds: bool, wanted: &str| {
        if !holds {
            wrong.push(format!("{name} is {}, it must be {wanted}", text(name)));
        }
    };
    require(
        "cleanup.policy",
        text("cleanup.policy") == "delete",
        "delete",
    );
    require("retention.ms", text("retention.ms") == "-1", "-1");
    require("retention.bytes", text("retention.bytes") == "-1", "-1");
    let unclean = text("unclean.leader.election.enable");
    require("unclean.leader.election.enable", unclean != "true", "false");
    if !wrong.is_empty() {
        return Err(options.broken(format!(
            "the topic would lose what the log must keep: {}; change it (kafka-configs --alter) or name another topic",
            wrong.join("; ")
        )));
    }
    let record_bytes = text("max.message.bytes").parse();
    Ok(Topic {
        record_bytes: record_bytes
            .unwrap_or(DEFAULT_RECORD_BYTES)
            .min(MOST_RECORD_BYTES),
        in_sync: text("min.insync.replicas").parse().unwrap_or(0),
        retention: format!(
            "everything, for good (retention.ms -1, retention.bytes -1, min.insync.replicas {})",
            text("min.insync.replicas")
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(changed: &[(&str, &str)]) -> Result<Topic, LogError> {
        let options = KafkaOptions::new("b:1", "cairn", "x".into());
        let good = [
            ("cleanup.policy", "delete"),
            ("retention.ms", "-1"),
            ("retention.bytes", "-1"),
            ("min.insync.replicas", "2"),
            ("unclean.leader.election.enable", "false"),
            ("max.message.bytes", "1048588"),
        ];
        check(&options, &|name| {
            let all = changed.iter().chain(&good);
            let found = all.clone().find(|(key, _)| *key == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_topic_that_deletes_or_compacts_is_refused_with_every_reason() {
        assert_eq!(checked(&[]).unwrap().record_bytes, 1_048_588);
        let refused = checked(&[("cleanup.policy", "compact"), ("retention.ms", "604800000")]);
        let text = refused.unwrap_err().to_string();
        for part in [
            "topic cairn",
            "cleanup.policy is compact",
            "retention.ms is 604800000",
            "name another topic",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(checked(&[("unclean.leader.election.enable", "true")]).is_err());
    }

    #[test]
    fn copies_of_which_one_alone_counts_and_too_few_copies_are_refused() {
        let options = KafkaOptions::new("b:1", "cairn", "x".into());
        let lone = checked(&[("min.insync.replicas", "1")]).unwrap();
        assert!(check_copies(&options, Some(1), &lone).is_ok());
        let refused = check_copies(&options, Some(3), &lone)
            .unwrap_err()
            .to_string();
        assert!(refused.contains("min.insync.replicas is 1"), "{refused}");
        assert!(check_copies(&options, Some(3), &checked(&[]).unwrap()).is_ok());
        let three = KafkaOptions {
            replication: Some(3),
            ..options
        };
        let refused = check_copies(&three, Some(1), &lone)
            .unwrap_err()
            .to_string();
        assert!(refused.contains("asks for 3"), "{refused}");
    }
}
