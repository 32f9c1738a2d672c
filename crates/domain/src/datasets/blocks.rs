//! `blocks`.

use super::{BlockData, CellError, Cells, Seconds, Wide};
use crate::primitives::{Address, Amount, Bytes, Hash};

crate::dataset! {
    /// A block.
    "blocks" version 1, Public, rows;
    struct Row<'a> {
        /// The chain's name.
        chain: &'a str,
        /// Distance from the chain's first block.
        height: u64,
        /// The block's hash.
        hash: Hash,
        /// Hash of the block below.
        parent_hash: Hash,
        /// When it was made, as it says itself.
        timestamp: Seconds,
        /// Who made it; null where the chain does not tell.
        proposer: Option<&'a Address>,
        /// Root of the state after it.
        state_root: Option<Hash>,
        /// Root of its transactions.
        transactions_root: Option<Hash>,
        /// Root of its receipts.
        receipts_root: Option<Hash>,
        /// Number of its transactions.
        transaction_count: u32,
        /// Gas that its transactions used together.
        gas_used: u64,
        /// The most gas that they might have used.
        gas_limit: Wide,
        /// Price per gas that is burnt, in the smallest unit (EIP-1559).
        base_fee: Option<Amount>,
        /// Proof-of-work difficulty; 0 on chains without.
        difficulty: Amount,
        /// Size in bytes, as the node says.
        size: u64,
        /// Free bytes that its maker put in.
        extra_data: &'a Bytes,
        /// Gas used by blobs (EIP-4844).
        blob_gas_used: Option<u64>,
    }
}

fn rows(data: &BlockData<'_>, cells: &mut dyn Cells) -> Result<(), CellError> {
    let block = &data.block;
    Row {
        chain: data.chain,
        height: block.block.height,
        hash: block.block.hash,
        parent_hash: block.parent,
        timestamp: Seconds(block.timestamp),
        proposer: block.proposer.as_ref(),
        state_root: block.state_root,
        transactions_root: block.transactions_root,
        receipts_root: block.receipts_root,
        transaction_count: block.transaction_count,
        gas_used: block.gas_used,
        gas_limit: Wide(block.gas_limit),
        base_fee: block.base_fee,
        difficulty: block.difficulty,
        size: block.size,
        extra_data: &block.extra_data,
        blob_gas_used: block.blob_gas_used,
    }
    .put(cells)
}
