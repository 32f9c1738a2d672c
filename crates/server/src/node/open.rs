//! Opening the log of a shard, whichever implementation holds it.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    sync::Arc,
};

use cairn_engine::log::{
    Claim, EmbeddedLog, EmbeddedOptions, KafkaLog, KafkaOptions, Log, LogError, LogId,
};

use super::socket_path;
use crate::{
    config::{Config, Data, LogKind, Server},
    exit::{Exit, Failure},
};

/// Where a shard lives: the first one at the top of the data directory, the others each in a folder.
pub(crate) fn shard_dir(config: &Config, index: usize) -> PathBuf {
    match (index, config.log.shards.get(index)) {
        (0, _) | (_, None) => config.data.dir.clone(),
        (_, Some(name)) => config.data.dir.join("shards").join(name),
    }
}

/// Opens the log of a shard. `making` says whether one that is not there is made.
pub(crate) async fn open_log(
    config: &Config,
    index: usize,
    making: bool,
) -> anyhow::Result<Arc<dyn Log>> {
    match config.log.kind {
        LogKind::Embedded => open_embedded(&shard_dir(config, index), None, making).await,
        LogKind::Kafka => {
            let options = KafkaOptions {
                making,
                ..kafka_options(config, index, None)
            };
            Ok(Arc::new(KafkaLog::open(options).await?))
        }
    }
}

/// Opens the embedded log in a directory; `copy_of` as in [`EmbeddedOptions`].
pub(crate) async fn open_embedded(
    dir: &Path,
    copy_of: Option<LogId>,
    making: bool,
) -> anyhow::Result<Arc<dyn Log>> {
    let path = dir.join("log");
    if !making && !path.is_dir() {
        // A command that only looks makes nothing.
        let message = format!(
            "there is no log in {}: name the data directory with --data-dir, or fill it with `cairn serve` or `cairn ingest`",
            dir.display()
        );
        return Err(Failure::new(Exit::Failed, message).into());
    }
    let options = EmbeddedOptions {
        copy_of,
        ..EmbeddedOptions::default()
    };
    let open = move || -> Result<Arc<dyn Log>, LogError> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)
                .map_err(|error| LogError::Storage(error.to_string()))?;
        }
        Ok(Arc::new(EmbeddedLog::open(&path, options)?))
    };
    Ok(tokio::task::spawn_blocking(open).await??)
}

/// The partition of a shard.
pub(crate) fn kafka_options(config: &Config, index: usize, copy_of: Option<LogId>) -> KafkaOptions {
    let kafka = &config.log.kafka;
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let own = |(partition, offset): &(u32, u64)| (*partition == number(index)).then_some(*offset);
    let properties = kafka.properties.iter();
    KafkaOptions {
        partition: number(index),
        partitions: number(config.log.shards.len()),
        replication: kafka.replication,
        properties: properties
            .map(|(name, value)| (name.clone(), value.reveal().to_owned()))
            .collect(),
        tail_bytes: kafka.tail_bytes,
        ignored: kafka.ignored.iter().filter_map(own).collect(),
        copy_of,
        ..KafkaOptions::new(
            &kafka.brokers,
            &kafka.topic,
            shard_dir(config, index).join("kafka"),
        )
    }
}

/// What this process says of itself when it takes a log over. Without an address for other nodes,
/// commands come through the socket.
pub(crate) fn claim(data: &Data, address: Option<String>) -> Claim {
    let socket = || socket_path(&data.dir).to_str().map(str::to_owned);
    Claim {
        writer: format!(
            "cairn {} (process {})",
            env!("CARGO_PKG_VERSION"),
            std::process::id()
        ),
        address: address.or_else(socket),
        ..Claim::default()
    }
}

/// How other nodes reach a server that listens there.
pub(crate) fn address_of(server: &Server, listening: SocketAddr) -> String {
    if let Some(url) = &server.advertise {
        return url.clone();
    }
    let mut reached = listening;
    if reached.ip().is_unspecified() {
        reached.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    format!("http://{reached}")
}
