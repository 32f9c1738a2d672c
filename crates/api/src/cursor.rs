//! The one cursor (promise P6): pages lists, and says which past a read is of.
//!
//! Text: base64url without padding of
//!
//! ```text
//! u8  format (1)
//! u8  number of shards (1), then for each
//!     u64 position, big-endian
//! u8  list, then
//!     4 bytes that bind the list to its chain and subject, and
//!     the key behind which the list goes on
//! 8 bytes checksum, keyed by the log's id
//! ```
//!
//! The checksum tells a cursor of this log from one of another log and from a mistyped, cut or made
//! up one, on any node that has the log or a copy of it and after any restart. It guards nothing:
//! what a cursor can name is public anyway.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cairn_domain::Position;
use cairn_engine::log::LogId;

use crate::error::{ApiError, ErrorCode};

const FORMAT: u8 = 1;
const CONTEXT: &str = "cairn 2026 cursor checksum v1";
const CHECKSUM: usize = 8;
const TAG: usize = 4;
/// Behind format, number of shards, one position and the list.
const HEAD: usize = 11;
/// Longer texts are no cursors.
const MAX_TEXT: usize = 200;

/// Which list a cursor goes on in. Numbers reach clients: never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum List {
    /// No list: only a position.
    None = 0,
    /// Blocks of a chain.
    Blocks = 1,
    /// Transactions of a chain.
    Transactions = 2,
    /// Transactions of an address.
    AddressTransactions = 3,
    /// Token transfers of an address.
    TokenTransfers = 4,
    /// Tokens that an address holds.
    Tokens = 5,
}

/// A cursor as it was read: its position is known, whether it fits a list is asked with
/// [`Cursor::key`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    position: Position,
    list: u8,
    tag: [u8; TAG],
    key: Vec<u8>,
}

fn invalid(reason: &str) -> ApiError {
    ApiError::new(
        ErrorCode::InvalidCursor,
        format!("this is not a cursor of this list: {reason}"),
    )
}

fn tag(chain: &str, subject: &[u8]) -> [u8; TAG] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(chain.as_bytes()).update(&[0]).update(subject);
    let mut tag = [0; TAG];
    tag.copy_from_slice(&hasher.finalize().as_bytes()[..TAG]);
    tag
}

/// What binds cursors to a log.
#[derive(Debug, Clone)]
pub(crate) struct CursorKey([u8; 32]);

impl CursorKey {
    /// The key for the cursors of a log.
    pub(crate) fn of(log: LogId) -> Self {
        Self(blake3::derive_key(CONTEXT, &log.0))
    }

    fn checksum(&self, body: &[u8]) -> [u8; CHECKSUM] {
        let mut checksum = [0; CHECKSUM];
        let hash = blake3::keyed_hash(&self.0, body);
        checksum.copy_from_slice(&hash.as_bytes()[..CHECKSUM]);
        checksum
    }
}

impl Cursor {
    /// A cursor that names a position alone.
    pub(crate) fn at(position: Position) -> Self {
        Self::behind(position, List::None, "", b"", Vec::new())
    }

    /// A cursor that goes on behind a key of a list, as of a position. `subject` is what the list
    /// is of beside its chain, such as an address.
    pub(crate) fn behind(
        position: Position,
        list: List,
        chain: &str,
        subject: &[u8],
        key: Vec<u8>,
    ) -> Self {
        Self {
            position,
            list: list as u8,
            tag: tag(chain, subject),
            key,
        }
    }

    /// Its text.
    pub(crate) fn encode(&self, key: &CursorKey) -> String {
        let mut bytes = vec![FORMAT, 1];
        bytes.extend_from_slice(&self.position.0.to_be_bytes());
        bytes.push(self.list);
        bytes.extend_from_slice(&self.tag);
        bytes.extend_from_slice(&self.key);
        let checksum = key.checksum(&bytes);
        bytes.extend_from_slice(&checksum);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads the text of a cursor of a log.
    pub(crate) fn decode(text: &str, log: &CursorKey) -> Result<Self, ApiError> {
        let damaged = || invalid("it is damaged, or was made by a server with another log");
        if text.len() > MAX_TEXT {
            return Err(damaged());
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| damaged())?;
        let (body, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or_else(damaged)?;
        if *sum != log.checksum(body) {
            return Err(damaged());
        }
        let (head, rest) = body.split_first_chunk::<HEAD>().ok_or_else(damaged)?;
        let (tag, key) = rest.split_first_chunk::<TAG>().ok_or_else(damaged)?;
        let [FORMAT, 1, position @ .., list] = head else {
            return Err(damaged());
        };
        let mut number = [0; 8];
        number.copy_from_slice(position);
        let position = Position(u64::from_be_bytes(number));
        Ok(Self {
            position,
            list: *list,
            tag: *tag,
            key: key.to_vec(),
        })
    }

    /// The position that it reads as of.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// The key behind which a list goes on.
    pub(crate) fn key(&self, list: List, chain: &str, subject: &[u8]) -> Result<&[u8], ApiError> {
        if self.list != list as u8 || self.tag != tag(chain, subject) {
            return Err(invalid(
                "it goes on in another list; use it where you got it",
            ));
        }
        Ok(&self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> CursorKey {
        CursorKey::of(LogId([7; 16]))
    }

    fn cursor() -> Cursor {
        Cursor::behind(
            Position(77),
            List::AddressTransactions,
            "eth",
            b"me",
            vec![1, 2, 3],
        )
    }

    #[test]
    fn a_cursor_comes_back_from_its_text_and_the_text_never_changes() {
        let text = cursor().encode(&key());
        let back = Cursor::decode(&text, &key()).unwrap();
        assert_eq!(back, cursor());
        assert_eq!(
            back.key(List::AddressTransactions, "eth", b"me").unwrap(),
            [1, 2, 3]
        );
        assert_eq!(text, cursor().encode(&key()));
    }

    #[test]
    fn cursors_of_one_shard_keep_the_text_that_clients_hold() {
        let list = "AQEAAAAAAAAATQMbu2dFAQIDwGJ_iBs7VNg";
        assert_eq!(cursor().encode(&key()), list);
        assert_eq!(Cursor::decode(list, &key()).unwrap(), cursor());
        let moment = "AQEAAAAAAAAABQAtOt7fYGdtB5TJ6uU";
        assert_eq!(Cursor::at(Position(5)).encode(&key()), moment);
    }

    #[test]
    fn a_cursor_of_another_list_chain_or_subject_is_refused() {
        let cursor = cursor();
        assert!(cursor.key(List::Blocks, "eth", b"me").is_err());
        assert!(
            cursor
                .key(List::AddressTransactions, "base", b"me")
                .is_err()
        );
        assert!(
            cursor
                .key(List::AddressTransactions, "eth", b"you")
                .is_err()
        );
    }

    #[test]
    fn a_cursor_of_another_log_is_refused() {
        let other = CursorKey::of(LogId([8; 16]));
        let refused = Cursor::decode(&cursor().encode(&other), &key()).unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidCursor);
        assert!(refused.message.contains("another log"), "{refused}");
    }

    #[test]
    fn every_changed_or_cut_cursor_is_refused_and_none_panics() {
        let text = cursor().encode(&key());
        for length in 0..text.len() {
            assert!(
                Cursor::decode(&text[..length], &key()).is_err(),
                "at {length}"
            );
        }
        for index in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[index] = if bytes[index] == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(bytes).unwrap();
            assert!(Cursor::decode(&forged, &key()).is_err(), "at {index}");
        }
        assert!(Cursor::decode(&"A".repeat(100_000), &key()).is_err());
        assert!(Cursor::decode("not base64 !", &key()).is_err());
    }
}
