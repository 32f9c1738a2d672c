//! Events that nodes without the right to append want in the log.

use anyhow::{Context as _, ensure};
use cairn_domain::{Event, Stream, commit::NewCommit};
use cairn_engine::clock::now_millis;
use serde_json::{Value, json};

use super::{Output, fold};
use crate::node::Shard;

/// Appends events as one commit, and waits until it is folded. Only what asks for something, or says what came of it, is taken: what
/// happened outside is for sources to say.
pub(super) async fn append(
    shard: &Shard,
    stream: &str,
    events: &[Event],
    output: &Output,
) -> anyhow::Result<Value> {
    let stream = Stream::new(stream)?;
    let is_ours = |event: &Event| {
        matches!(
            event,
            Event::LakeCut(_) | Event::ExportRequested(_) | Event::ExportFinished(_)
        )
    };
    ensure!(
        !events.is_empty() && events.iter().all(is_ours),
        "only cuts of the lake and exports are appended by request"
    );
    let writer = shard.writer();
    let writer = writer.context("this process does not write the log")?;
    let commit = NewCommit::new(&stream, now_millis(), events);
    let position = writer.append(vec![commit]).await?;
    fold(shard, output).await?;
    Ok(json!({ "position": position }))
}
