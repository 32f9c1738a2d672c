//! `token_transfers`.

use super::{BlockData, CellError, Cells, Seconds};
use crate::{
    primitives::{Address, Amount, Hash},
    token::transfers,
};

crate::dataset! {
    /// A movement of a token: ERC-20, ERC-721 or ERC-1155, as its contract reported it.
    "token_transfers" version 1, Public, rows;
    struct Row<'a> {
        /// The chain's name.
        chain: &'a str,
        /// Height of its block.
        block_height: u64,
        /// Hash of its block.
        block_hash: Hash,
        /// When its block was made.
        timestamp: Seconds,
        /// Hash of its transaction.
        transaction_hash: Hash,
        /// Place of its transaction in the block, from 0.
        transaction_index: u32,
        /// Place of its log among those of the block, from 0.
        log_index: u32,
        /// Its place among the movements of its log, from 0: a log of ERC-1155 reports several.
        part: u32,
        /// The token's contract.
        token_address: &'a Address,
        /// The standard of its log: `ERC-20`, `ERC-721` or `ERC-1155`.
        standard: String,
        /// Who gave; the zero address for a mint.
        from_address: &'a Address,
        /// Who got; the zero address for a burn.
        to_address: &'a Address,
        /// The token's number; 0 for ERC-20.
        token_id: Amount,
        /// How much; 1 for ERC-721.
        amount: Amount,
    }
}

fn rows(data: &BlockData<'_>, cells: &mut dyn Cells) -> Result<(), CellError> {
    for (row, logs) in &data.transactions {
        for log in logs {
            for (part, transfer) in (0..).zip(&transfers(log)) {
                Row {
                    chain: data.chain,
                    block_height: data.block.block.height,
                    block_hash: data.block.block.hash,
                    timestamp: Seconds(row.timestamp),
                    transaction_hash: row.transaction.hash,
                    transaction_index: row.transaction.index,
                    log_index: log.index,
                    part,
                    token_address: &log.address,
                    standard: transfer.standard.to_string(),
                    from_address: &transfer.from,
                    to_address: &transfer.to,
                    token_id: transfer.token_id,
                    amount: transfer.amount,
                }
                .put(cells)?;
            }
        }
    }
    Ok(())
}
