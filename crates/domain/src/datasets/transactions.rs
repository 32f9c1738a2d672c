//! `transactions`.

use super::{BlockData, CellError, Cells, Seconds, Wide};
use crate::primitives::{Address, Amount, Bytes, Hash};

crate::dataset! {
    /// A transaction and what executing it did.
    "transactions" version 1, Public, rows;
    struct Row<'a> {
        /// The chain's name.
        chain: &'a str,
        /// Height of its block.
        block_height: u64,
        /// Hash of its block.
        block_hash: Hash,
        /// When its block was made.
        timestamp: Seconds,
        /// Its place in the block, from 0.
        transaction_index: u32,
        /// Its hash.
        hash: Hash,
        /// What kind of transaction it is, such as `legacy` or `dynamic_fee`.
        kind as "type": String,
        /// Who sent it.
        from_address: &'a Address,
        /// Who it is for; null where it creates a contract.
        to_address: Option<&'a Address>,
        /// Amount moved, in the smallest unit.
        amount: Amount,
        /// The sender's count of transactions before this one.
        nonce: u64,
        /// The most gas it may use.
        gas_limit: Wide,
        /// Price per gas it offers, in the smallest unit.
        gas_price: Amount,
        /// The most it pays per gas (EIP-1559).
        max_fee_per_gas: Option<Amount>,
        /// The most of it that goes to the proposer (EIP-1559).
        max_priority_fee_per_gas: Option<Amount>,
        /// Call data, or the payload of chains that have another word for it.
        input: &'a Bytes,
        /// Whether it succeeded; null where the source has no receipts, as all that follow.
        success: Option<bool>,
        /// Gas it used.
        gas_used: Option<u64>,
        /// Price per gas that it paid, in the smallest unit.
        effective_gas_price: Option<Amount>,
        /// All that the sender paid besides the amount: gas and blobs.
        fee: Option<Amount>,
        /// The contract it created.
        contract_address: Option<&'a Address>,
    }
}

fn rows(data: &BlockData<'_>, cells: &mut dyn Cells) -> Result<(), CellError> {
    for (row, _) in &data.transactions {
        let (transaction, outcome) = (&row.transaction, row.outcome.as_ref());
        Row {
            chain: data.chain,
            block_height: data.block.block.height,
            block_hash: data.block.block.hash,
            timestamp: Seconds(row.timestamp),
            transaction_index: transaction.index,
            hash: transaction.hash,
            kind: transaction.kind.to_string(),
            from_address: &transaction.from,
            to_address: transaction.to.as_ref(),
            amount: transaction.amount,
            nonce: transaction.nonce,
            gas_limit: Wide(transaction.gas_limit),
            gas_price: transaction.gas_price,
            max_fee_per_gas: transaction.max_fee_per_gas,
            max_priority_fee_per_gas: transaction.max_priority_fee_per_gas,
            input: &transaction.input,
            success: outcome.map(|outcome| outcome.success),
            gas_used: outcome.map(|outcome| outcome.gas_used),
            effective_gas_price: outcome.map(|outcome| outcome.effective_gas_price),
            fee: outcome.map(|outcome| outcome.fee),
            contract_address: outcome.and_then(|outcome| outcome.contract_address.as_ref()),
        }
        .put(cells)?;
    }
    Ok(())
}
