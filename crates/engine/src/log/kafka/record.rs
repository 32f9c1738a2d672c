//! The records of the topic: what their headers say, and how a commit becomes records.
//!
//! ```text
//! header    value
//! cairn     log/1: the first record, which names the log (JSON)
//!           epoch/1: a writer takes over (JSON, an EpochRecord)
//!           commit/1: a commit, or a part of one (see `more`)
//! epoch     of the writer
//! sequence  the number of the record in its epoch, from 0
//! more      `part` if the next record goes on with this commit, `commit` if the append goes on
//!           with another commit; absent in the last record of an append
//! stream    the subject of the events, such as chain/eth
//! kind      the numbers of the event kinds in the commit, parted by commas
//! version   the version of each of them
//! codec     how their bodies are encoded
//! ```
//!
//! All values are text, so that other consumers can filter without decoding. A commit in several
//! records has stream, kind, version and codec in its first one. Records have no key: a topic that
//! compacts would refuse them.

use std::borrow::Cow;

use cairn_domain::commit::read_frame;
use rdkafka::message::{BorrowedMessage, Header, Headers as _, Message as _, OwnedHeaders};
use serde::{Deserialize, Serialize};

use crate::log::{EpochRecord, LogId};

/// The first record of a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LogRecord {
    pub(super) id: LogId,
    /// Tells this topic from another one that holds a copy of the same log, with other offsets.
    pub(super) topic: LogId,
}

/// A record as it was read.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Record<'a> {
    Log(LogRecord),
    Epoch(TakeOver),
    Part(Part<'a>),
}

/// An epoch record, with the log that its writer means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct TakeOver {
    pub(super) log: LogId,
    /// Whether it takes over a log that was closed.
    #[serde(default)]
    pub(super) reopens: bool,
    pub(super) record: EpochRecord,
}

/// A commit, or a part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part<'a> {
    pub(super) epoch: u64,
    pub(super) sequence: u64,
    pub(super) more: More,
    pub(super) bytes: &'a [u8],
}

/// What follows a record in its append.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    Part,
    Commit,
    Nothing,
}

/// A record that is to be written.
pub(super) struct NewRecord<'a> {
    pub(super) headers: OwnedHeaders,
    pub(super) payload: Cow<'a, [u8]>,
}

fn header(headers: OwnedHeaders, key: &str, value: &str) -> OwnedHeaders {
    headers.insert(Header {
        key,
        value: Some(value),
    })
}

fn json<T: Serialize>(kind: &str, epoch: Option<u64>, value: &T) -> NewRecord<'static> {
    let mut headers = header(OwnedHeaders::new_with_capacity(2), "cairn", kind);
    if let Some(epoch) = epoch {
        headers = header(headers, "epoch", &epoch.to_string());
    }
    let payload = serde_json::to_vec(value).expect("plain data becomes JSON");
    NewRecord {
        headers,
        payload: payload.into(),
    }
}

/// The record that names a log.
pub(super) fn log(id: LogId) -> NewRecord<'static> {
    let topic = LogId::random();
    json("log/1", None, &LogRecord { id, topic })
}

/// The record with which a writer takes over.
pub(super) fn epoch(take_over: &TakeOver) -> NewRecord<'static> {
    json("epoch/1", Some(take_over.record.epoch), take_over)
}

/// Numbers of different things, parted by commas, with how often each stands once.
fn describe(headers: OwnedHeaders, stored: &[u8]) -> OwnedHeaders {
    // A frame of a newer format, which only a copy can have, is described by its reader.
    let Ok((commit, records)) = read_frame(stored) else {
        return headers;
    };
    let mut kinds: Vec<_> = records.iter().map(|r| (r.kind, r.version)).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let list = |number: fn(&(u16, u16)) -> u16| {
        let texts: Vec<_> = kinds.iter().map(|kind| number(kind).to_string()).collect();
        texts.join(",")
    };
    let headers = header(headers, "stream", commit.stream.as_str());
    let headers = header(headers, "kind", &list(|kind| kind.0));
    let headers = header(headers, "version", &list(|kind| kind.1));
    match records.first() {
        Some(record) => header(headers, "codec", &record.codec.to_string()),
        None => headers,
    }
}

/// The records of a stored commit, each of at most so many bytes. `last` says that the append ends
/// with it.
pub(super) fn parts<'a>(
    stored: &'a [u8],
    part_bytes: usize,
    epoch: u64,
    first_sequence: u64,
    last: bool,
) -> impl Iterator<Item = NewRecord<'a>> {
    let count = stored.len().div_ceil(part_bytes.max(1)).max(1);
    let epoch = epoch.to_string();
    let chunks = stored.chunks(part_bytes.max(1));
    chunks.enumerate().map(move |(number, payload)| {
        let mut headers = header(OwnedHeaders::new_with_capacity(8), "cairn", "commit/1");
        headers = header(headers, "epoch", &epoch);
        let sequence = first_sequence + number as u64;
        headers = header(headers, "sequence", &sequence.to_string());
        if number + 1 < count {
            headers = header(headers, "more", "part");
        } else if !last {
            headers = header(headers, "more", "commit");
        }
        if number == 0 {
            headers = describe(headers, stored);
        }
        NewRecord {
            headers,
            payload: payload.into(),
        }
    })
}

/// Reads a record.
///
/// # Errors
/// A sentence that says why it is none of ours, with the way out.
pub(super) fn read<'a>(message: &'a BorrowedMessage<'_>) -> Result<Record<'a>, String> {
    let headers = message.headers().ok_or_else(foreign)?;
    let (mut kind, mut epoch, mut sequence, mut more) = (None, None, None, More::Nothing);
    for header in headers.iter() {
        let value = header
            .value
            .and_then(|value| std::str::from_utf8(value).ok());
        match header.key {
            "cairn" => kind = value,
            "epoch" => epoch = value.and_then(|value| value.parse().ok()),
            "sequence" => sequence = value.and_then(|value| value.parse().ok()),
            "more" => more = what_follows(value)?,
            _ => {}
        }
    }
    let payload = message.payload().unwrap_or_default();
    match kind {
        Some("log/1") => Ok(Record::Log(parse(payload)?)),
        Some("epoch/1") => Ok(Record::Epoch(parse(payload)?)),
        Some("commit/1") => {
            let numbers = epoch.zip(sequence);
            let (epoch, sequence) = numbers.ok_or("it has no epoch or sequence: it is damaged")?;
            Ok(Record::Part(Part {
                epoch,
                sequence,
                more,
                bytes: payload,
            }))
        }
        Some(other) => Err(format!(
            "a newer cairn wrote it (`{other}`): upgrade this node"
        )),
        None => Err(foreign()),
    }
}

/// Whether a record was not written by cairn at all.
pub(super) fn is_foreign(message: &BorrowedMessage<'_>) -> bool {
    let headers = message.headers();
    headers.is_none_or(|headers| headers.iter().all(|header| header.key != "cairn"))
}

fn what_follows(value: Option<&str>) -> Result<More, String> {
    match value {
        Some("part") => Ok(More::Part),
        Some("commit") => Ok(More::Commit),
        _ => Err("its header `more` is of a newer cairn: upgrade this node".into()),
    }
}

fn parse<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, String> {
    serde_json::from_slice(payload).map_err(|error| format!("it is damaged: {error}"))
}

fn foreign() -> String {
    "it was not written by cairn: stop whoever writes to this topic, then pass over the record by naming its offset in `[kafka] ignored_offsets` of every node".into()
}
