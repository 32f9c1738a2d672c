//! Folding anew, and comparing with a fresh fold.

use cairn_domain::Position;
use cairn_engine::runner;
use serde_json::Value;

use super::{Output, Unit};
use crate::node::Shard;

/// Folds projections anew and swaps them in; none means all.
pub(super) async fn replay(
    shard: &Shard,
    projections: Vec<String>,
    output: &Output,
) -> anyhow::Result<Value> {
    let output = output.clone();
    let progress = move |at: Position, head: Position| {
        output.progress("folding", at.0, Some(head.0), Unit::Commits);
    };
    let rebuilt = match shard.runner().await {
        Some(runner) => {
            runner
                .rebuild(projections, progress, shard.stopping())
                .await?
        }
        None => {
            runner::rebuild_offline(shard.log()?, shard.store()?, &projections, &progress).await?
        }
    };
    Ok(serde_json::to_value(rebuilt)?)
}

/// Folds the log afresh and compares every table.
pub(super) async fn verify(shard: &Shard, output: &Output) -> anyhow::Result<Value> {
    let progress = |at: Position, head: Position| {
        output.progress("folding afresh", at.0, Some(head.0), Unit::Commits);
    };
    let report = runner::verify(shard.log()?, shard.store()?, &progress, shard.stopping()).await?;
    Ok(serde_json::to_value(report)?)
}
