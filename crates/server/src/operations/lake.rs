//! Cuts of the lake.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use cairn_domain::{Stream, commit::NewCommit, events::LakeCut};
use serde_json::{Value, json};

use crate::node::Shard;

/// Appends that what is final of a stream goes into files now.
pub(super) async fn cut(shard: &Shard, stream: &str) -> anyhow::Result<Value> {
    let stream = Stream::new(stream)?;
    let writer = shard.writer();
    let writer = writer.context("this process does not write the log")?;
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = since.map_or(0, |since| since.as_millis() as u64);
    let commit = NewCommit::new(&stream, now, &[LakeCut {}.into()]);
    let position = writer.append(vec![commit]).await?;
    Ok(json!({ "position": position }))
}
