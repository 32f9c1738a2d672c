//! The log at a glance, and whether every byte of it is whole.

use serde_json::Value;

use super::{Output, Unit};
use crate::node::Node;

/// What is known of the log.
pub(super) async fn stat(node: &Node) -> anyhow::Result<Value> {
    Ok(serde_json::to_value(node.log()?.stat().await?)?)
}

/// Reads every stored byte.
pub(super) async fn verify(node: &Node, output: &Output) -> anyhow::Result<Value> {
    let log = node.log()?;
    let head = log.head().borrow().0;
    let progress = |at: cairn_domain::Position| {
        output.progress("reading the log", at.0, Some(head), Unit::Commits);
    };
    Ok(serde_json::to_value(log.verify(&progress).await?)?)
}
