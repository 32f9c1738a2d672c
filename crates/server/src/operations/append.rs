//! Events that nodes without the right to append want in the log.

use anyhow::{Context as _, ensure};
use cairn_domain::{
    Event, Position, Stream,
    commit::{Millis, NewCommit},
};
use cairn_engine::clock::now_millis;
use serde_json::{Value, json};

use super::{Output, fold};
use crate::node::Shard;

/// Appends events of another node. Only what asks for something, or says what came of it, is taken: what happened
/// outside is for sources to say, and what changes partners is decided where it is appended.
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
            Event::LakeCut(_)
                | Event::ExportRequested(_)
                | Event::ExportFinished(_)
                | Event::ApiUsed(_)
        )
    };
    ensure!(
        !events.is_empty() && events.iter().all(is_ours),
        "only cuts of the lake, exports and usage are appended by request"
    );
    let position = append_all(shard, &stream, (now_millis(), events), output).await?;
    Ok(json!({ "position": position }))
}

/// Appends events of a moment as one commit, and waits until it is folded.
pub(super) async fn append_all(
    shard: &Shard,
    stream: &Stream,
    (time, events): (Millis, &[Event]),
    output: &Output,
) -> anyhow::Result<Position> {
    let writer = shard.writer();
    let writer = writer.context("this process does not write the log")?;
    let commit = NewCommit::new(stream, time, events);
    let position = writer.append(vec![commit]).await?;
    fold(shard, output).await?;
    Ok(position)
}
