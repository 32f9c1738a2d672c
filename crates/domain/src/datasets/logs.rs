//! `logs`.

use super::{BlockData, CellError, Cells, Seconds};
use crate::primitives::{Address, Bytes, Hash};

crate::dataset! {
    /// What a contract reported.
    "logs" version 1, Public, rows;
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
        /// Its place among the logs of the block, from 0.
        log_index: u32,
        /// The contract.
        address: &'a Address,
        /// The first indexed word, usually the hash of the event's signature.
        topic0: Option<&'a Hash>,
        /// The second indexed word.
        topic1: Option<&'a Hash>,
        /// The third indexed word.
        topic2: Option<&'a Hash>,
        /// The fourth indexed word.
        topic3: Option<&'a Hash>,
        /// The other words.
        data: &'a Bytes,
    }
}

/// As many topics as the EVM knows.
const TOPICS: usize = 4;

fn rows(data: &BlockData<'_>, cells: &mut dyn Cells) -> Result<(), CellError> {
    for (row, logs) in &data.transactions {
        for log in logs {
            if log.topics.len() > TOPICS {
                return Err(CellError::Topics(log.topics.len()));
            }
            Row {
                chain: data.chain,
                block_height: data.block.block.height,
                block_hash: data.block.block.hash,
                timestamp: Seconds(row.timestamp),
                transaction_hash: row.transaction.hash,
                transaction_index: row.transaction.index,
                log_index: log.index,
                address: &log.address,
                topic0: log.topics.first(),
                topic1: log.topics.get(1),
                topic2: log.topics.get(2),
                topic3: log.topics.get(3),
                data: &log.data,
            }
            .put(cells)?;
        }
    }
    Ok(())
}
