//! What is known of final blocks and transactions. They never change, so each is worked out once
//! for as long as there is room for it; lists and details are put together from what is ready.

use std::{fmt, sync::Arc};

use cairn_domain::{Hash, Stream, projections::transactions::TransactionKey};
use cairn_engine::store::FinalMark;
use quick_cache::{Weighter, sync::Cache};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::{answer::Model, error::ApiError, models::Transaction};

/// A transaction as JSON.
#[derive(Debug, Clone)]
pub(crate) struct Rendered {
    json: Arc<RawValue>,
    is_final: bool,
}

impl Rendered {
    /// Renders a transaction.
    pub(crate) fn of(transaction: &Transaction) -> Result<Self, ApiError> {
        let json =
            serde_json::value::to_raw_value(transaction).map_err(ApiError::unserialisable)?;
        Ok(Self {
            json: json.into(),
            is_final: transaction.is_final,
        })
    }

    /// Whether both were rendered at once.
    #[cfg(test)]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.json, &other.json)
    }

    /// How many bytes these will be as a JSON list.
    pub(crate) fn bytes(list: &[Self]) -> usize {
        list.iter().map(|one| one.json.get().len() + 1).sum()
    }
}

impl Serialize for Rendered {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.json.serialize(serializer)
    }
}

impl Model for Rendered {
    fn is_final(&self) -> bool {
        self.is_final
    }

    fn size_hint(&self) -> usize {
        self.json.get().len()
    }
}

/// The transaction's block and its place there.
type Place = (Hash, u32);

#[derive(Clone)]
struct Kept {
    stream: Stream,
    rendered: Rendered,
    mark: FinalMark,
}

/// Bytes of an entry besides its JSON.
const OVERHEAD: u64 = 128;

#[derive(Clone)]
struct Bytes;

impl Weighter<Place, Kept> for Bytes {
    fn weight(&self, _: &Place, kept: &Kept) -> u64 {
        OVERHEAD + kept.rendered.json.get().len() as u64
    }
}

/// Bytes of an entry of a block or a place, about.
const SMALL: usize = 128;

/// See the module. What it holds was read by a view with the mark that goes with it
/// ([`ReadView::final_mark`]), and is true for views with the same mark in which it is final.
///
/// [`ReadView::final_mark`]: cairn_engine::store::ReadView::final_mark
pub(crate) struct Finals {
    transactions: Cache<Place, Kept, Bytes>,
    /// The chain in which the block with this hash is canonical.
    blocks: Cache<Hash, (Stream, FinalMark)>,
    /// Where in the chain the transaction with this hash is.
    places: Cache<Hash, (Stream, TransactionKey, FinalMark)>,
}

impl Finals {
    /// Room for so many bytes, an eighth of them for blocks and another for places.
    pub(crate) fn new(bytes: usize) -> Self {
        let (small, transactions) = (bytes / 8 / SMALL, (bytes - bytes / 4) as u64);
        let expected = (transactions / (OVERHEAD + 768)) as usize;
        Self {
            transactions: Cache::with_weighter(expected, transactions, Bytes),
            blocks: Cache::new(small),
            places: Cache::new(small),
        }
    }

    /// A final transaction of a canonical block. Two chains may hold the same blocks and show them
    /// differently: one may have come without receipts.
    pub(crate) fn transaction(
        &self,
        stream: &Stream,
        key: &TransactionKey,
        mark: FinalMark,
    ) -> Option<Rendered> {
        let kept = self.transactions.get(&(key.block.hash, key.index))?;
        (kept.mark == mark && kept.stream == *stream).then_some(kept.rendered)
    }

    /// Keeps a final transaction of a canonical block.
    pub(crate) fn keep_transaction(
        &self,
        stream: &Stream,
        key: &TransactionKey,
        rendered: &Rendered,
        mark: FinalMark,
    ) {
        let kept = Kept {
            stream: stream.clone(),
            rendered: rendered.clone(),
            mark,
        };
        self.transactions.insert((key.block.hash, key.index), kept);
    }

    /// Where a final transaction of a canonical block is.
    pub(crate) fn place(
        &self,
        stream: &Stream,
        hash: &Hash,
        mark: FinalMark,
    ) -> Option<TransactionKey> {
        let (known, place, at) = self.places.get(hash)?;
        (at == mark && known == *stream).then_some(place)
    }

    /// Keeps where a final transaction of a canonical block is.
    pub(crate) fn keep_place(
        &self,
        stream: &Stream,
        hash: Hash,
        place: TransactionKey,
        mark: FinalMark,
    ) {
        self.places.insert(hash, (stream.clone(), place, mark));
    }

    /// Whether a block is known to be canonical in a chain.
    pub(crate) fn is_canonical(&self, stream: &Stream, block: Hash, mark: FinalMark) -> bool {
        let known = self.blocks.get(&block);
        known.is_some_and(|(known, at)| at == mark && known == *stream)
    }

    /// Keeps that a final block is canonical in a chain.
    pub(crate) fn keep_canonical(&self, stream: &Stream, block: Hash, mark: FinalMark) {
        self.blocks.insert(block, (stream.clone(), mark));
    }
}

impl fmt::Debug for Finals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Finals")
            .field("transactions", &self.transactions.len())
            .field("blocks", &self.blocks.len())
            .field("places", &self.places.len())
            .finish()
    }
}
