//! The frame of a commit: the atomic unit of append, one or more events of one stream.
//!
//! Stored form, integers little-endian:
//!
//! ```text
//! u8  format (1)
//! u64 writer epoch          set by the log
//! u64 recorded time, ms     set by the log
//! u64 event time, ms
//! u16 length of the stream's name, then the name
//! u32 number of records, then each:
//!     u16 kind · u16 version · u8 codec · u32 length · body
//! ```
//!
//! All records of a commit share stream, times and epoch, so these stand once.

use std::{fmt, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    events::{Event, EventError},
    primitives::ParseError,
};

/// The place of a commit in its log: gapless from 1. `Position(0)` is before the first.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
)]
pub struct Position(pub u64);

impl Position {
    /// The position behind this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The position before this one; that of position 0 is itself.
    #[must_use]
    pub fn previous(self) -> Self {
        Self(self.0.saturating_sub(1))
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The subject of events inside a log, such as `chain/eth`: a kind, a slash, a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stream(Arc<str>);

impl Stream {
    /// The longest name in bytes.
    pub const MAX_LENGTH: usize = 200;

    /// Checks a name.
    ///
    /// # Errors
    /// When it has no slash, an empty part, a control character or too many bytes.
    pub fn new(name: &str) -> Result<Self, ParseError> {
        let fail = |reason: &str| Err(ParseError::new("stream", format!("`{name}` {reason}")));
        match name.split_once('/') {
            None => fail("has no `/` between its kind and its name"),
            Some(("", _) | (_, "")) => fail("has an empty kind or name"),
            _ if name.len() > Self::MAX_LENGTH => fail("is longer than 200 bytes"),
            _ if name.chars().any(char::is_control) => fail("contains a control character"),
            _ => Ok(Self(name.into())),
        }
    }

    /// The stream of a chain, from the name that its source has in the config.
    ///
    /// # Errors
    /// As [`Stream::new`].
    pub fn chain(name: &str) -> Result<Self, ParseError> {
        Self::new(&format!("chain/{name}"))
    }

    /// The chain's name, if this is the stream of a chain.
    pub fn chain_name(&self) -> Option<&str> {
        self.0.strip_prefix("chain/")
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Milliseconds since 1970-01-01T00:00:00Z.
pub type Millis = u64;

/// What every record of a commit has in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitHeader {
    /// The subject of the events.
    pub stream: Stream,
    /// When it happened, as the source tells.
    pub event_time: Millis,
    /// When the log took it. For people only: folds must not depend on it.
    pub recorded_time: Millis,
    /// The epoch of the writer that appended it.
    pub epoch: u64,
}

/// A commit as folds see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// Its place in the log.
    pub position: Position,
    /// What its events have in common.
    pub header: CommitHeader,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// A commit that is on its way into the log: framed, but without position, and, unless it is copied
/// from another log, without epoch and recorded time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewCommit {
    bytes: Vec<u8>,
    is_copy: bool,
}

/// Why bytes are not a commit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// The frame is of a format that this version does not know.
    #[error("commit format {0} is unknown to this version; a newer cairn wrote it: upgrade")]
    Format(u8),
    /// The frame ends early or contradicts itself.
    #[error("the frame of a commit is damaged: {0}")]
    Damaged(&'static str),
    /// A record cannot be read.
    #[error(transparent)]
    Event(#[from] EventError),
}

const FORMAT: u8 = 1;
const EPOCH: usize = 1;
const RECORDED: usize = 9;
const EVENT_TIME: usize = 17;

impl NewCommit {
    /// Frames events of one stream.
    pub fn new(stream: &Stream, event_time: Millis, events: &[Event]) -> Self {
        let mut bytes = Vec::with_capacity(256 * events.len());
        bytes.push(FORMAT);
        bytes.extend_from_slice(&[0; EVENT_TIME - EPOCH]);
        bytes.extend_from_slice(&event_time.to_le_bytes());
        bytes.extend_from_slice(&(stream.as_str().len() as u16).to_le_bytes());
        bytes.extend_from_slice(stream.as_str().as_bytes());
        bytes.extend_from_slice(&(events.len() as u32).to_le_bytes());
        for event in events {
            let (kind, version) = event.kind_and_version();
            bytes.extend_from_slice(&kind.to_le_bytes());
            bytes.extend_from_slice(&version.to_le_bytes());
            bytes.push(Event::CODEC);
            let start = bytes.len();
            bytes.extend_from_slice(&[0; 4]);
            event.encode_body(&mut bytes);
            let length = (bytes.len() - start - 4) as u32;
            bytes[start..start + 4].copy_from_slice(&length.to_le_bytes());
        }
        Self {
            bytes,
            is_copy: false,
        }
    }

    /// The stored form of a commit of another log, which stays as it is to the last byte.
    pub fn copy_of(stored: Vec<u8>) -> Self {
        Self {
            bytes: stored,
            is_copy: true,
        }
    }

    /// Stamps epoch and recorded time, which only the log knows, and gives the stored form. That of
    /// a copy tells who appended it first, and when.
    pub fn seal(mut self, epoch: u64, recorded_time: Millis) -> Vec<u8> {
        if !self.is_copy {
            self.bytes[EPOCH..RECORDED].copy_from_slice(&epoch.to_le_bytes());
            self.bytes[RECORDED..EVENT_TIME].copy_from_slice(&recorded_time.to_le_bytes());
        }
        self.bytes
    }

    /// Its size in bytes, which is also that of its stored form.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }
}

/// One record of a stored commit, its body not decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawRecord<'a> {
    /// Which event it is. Never reused.
    pub kind: u16,
    /// The version of the event's definition.
    pub version: u16,
    /// How the body is encoded.
    pub codec: u8,
    /// The body.
    pub body: &'a [u8],
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn bytes(&mut self, length: usize) -> Result<&'a [u8], CommitError> {
        let (head, tail) = self
            .0
            .split_at_checked(length)
            .ok_or(CommitError::Damaged("it ends too early"))?;
        self.0 = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], CommitError> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    fn record(&mut self) -> Result<RawRecord<'a>, CommitError> {
        let kind = u16::from_le_bytes(self.array()?);
        let version = u16::from_le_bytes(self.array()?);
        let [codec] = self.array()?;
        let length = u32::from_le_bytes(self.array()?) as usize;
        Ok(RawRecord {
            kind,
            version,
            codec,
            body: self.bytes(length)?,
        })
    }
}

/// Reads the frame of a stored commit without decoding the bodies, which works for records of any
/// kind and version.
///
/// # Errors
/// [`CommitError::Format`] and [`CommitError::Damaged`].
pub fn read_frame(stored: &[u8]) -> Result<(CommitHeader, Vec<RawRecord<'_>>), CommitError> {
    let mut reader = Reader(stored);
    match reader.array()? {
        [FORMAT] => {}
        [format] => return Err(CommitError::Format(format)),
    }
    let epoch = u64::from_le_bytes(reader.array()?);
    let recorded_time = u64::from_le_bytes(reader.array()?);
    let event_time = u64::from_le_bytes(reader.array()?);
    let length = u16::from_le_bytes(reader.array()?);
    let stream = std::str::from_utf8(reader.bytes(length.into())?).ok();
    let stream = stream.and_then(|name| Stream::new(name).ok());
    let stream = stream.ok_or(CommitError::Damaged("its stream has no valid name"))?;
    let count = u32::from_le_bytes(reader.array()?);
    let records = (0..count)
        .map(|_| reader.record())
        .collect::<Result<_, _>>()?;
    if !reader.0.is_empty() {
        return Err(CommitError::Damaged(
            "bytes are left over behind its records",
        ));
    }
    Ok((
        CommitHeader {
            stream,
            event_time,
            recorded_time,
            epoch,
        },
        records,
    ))
}

impl Commit {
    /// Reads a stored commit.
    ///
    /// # Errors
    /// As [`read_frame`], and [`CommitError::Event`] for a record of unknown kind, version or codec,
    /// or one whose body does not decode.
    pub fn decode(position: Position, stored: &[u8]) -> Result<Self, CommitError> {
        let (header, records) = read_frame(stored)?;
        let events = records
            .into_iter()
            .map(Event::decode)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            position,
            header,
            events,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> Vec<u8> {
        let stream = Stream::chain("eth").unwrap();
        NewCommit::new(&stream, 7, &Event::examples()).seal(3, 9)
    }

    #[test]
    fn a_commit_comes_back_as_it_was_framed() {
        let commit = Commit::decode(Position(5), &stored()).unwrap();
        assert_eq!(commit.events, Event::examples());
        let header = &commit.header;
        assert_eq!(
            (header.epoch, header.recorded_time, header.event_time),
            (3, 9, 7)
        );
        assert_eq!(header.stream.chain_name(), Some("eth"));
    }

    #[test]
    fn a_copy_is_the_original_to_the_last_byte() {
        assert_eq!(NewCommit::copy_of(stored()).seal(99, 99), stored());
    }

    #[test]
    fn every_truncation_of_a_commit_is_an_error_and_never_a_panic() {
        let stored = stored();
        for length in 0..stored.len() {
            assert!(
                Commit::decode(Position(1), &stored[..length]).is_err(),
                "at {length}"
            );
        }
    }

    #[test]
    fn a_frame_of_a_newer_format_names_the_way_out() {
        let mut stored = stored();
        stored[0] = 9;
        let error = Commit::decode(Position(1), &stored).unwrap_err();
        assert!(error.to_string().contains("upgrade"), "{error}");
    }

    #[test]
    fn streams_need_a_kind_and_a_name() {
        for bad in ["eth", "/eth", "chain/", "chain/a\0b"] {
            assert!(Stream::new(bad).is_err(), "{bad}");
        }
        assert!(Stream::new(&format!("chain/{}", "x".repeat(300))).is_err());
    }
}
