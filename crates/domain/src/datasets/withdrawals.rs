//! `withdrawals`.

use super::{BlockData, CellError, Cells, Seconds};
use crate::primitives::{Address, Amount, Hash};

crate::dataset! {
    /// An amount that a block credits to an address without a transaction (EIP-4895).
    "withdrawals" version 1, Public, rows;
    struct Row<'a> {
        /// The chain's name.
        chain: &'a str,
        /// Height of its block.
        block_height: u64,
        /// Hash of its block.
        block_hash: Hash,
        /// When its block was made.
        timestamp: Seconds,
        /// Its place among those of the block, from 0.
        withdrawal_index: u32,
        /// Who gets it.
        address: &'a Address,
        /// How much, in the chain's smallest unit.
        amount: Amount,
    }
}

fn rows(data: &BlockData<'_>, cells: &mut dyn Cells) -> Result<(), CellError> {
    for (index, withdrawal) in (0..).zip(&data.block.withdrawals) {
        Row {
            chain: data.chain,
            block_height: data.block.block.height,
            block_hash: data.block.block.hash,
            timestamp: Seconds(data.block.timestamp),
            withdrawal_index: index,
            address: &withdrawal.address,
            amount: withdrawal.amount,
        }
        .put(cells)?;
    }
    Ok(())
}
