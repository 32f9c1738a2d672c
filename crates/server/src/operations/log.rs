//! The log at a glance, and whether every byte of it is whole.

use serde_json::Value;

use super::{Output, Unit};
use crate::node::Shard;

/// What is known of the log.
pub(super) async fn stat(shard: &Shard) -> anyhow::Result<Value> {
    Ok(serde_json::to_value(shard.log()?.stat().await?)?)
}

/// Reads every stored byte.
pub(super) async fn verify(shard: &Shard, output: &Output) -> anyhow::Result<Value> {
    let log = shard.log()?;
    let head = log.head().borrow().0;
    let progress = |at: cairn_domain::Position| {
        output.progress("reading the log", at.0, Some(head), Unit::Commits);
    };
    Ok(serde_json::to_value(log.verify(&progress).await?)?)
}
