//! The one cursor (promise P6): pages lists, and says which past a read is of.
//!
//! Text: base64url without padding of
//!
//! ```text
//! u8  format (1)
//! u8  number of shards, then for each
//!     u64 position, big-endian
//! u8  list, then
//!     4 bytes that bind the list to its chain and subject, and
//!     the key behind which the list goes on
//! 8 bytes checksum, keyed by the ids of the logs of these shards
//! ```
//!
//! The checksum tells a cursor of these logs from one of other logs and from a mistyped, cut or made
//! up one, on any node that has the logs or copies of them and after any restart. It guards nothing:
//! what a cursor can name is public anyway.
//!
//! A shard is known by its place. A cursor that was made while there were fewer shards names no
//! position of the later ones and is good for the others.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use cairn_domain::Position;
use cairn_engine::log::LogId;

use serde_json::json;

use crate::{
    error::{ApiError, ErrorCode},
    shard::Shard,
};

const FORMAT: u8 = 1;
const CONTEXT: &str = "cairn 2026 cursor checksum v1";
const CHECKSUM: usize = 8;
const TAG: usize = 4;
const POSITION: usize = 8;
/// Longer texts are no cursors of one shard.
const MAX_TEXT: usize = 200;
/// How much longer each further shard makes a text.
const TEXT_PER_SHARD: usize = 11;

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
    /// Events of a channel.
    Stream = 6,
}

/// A cursor as it was read: its positions are known, whether it fits a list is asked with
/// [`Cursor::key`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    positions: Vec<Position>,
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

/// What binds cursors to the logs of the shards.
#[derive(Debug, Clone)]
pub(crate) struct CursorKeys(Vec<[u8; 32]>);

impl CursorKeys {
    /// The keys for the cursors of so many logs, in the order of their shards: one for the cursors of
    /// the first log, one for those of the first two, and so on.
    pub(crate) fn of(logs: impl IntoIterator<Item = LogId>) -> Self {
        let mut ids = Vec::new();
        let key = |log: LogId| {
            ids.extend_from_slice(&log.0);
            blake3::derive_key(CONTEXT, &ids)
        };
        Self(logs.into_iter().map(key).collect())
    }

    /// The checksum of a cursor that names so many positions; none where there are fewer shards.
    fn checksum(&self, positions: usize, body: &[u8]) -> Option<[u8; CHECKSUM]> {
        let key = self.0.get(positions.checked_sub(1)?)?;
        blake3::keyed_hash(key, body)
            .as_bytes()
            .first_chunk()
            .copied()
    }

    fn longest_text(&self) -> usize {
        MAX_TEXT + TEXT_PER_SHARD * self.0.len().saturating_sub(1)
    }
}

impl Cursor {
    /// A cursor that names a moment alone: a position for each shard.
    pub(crate) fn at(positions: Vec<Position>) -> Self {
        Self::behind(positions, List::None, "", b"", Vec::new())
    }

    /// A cursor that goes on behind a key of a list, as of a moment. `subject` is what the list is of
    /// beside its chain, such as an address.
    pub(crate) fn behind(
        positions: Vec<Position>,
        list: List,
        chain: &str,
        subject: &[u8],
        key: Vec<u8>,
    ) -> Self {
        Self {
            positions,
            list: list as u8,
            tag: tag(chain, subject),
            key,
        }
    }

    /// Its text. It must name a position for each of the first shards that the keys are of, at least
    /// one.
    pub(crate) fn encode(&self, keys: &CursorKeys) -> String {
        let count = self.positions.len();
        let mut bytes = vec![FORMAT, count as u8];
        for position in &self.positions {
            bytes.extend_from_slice(&position.0.to_be_bytes());
        }
        bytes.push(self.list);
        bytes.extend_from_slice(&self.tag);
        bytes.extend_from_slice(&self.key);
        let checksum = keys.checksum(count, &bytes).unwrap_or_default();
        bytes.extend_from_slice(&checksum);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads the text of a cursor of the shards that the keys are of, or of the first of them.
    pub(crate) fn decode(text: &str, keys: &CursorKeys) -> Result<Self, ApiError> {
        let damaged = || invalid("it is damaged, or was made by a server with another log");
        if text.len() > keys.longest_text() {
            return Err(damaged());
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| damaged())?;
        let (body, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or_else(damaged)?;
        let [FORMAT, count, rest @ ..] = body else {
            return Err(damaged());
        };
        let count = usize::from(*count);
        if keys.checksum(count, body).as_ref() != Some(sum) {
            return Err(damaged());
        }
        let split = rest.split_at_checked(POSITION * count);
        let (positions, rest) = split.ok_or_else(damaged)?;
        let (list, rest) = rest.split_first().ok_or_else(damaged)?;
        let (tag, key) = rest.split_first_chunk::<TAG>().ok_or_else(damaged)?;
        let (positions, _) = positions.as_chunks::<POSITION>();
        let position = |bytes: &[u8; POSITION]| Position(u64::from_be_bytes(*bytes));
        Ok(Self {
            positions: positions.iter().map(position).collect(),
            list: *list,
            tag: *tag,
            key: key.to_vec(),
        })
    }

    /// The positions that it names, for the first shards in their order.
    pub(crate) fn positions(&self) -> &[Position] {
        &self.positions
    }

    /// The position that it reads a shard as of.
    pub(crate) fn position(&self, shard: &Shard) -> Result<Position, ApiError> {
        let position = self.positions.get(shard.index).copied();
        position.ok_or_else(|| {
            let message = format!(
                "the cursor was made before shard `{}` was added, and names no position of it; start again without it",
                shard.name
            );
            ApiError::new(ErrorCode::InvalidCursor, message).with(json!({"shard": shard.name}))
        })
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

    fn key() -> CursorKeys {
        CursorKeys::of([LogId([7; 16])])
    }

    fn cursor() -> Cursor {
        Cursor::behind(
            vec![Position(77)],
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
        assert_eq!(Cursor::at(vec![Position(5)]).encode(&key()), moment);
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
        let other = CursorKeys::of([LogId([8; 16])]);
        let refused = Cursor::decode(&cursor().encode(&other), &key()).unwrap_err();
        assert_eq!(refused.code, ErrorCode::InvalidCursor);
        assert!(refused.message.contains("another log"), "{refused}");
    }

    #[test]
    fn a_cursor_of_several_shards_holds_where_its_logs_are_the_first_ones_in_this_order() {
        let keys = |ids: &[u8]| CursorKeys::of(ids.iter().map(|id| LogId([*id; 16])));
        let moment = Cursor::at([3, 4].map(Position).to_vec());
        let text = moment.encode(&keys(&[7, 8]));
        for same in [&[7, 8][..], &[7, 8, 9]] {
            assert_eq!(Cursor::decode(&text, &keys(same)).unwrap(), moment);
        }
        for other in [&[7][..], &[8, 7], &[7, 9], &[]] {
            assert!(Cursor::decode(&text, &keys(other)).is_err(), "{other:?}");
        }
        let many: Vec<u8> = (0..=254).collect();
        let moment = Cursor::at(many.iter().map(|id| Position((*id).into())).collect());
        let text = moment.encode(&keys(&many));
        assert_eq!(Cursor::decode(&text, &keys(&many)).unwrap(), moment);
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
