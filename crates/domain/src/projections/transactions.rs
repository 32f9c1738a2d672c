//! Transactions by hash, by block and by address, newest first, with what executing them did.

use std::cmp::Reverse;

use bincode::{Decode, Encode};

use super::{FoldError, Folded, Projection, View};
use crate::{
    events::{Log, TransactionExecuted, TransactionIncluded},
    primitives::{Address, Amount, BlockRef, Hash},
    table,
    table::{Table, TableDef},
};

table! {
    /// Every transaction of every block, in the block's order.
    pub immutable TransactionsByBlock = "transactions" {
        key TransactionKey { block: BlockRef, index: u32 },
        value: TransactionRow,
        block: |key, _| key.block,
        scan: by_first,
    }
}

table! {
    /// Which blocks hold a transaction: several where competing blocks do.
    pub immutable TransactionBlocks = "transaction_blocks" {
        key TransactionBlockKey { hash: Hash, block: BlockRef },
        value: u32,
        block: |key, _| key.block,
        scan: by_first,
    }
}

table! {
    /// Which transactions an address sent or received, newest first.
    pub immutable AddressTransactions = "address_transactions" {
        key AddressTransactionKey {
            address: Address,
            height: Reverse<u64>,
            index: Reverse<u32>,
            block: Hash,
        },
        value: (),
        block: |key, _| BlockRef { height: key.height.0, hash: key.block },
        scan: by_first,
    }
}

table! {
    /// The logs of each transaction that has any.
    pub immutable TransactionLogs = "transaction_logs" {
        key TransactionLogKey { block: BlockRef, index: u32 },
        value: Vec<Log>,
        block: |key, _| key.block,
        scan: by_first,
    }
}

/// A transaction and what executing it did.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct TransactionRow {
    /// The transaction.
    pub transaction: TransactionIncluded,
    /// Seconds since 1970, as its block says.
    pub timestamp: u64,
    /// What executing it did; none where the source has no receipts.
    pub outcome: Option<Outcome>,
}

/// What executing a transaction did, but for its logs.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Outcome {
    /// Whether it succeeded.
    pub success: bool,
    /// Gas it used.
    pub gas_used: u64,
    /// Price per gas that it paid.
    pub effective_gas_price: Amount,
    /// All that the sender paid besides the amount.
    pub fee: Amount,
    /// The contract it created.
    pub contract_address: Option<Address>,
}

impl From<&TransactionExecuted> for Outcome {
    fn from(receipt: &TransactionExecuted) -> Self {
        Self {
            success: receipt.success,
            gas_used: receipt.gas_used,
            effective_gas_price: receipt.effective_gas_price,
            fee: receipt.fee,
            contract_address: receipt.contract_address.clone(),
        }
    }
}

/// Who a transaction is for: the address it names, or the contract it created.
pub fn recipient<'a>(
    transaction: &'a TransactionIncluded,
    receipt: Option<&'a TransactionExecuted>,
) -> Option<&'a Address> {
    transaction
        .to
        .as_ref()
        .or_else(|| receipt?.contract_address.as_ref())
}

/// See the module.
#[derive(Debug)]
pub struct Transactions;

impl Projection for Transactions {
    fn name(&self) -> &'static str {
        "transactions"
    }

    fn version(&self) -> u32 {
        1
    }

    fn doc(&self) -> &'static str {
        "Transactions by hash, by block and by address, newest first, with what executing them did."
    }

    fn tables(&self) -> &'static [&'static TableDef] {
        &[
            TransactionsByBlock::DEF,
            TransactionBlocks::DEF,
            AddressTransactions::DEF,
            TransactionLogs::DEF,
        ]
    }

    fn apply(&self, folded: &Folded<'_>, view: &mut View<'_>) -> Result<(), FoldError> {
        let Some(contents) = &folded.block else {
            return Ok(());
        };
        let block = contents.block.block;
        for (transaction, receipt) in &contents.transactions {
            let index = transaction.index;
            let row = TransactionRow {
                transaction: (*transaction).clone(),
                timestamp: contents.block.timestamp,
                outcome: receipt.map(Outcome::from),
            };
            view.insert::<TransactionsByBlock>(&TransactionKey { block, index }, &row);
            let by_hash = TransactionBlockKey {
                hash: transaction.hash,
                block,
            };
            view.insert::<TransactionBlocks>(&by_hash, &index);
            if let Some(receipt) = receipt.filter(|receipt| !receipt.logs.is_empty()) {
                let key = TransactionLogKey { block, index };
                view.insert::<TransactionLogs>(&key, &receipt.logs);
            }
            list(&transaction.from, block, index, view);
            if let Some(to) = recipient(transaction, *receipt).filter(|to| **to != transaction.from)
            {
                list(to, block, index, view);
            }
        }
        Ok(())
    }
}

fn list(address: &Address, block: BlockRef, index: u32, view: &mut View<'_>) {
    let key = AddressTransactionKey {
        address: address.clone(),
        height: Reverse(block.height),
        index: Reverse(index),
        block: block.hash,
    };
    view.insert::<AddressTransactions>(&key, &());
}
