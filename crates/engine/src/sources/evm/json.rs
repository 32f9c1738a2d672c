//! The decoder of what Ethereum nodes serve, shared by files and JSON-RPC: the JSON of a block with
//! full transactions, and of its receipts, becomes events.
//!
//! Source: the `Block`, `Transaction` and `Receipt` schemas of ethereum/execution-apis, and what
//! nodes that deviate from them are seen to serve.

use cairn_domain::{
    BlockRef, Event, Hash,
    events::{BlockAppended, TransactionExecuted, TransactionIncluded},
};

use super::{
    decode_block::{self, Naming},
    decode_receipts,
    wire::{HASHES_ONLY, WireBlock, WireHeader, WireReceipt, WireReceiptsLine},
};

/// Why a text is not a block with its receipts. Names the block and the field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It is not JSON, is cut off, or lacks a field.
    #[error("{subject} does not decode: {reason}")]
    Json {
        /// Which block, as far as it can be told.
        subject: String,
        /// What is wrong, with line and column inside the text.
        reason: String,
    },
    /// A field holds something else than it should.
    #[error("{subject}: field `{field}`: {reason}")]
    Field {
        /// Which block.
        subject: String,
        /// Which field, as a path.
        field: String,
        /// What is wrong.
        reason: String,
    },
    /// Parts of the block contradict each other.
    #[error("{subject} contradicts itself: {reason}")]
    Contradiction {
        /// Which block.
        subject: String,
        /// What does not fit.
        reason: String,
    },
    /// The block names its transactions, but does not hold them.
    #[error(
        "{subject}: full transactions are needed, but they are given as hashes only: ask the node with eth_getBlockByNumber(number, true)"
    )]
    HashesOnly {
        /// Which block.
        subject: String,
    },
}

/// A block as events, its receipts where the source had them.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodedBlock {
    /// The block.
    pub block: BlockAppended,
    /// Its transactions, in order.
    pub transactions: Vec<TransactionIncluded>,
    /// Their receipts, in the same order; none where the source has none.
    pub receipts: Option<Vec<TransactionExecuted>>,
}

impl DecodedBlock {
    /// Which block it is.
    pub fn reference(&self) -> BlockRef {
        self.block.block
    }

    /// The block's events in the order of a commit: the block, then each transaction followed by
    /// its receipt.
    pub fn into_events(self) -> Vec<Event> {
        let mut events = Vec::with_capacity(2 + 2 * self.transactions.len());
        events.push(self.block.into());
        let mut receipts = self.receipts.unwrap_or_default().into_iter();
        for transaction in self.transactions {
            events.push(transaction.into());
            events.extend(receipts.next().map(Event::from));
        }
        events
    }
}

/// A block's place in its chain, without its contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Which block it is.
    pub block: BlockRef,
    /// The block below it.
    pub parent: Hash,
}

/// Decodes a block, and its receipts if they are given: either as the array that
/// `eth_getBlockReceipts` answers, or as an object `{number, hash, receipts}`. Receipts inside the
/// block's own JSON, under `receipts`, count when none are given.
///
/// # Errors
/// [`DecodeError`] names the block and the field.
pub fn decode(block: &str, receipts: Option<&str>) -> Result<DecodedBlock, DecodeError> {
    let wire: WireBlock<'_> =
        serde_json::from_str(block).map_err(|error| not_a_block(block, &error))?;
    let naming = Naming {
        number: wire.number,
        hash: wire.hash,
    };
    let mut decoded = decode_block::decode(&wire)?;
    let separate = receipts
        .map(|text| parse_receipts(text, naming, decoded.reference()))
        .transpose()?;
    if let Some(receipts) = separate.as_ref().or(wire.receipts.as_ref()) {
        decoded.receipts = Some(decode_receipts::decode(receipts, naming, &decoded)?);
    }
    Ok(decoded)
}

/// Reads only where a block stands.
///
/// # Errors
/// [`DecodeError`].
pub fn decode_header(block: &str) -> Result<Header, DecodeError> {
    let wire: WireHeader<'_> =
        serde_json::from_str(block).map_err(|error| not_a_block(block, &error))?;
    let naming = Naming {
        number: wire.number,
        hash: wire.hash,
    };
    let parent = naming.required("parentHash", wire.parent_hash)?;
    let parent = super::hex::hash(parent).map_err(|reason| naming.field("parentHash", reason))?;
    Ok(Header {
        block: naming.reference()?,
        parent,
    })
}

fn parse_receipts<'a>(
    text: &'a str,
    naming: Naming<'a>,
    block: BlockRef,
) -> Result<Vec<WireReceipt<'a>>, DecodeError> {
    let fail = |error: serde_json::Error| DecodeError::Json {
        subject: format!("receipts of {naming}"),
        reason: error.to_string(),
    };
    if text.trim_start().starts_with('[') {
        return serde_json::from_str(text).map_err(fail);
    }
    let line: WireReceiptsLine<'a> = serde_json::from_str(text).map_err(fail)?;
    let own = Naming {
        number: line.number,
        hash: line.hash,
    };
    let fits = line
        .hash
        .is_none_or(|hash| super::hex::hash(hash) == Ok(block.hash))
        && line
            .number
            .is_none_or(|number| super::hex::number(number) == Ok(block.height));
    match fits {
        true => Ok(line.receipts),
        false => Err(naming.contradiction(format!("the receipts beside it are of {own}"))),
    }
}

fn not_a_block(text: &str, error: &serde_json::Error) -> DecodeError {
    let header: WireHeader<'_> = serde_json::from_str(text).unwrap_or_default();
    let number = header.number.or_else(|| number_in(text));
    let subject = Naming {
        number,
        hash: header.hash,
    }
    .to_string();
    let reason = error.to_string();
    if reason.contains(HASHES_ONLY) {
        return DecodeError::HashesOnly { subject };
    }
    DecodeError::Json { subject, reason }
}

/// The block's number in a text that is no JSON, if it can be seen.
fn number_in(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once("\"number\"")?;
    let rest = rest
        .trim_start()
        .strip_prefix(':')?
        .trim_start()
        .strip_prefix('"')?;
    rest.split_once('"').map(|(number, _)| number)
}
