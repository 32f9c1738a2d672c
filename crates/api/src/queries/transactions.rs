//! Transactions by hash and by block.

use std::ops::ControlFlow;

use cairn_domain::{
    BlockRef, Hash,
    projections::transactions::{
        TransactionBlocks, TransactionKey, TransactionRow, TransactionsByBlock,
    },
};

use crate::{error::ApiError, models::Transaction, scope::Scope};

/// Where a transaction is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) block: BlockRef,
    pub(super) index: u32,
    pub(super) canonical: bool,
}

/// A transaction by hash.
pub(crate) fn detail(scope: &Scope, name: &str, orphaned: bool) -> Result<Transaction, ApiError> {
    let Place {
        block,
        index,
        canonical,
    } = place(scope, name, orphaned)?;
    let row = read(scope, TransactionKey { block, index })?;
    Ok(Transaction::new(scope, block, row, canonical))
}

/// Where the transaction with a hash is: in a canonical block, or with `orphaned` in any.
pub(super) fn place(scope: &Scope, name: &str, orphaned: bool) -> Result<Place, ApiError> {
    let hash = name.parse::<Hash>()?;
    let mut blocks = Vec::new();
    scope
        .view
        .scan::<TransactionBlocks>(&scope.stream, &hash, None, |row| {
            blocks.push((row.key.block, row.value));
            Ok(ControlFlow::Continue(()))
        })?;
    let mut dropped = None;
    for (block, index) in blocks {
        if scope.view.is_canonical(&scope.stream, block)? {
            return Ok(Place {
                block,
                index,
                canonical: true,
            });
        }
        dropped = Some(Place {
            block,
            index,
            canonical: false,
        });
    }
    let found = dropped.filter(|_| orphaned);
    found.ok_or_else(|| ApiError::missing("transaction", hash))
}

/// A row that an index says is there.
pub(super) fn read(scope: &Scope, key: TransactionKey) -> Result<TransactionRow, ApiError> {
    let row = scope
        .view
        .find_any::<TransactionsByBlock>(&scope.stream, &key)?;
    row.ok_or_else(|| ApiError::missing("transaction in", key.block))
}

/// Canonical transactions that an index says are there, in the order of the keys.
pub(super) fn read_all(
    scope: &Scope,
    keys: &[TransactionKey],
) -> Result<Vec<Transaction>, ApiError> {
    let rows = scope
        .view
        .find_all::<TransactionsByBlock>(&scope.stream, keys)?;
    let transaction = |(row, key): (Option<TransactionRow>, &TransactionKey)| {
        let row = row.ok_or_else(|| ApiError::missing("transaction in", key.block))?;
        Ok(Transaction::new(scope, key.block, row, true))
    };
    rows.into_iter().zip(keys).map(transaction).collect()
}

/// All transactions of a block, in its order.
pub(super) fn of_block(
    scope: &Scope,
    block: BlockRef,
    canonical: bool,
) -> Result<Vec<Transaction>, ApiError> {
    let mut transactions = Vec::new();
    scope
        .view
        .scan::<TransactionsByBlock>(&scope.stream, &block, None, |row| {
            transactions.push(Transaction::new(scope, block, row.value, canonical));
            Ok(ControlFlow::Continue(()))
        })?;
    Ok(transactions)
}

/// The transactions of a canonical block from index `low` to `high`, in its order.
pub(super) fn slice(
    scope: &Scope,
    block: BlockRef,
    low: u32,
    high: u32,
) -> Result<Vec<Transaction>, ApiError> {
    let mut transactions = Vec::with_capacity((high - low + 1) as usize);
    let from = TransactionKey { block, index: low };
    scope
        .view
        .scan::<TransactionsByBlock>(&scope.stream, &block, Some(&from), |row| {
            if row.key.index > high {
                return Ok(ControlFlow::Break(()));
            }
            transactions.push(Transaction::new(scope, block, row.value, true));
            Ok(ControlFlow::Continue(()))
        })?;
    Ok(transactions)
}
