//! `[log]` and `[kafka]`: where the log is, and into how many it is parted.

use std::collections::{BTreeMap, BTreeSet};

use cairn_domain::Stream;
use cairn_engine::log::KafkaOptions;

use super::{
    layers::Value,
    reader::{Reader, list, number, one_of, parsed},
    secret::Secret,
    units::parse_size,
};

/// `[log]`.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    /// Which implementation.
    pub(crate) kind: LogKind,
    /// The names of the shards, at least one. Each is a log of its own; the first is the one for what is
    /// assigned to none.
    pub(crate) shards: Vec<String>,
    /// `[kafka]`.
    pub(crate) kafka: Kafka,
}

/// Which implementation holds the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogKind {
    /// The data directory.
    Embedded,
    /// A topic.
    Kafka,
}

impl LogKind {
    /// Its name in the configuration and on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::Kafka => "kafka",
        }
    }
}

/// `[kafka]`.
#[derive(Debug, Clone)]
pub(crate) struct Kafka {
    /// Some of the brokers.
    pub(crate) brokers: String,
    /// The topic, with a partition for each shard.
    pub(crate) topic: String,
    /// The consumer group in which ingest nodes share out the shards.
    pub(crate) group: String,
    /// Copies of each record in a topic that is made; none leaves it to the number of brokers.
    pub(crate) replication: Option<u32>,
    /// Memory for the newest commits of a shard, in bytes.
    pub(crate) tail_bytes: usize,
    /// Foreign records that are passed over: partition and offset.
    pub(crate) ignored: BTreeSet<(u32, u64)>,
    /// Settings of librdkafka.
    pub(crate) properties: BTreeMap<String, Secret>,
}

const KINDS: &[(&str, LogKind)] = &[("embedded", LogKind::Embedded), ("kafka", LogKind::Kafka)];
const PROPERTIES: &str = "kafka.properties.";

/// Reads both sections; none when anything in them is wrong.
pub(super) fn read_log(reader: &mut Reader<'_>) -> Option<Log> {
    let kind = reader.take("log.kind", one_of(KINDS));
    let shards = reader.take("log.shards", shards);
    let kafka = read_kafka(reader);
    Some(Log {
        kind: kind?,
        shards: shards?,
        kafka: kafka?,
    })
}

fn read_kafka(reader: &mut Reader<'_>) -> Option<Kafka> {
    let brokers = reader.take("kafka.brokers", parsed(some_text));
    let topic = reader.take("kafka.topic", parsed(topic));
    let group = reader.take(
        "kafka.group",
        parsed(|text| Ok::<_, String>(text.to_owned())),
    );
    let replication = reader.take("kafka.replication", replication);
    let tail = reader.take("kafka.memory", parsed(memory));
    let ignored = reader.take("kafka.ignored_offsets", ignored);
    let properties = read_properties(reader);
    let topic = topic?;
    let group = match group? {
        group if group.is_empty() => format!("{topic}-writers"),
        group => group,
    };
    Some(Kafka {
        brokers: brokers?,
        group,
        topic,
        replication: replication?,
        tail_bytes: tail?,
        ignored: ignored?,
        properties: properties?,
    })
}

fn some_text(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("it is empty: name brokers, such as \"127.0.0.1:9092\"".into()),
        text => Ok(text.to_owned()),
    }
}

fn topic(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    match text {
        "" | "." | ".." => Err("it names no topic: write a name such as \"cairn\"".into()),
        text if text.len() > 249 || !text.chars().all(fits) => Err(format!(
            "`{text}` cannot name a topic: use up to 249 of a-z, A-Z, 0-9, `.`, `_` and `-`"
        )),
        text => Ok(text.to_owned()),
    }
}

fn replication(value: &Value) -> Result<Option<u32>, String> {
    match number(0)(value)? {
        0 => Ok(None),
        copies @ 1..=100 => Ok(u32::try_from(copies).ok()),
        more => Err(format!(
            "`{more}` copies are more than any cluster keeps: write 3, or 0 to leave it to cairn"
        )),
    }
}

fn memory(text: &str) -> Result<usize, String> {
    let bytes = parse_size(text)?;
    let fits = usize::try_from(bytes)
        .ok()
        .filter(|bytes| *bytes >= 1 << 20);
    fits.ok_or_else(|| format!("`{text}` is too little or too much memory: at least 1MiB"))
}

fn shards(value: &Value) -> Result<Vec<String>, String> {
    let names = list(value)?;
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_');
    if let Some(bad) = names
        .iter()
        .find(|name| !name.chars().all(fits) || Stream::chain(name).is_err() || name.len() > 64)
    {
        return Err(format!(
            "`{bad}` cannot name a shard: use up to 64 of a-z, 0-9, `-` and `_`"
        ));
    }
    let distinct: BTreeSet<_> = names.iter().collect();
    match (names.len(), distinct.len()) {
        (0, _) => Err("there must be at least one: write [\"main\"]".into()),
        (all, different) if all != different => Err("two shards have the same name".into()),
        (1..=250, _) => Ok(names),
        _ => Err("more than 250 shards are more than a cursor can name".into()),
    }
}

fn ignored(value: &Value) -> Result<BTreeSet<(u32, u64)>, String> {
    let parse = |text: &String| {
        let (partition, offset) = text.split_once('/')?;
        Some((partition.parse().ok()?, offset.parse().ok()?))
    };
    let way_out = |text: &String| {
        format!("`{text}` is no record: write partition/offset, such as \"0/1234\"")
    };
    let list = list(value)?;
    list.iter()
        .map(|text| parse(text).ok_or_else(|| way_out(text)))
        .collect()
}

/// Each setting is checked by itself; whether they fit together librdkafka says when the log is opened.
fn read_properties(reader: &mut Reader<'_>) -> Option<BTreeMap<String, Secret>> {
    let keys: Vec<String> = reader
        .rest(PROPERTIES)
        .map(|(key, _)| key.clone())
        .collect();
    let mut properties = Some(BTreeMap::new());
    for key in keys {
        let name = key.trim_start_matches(PROPERTIES).to_owned();
        let taken = reader.take(&key, |value| {
            let text = match value {
                Value::Text(text) | Value::Number(text) => text.clone(),
                Value::Switch(switch) => switch.to_string(),
                Value::List(_) | Value::Other(_) => {
                    return Err("librdkafka takes strings, numbers and switches".into());
                }
            };
            KafkaOptions::check_property(&name, &text).map(|()| Secret::new(text))
        });
        match (taken, &mut properties) {
            (Some(value), Some(properties)) => {
                properties.insert(name, value);
            }
            _ => properties = None,
        }
    }
    properties
}
