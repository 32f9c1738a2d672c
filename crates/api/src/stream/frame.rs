//! An event as it goes out: made once, for all who follow.

use std::sync::OnceLock;

use axum::extract::ws::Utf8Bytes;
use bytes::Bytes;
use cairn_domain::{Commit, Position};
use serde::Serialize;
use serde_json::value::RawValue;

use super::{
    channel::{Channel, Filters, Message, RenderError},
    past::Past,
};
use crate::{
    cursor::{Cursor, CursorKeys, List},
    models::Time,
    shard::Shard,
};

/// Where an event is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The shard's place among the shards.
    pub(crate) shard: usize,
    /// Its commit.
    pub(crate) position: Position,
    /// The number of its channel.
    pub(crate) channel: u8,
    /// Its place among the events of the channel in the commit, from 0.
    pub(crate) index: u32,
}

impl Place {
    const BYTES: usize = 6;

    pub(super) fn key(&self) -> Vec<u8> {
        let [a, b, c, d] = self.index.to_be_bytes();
        vec![self.shard as u8, self.channel, a, b, c, d]
    }

    /// What the cursor of an event says of it; none of cursors of lists.
    pub(crate) fn of(cursor: &Cursor) -> Option<Self> {
        let key = cursor.key(List::Stream, "", b"").ok()?;
        let [shard, channel, index @ ..]: [u8; Self::BYTES] = key.try_into().ok()?;
        let position = cursor.positions().get(usize::from(shard))?;
        Some(Self {
            shard: usize::from(shard),
            position: *position,
            channel,
            index: u32::from_be_bytes(index),
        })
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) place: Place,
    channel: &'static str,
    /// What it is, and what filters look at.
    pub(crate) message: Message,
    /// Goes on behind it.
    pub(crate) cursor: String,
    text: OnceLock<Utf8Bytes>,
    lines: OnceLock<Bytes>,
}

/// The envelope on a WebSocket.
#[derive(Serialize)]
struct Envelope<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    channel: &'static str,
    event: &'static str,
    cursor: &'a str,
    timestamp: Time,
    data: &'a RawValue,
}

impl Frame {
    /// The events of a channel in a commit. `positions` are what was told of all shards before it.
    pub(super) fn all_of(
        channel: &dyn Channel,
        (shard, keys): (&Shard, &CursorKeys),
        commit: &Commit,
        positions: &[Position],
    ) -> Result<Vec<Self>, RenderError> {
        let past = Past::new(shard, &commit.header.stream);
        let messages = channel.render(commit, &past)?;
        let frame = |(index, message)| {
            let place = Place {
                shard: shard.index,
                position: commit.position,
                channel: channel.number(),
                index,
            };
            let mut positions = positions.to_vec();
            positions[shard.index] = commit.position;
            let cursor = Cursor::behind(positions, List::Stream, "", b"", place.key());
            Self {
                place,
                channel: channel.name(),
                message,
                cursor: cursor.encode(keys),
                text: OnceLock::new(),
                lines: OnceLock::new(),
            }
        };
        Ok((0..).zip(messages).map(frame).collect())
    }

    /// Whether a subscriber of its channel wants it.
    pub(crate) fn is_wanted(&self, filters: &Filters) -> bool {
        filters.match_all(&self.message.attributes)
    }

    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        const OTHER: usize = 512;
        // Its data, twice as soon as somebody takes it.
        2 * self.message.data.get().len() + OTHER
    }

    /// As a message on a WebSocket.
    pub(crate) fn text(&self) -> Utf8Bytes {
        let make = || {
            let envelope = Envelope {
                kind: "event",
                channel: self.channel,
                event: self.message.event,
                cursor: &self.cursor,
                timestamp: self.message.timestamp,
                data: &self.message.data,
            };
            // Texts, a number and JSON that is ready always become JSON.
            serde_json::to_string(&envelope).unwrap_or_default().into()
        };
        self.text.get_or_init(make).clone()
    }

    /// As an event of a stream of server-sent events.
    pub(crate) fn lines(&self) -> Bytes {
        let make = || {
            let (id, event, text) = (&self.cursor, self.message.event, self.text());
            // JSON has no line breaks but escaped ones.
            format!("id: {id}\nevent: {event}\ndata: {text}\n\n").into()
        };
        self.lines.get_or_init(make).clone()
    }
}
