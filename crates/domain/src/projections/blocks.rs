//! Blocks by height and hash, which of them are canonical, and the totals up to each.

use bincode::{Decode, Encode};

use super::{FoldError, Folded, Projection, View};
use crate::{
    events::{BlockAppended, Event},
    primitives::{BlockRef, Hash},
    table,
    table::{Table, TableDef},
};

table! {
    /// Every block that was ever appended, canonical or not.
    pub immutable BlocksByRef = "blocks" {
        key BlockKey { block: BlockRef },
        value: BlockAppended,
        block: |key, _| key.block,
    }
}

table! {
    /// The height of every block that was ever appended.
    pub immutable BlockHeights = "block_heights" {
        key BlockHeightKey { hash: Hash },
        value: u64,
        block: |key, height| BlockRef { height: *height, hash: key.hash },
    }
}

table! {
    /// The canonical block at each height.
    pub versioned CanonicalBlocks = "canonical_blocks" {
        key CanonicalKey { height: u64 },
        value: CanonicalBlock,
    }
}

table! {
    /// Both ends of the canonical chain; absent while the chain is empty.
    pub versioned ChainEnds = "chain_ends" {
        key ChainEndsKey {},
        value: ChainEndsRow,
    }
}

/// A canonical block with the totals of the chain up to it, itself included, counted from the
/// first indexed block. Differences of two give every window.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct CanonicalBlock {
    /// The block's hash.
    pub hash: Hash,
    /// Seconds since 1970, as the block says.
    pub timestamp: u64,
    /// Transactions.
    pub transactions: u64,
    /// Transactions that failed.
    pub failed_transactions: u64,
    /// Gas used.
    pub gas_used: u128,
}

/// Both ends of the canonical chain.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ChainEndsRow {
    /// The lowest block.
    pub first: BlockRef,
    /// The highest block.
    pub head: BlockRef,
    /// The highest block that cannot be reverted any more.
    pub finalized: Option<BlockRef>,
}

/// See the module.
#[derive(Debug)]
pub struct Blocks;

impl Projection for Blocks {
    fn name(&self) -> &'static str {
        "blocks"
    }

    fn version(&self) -> u32 {
        1
    }

    fn doc(&self) -> &'static str {
        "Blocks by height and hash, which of them are canonical, and the totals up to each."
    }

    fn tables(&self) -> &'static [&'static TableDef] {
        &[
            BlocksByRef::DEF,
            BlockHeights::DEF,
            CanonicalBlocks::DEF,
            ChainEnds::DEF,
        ]
    }

    fn apply(&self, folded: &Folded<'_>, view: &mut View<'_>) -> Result<(), FoldError> {
        let mut ends = view.get::<ChainEnds>(&ChainEndsKey {})?;
        let before = ends.clone();
        if let Some(contents) = &folded.block {
            let below = match &ends {
                Some(ends) => canonical_parent(contents.block, ends, view)?,
                None => None,
            };
            append(contents, below, view);
            let block = contents.block.block;
            match &mut ends {
                Some(ends) => ends.head = block,
                None => {
                    ends = Some(ChainEndsRow {
                        first: block,
                        head: block,
                        finalized: None,
                    })
                }
            }
        }
        for event in &folded.commit.events {
            if let (Event::BlockFinalized(event), Some(ends)) = (event, &mut ends) {
                ends.finalized = ends.finalized.max(Some(event.block));
            }
        }
        if let Some(ends) = ends.filter(|ends| Some(ends) != before.as_ref()) {
            view.put::<ChainEnds>(&ChainEndsKey {}, &ends);
        }
        Ok(())
    }
}

fn canonical_parent(
    block: &BlockAppended,
    ends: &ChainEndsRow,
    view: &mut View<'_>,
) -> Result<Option<CanonicalBlock>, FoldError> {
    let head = ends.head;
    let next = head.height.checked_add(1);
    if Some(block.block.height) != next || block.parent != head.hash {
        return Err(FoldError::Contradiction(format!(
            "{} with parent {} does not stand on the head, {head}",
            block.block, block.parent
        )));
    }
    view.get::<CanonicalBlocks>(&CanonicalKey {
        height: head.height,
    })
}

fn append(contents: &super::BlockContents<'_>, below: Option<CanonicalBlock>, view: &mut View<'_>) {
    let block = contents.block;
    let BlockRef { height, hash } = block.block;
    let failed = contents
        .transactions
        .iter()
        .filter(|(_, receipt)| receipt.is_some_and(|r| !r.success));
    let (transactions, failed_transactions, gas_used) = below.map_or((0, 0, 0), |b| {
        (b.transactions, b.failed_transactions, b.gas_used)
    });
    let canonical = CanonicalBlock {
        hash,
        timestamp: block.timestamp,
        transactions: transactions + u64::from(block.transaction_count),
        failed_transactions: failed_transactions + failed.count() as u64,
        gas_used: gas_used + u128::from(block.gas_used),
    };
    view.insert::<BlocksByRef>(&BlockKey { block: block.block }, block);
    view.insert::<BlockHeights>(&BlockHeightKey { hash }, &height);
    view.put::<CanonicalBlocks>(&CanonicalKey { height }, &canonical);
}
