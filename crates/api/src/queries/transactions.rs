//! Transactions by hash and by block.

use std::ops::{ControlFlow, Range};

use cairn_domain::{
    BlockRef, Hash,
    events::BlockAppended,
    projections::transactions::{
        TransactionBlocks, TransactionKey, TransactionRow, TransactionsByBlock,
    },
};

use crate::{error::ApiError, finals::Rendered, scope::Scope};

/// Where a transaction is.
pub(super) struct Place {
    pub(super) key: TransactionKey,
    pub(super) canonical: bool,
}

/// A transaction by hash.
pub(crate) fn detail(scope: &Scope, name: &str, orphaned: bool) -> Result<Rendered, ApiError> {
    let Place { key, canonical } = place(scope, name, orphaned)?;
    match scope.ready(&key) {
        Some(ready) if canonical => Ok(ready),
        _ => scope.render(&key, read(scope, &key)?, canonical),
    }
}

/// Where the transaction with a hash is: in a canonical block, or with `orphaned` in any.
pub(super) fn place(scope: &Scope, name: &str, orphaned: bool) -> Result<Place, ApiError> {
    let hash = name.parse::<Hash>()?;
    if let Some(key) = scope.known_place(&hash) {
        return Ok(Place {
            key,
            canonical: true,
        });
    }
    let mut keys = Vec::new();
    scope
        .view
        .scan::<TransactionBlocks>(&scope.stream, &hash, None, |row| {
            let (block, index) = (row.key.block, row.value);
            keys.push(TransactionKey { block, index });
            Ok(ControlFlow::Continue(()))
        })?;
    let mut dropped = None;
    for key in keys {
        if scope.is_canonical(key.block)? {
            scope.keep_place(hash, &key);
            return Ok(Place {
                key,
                canonical: true,
            });
        }
        dropped = Some(Place {
            key,
            canonical: false,
        });
    }
    let found = dropped.filter(|_| orphaned);
    found.ok_or_else(|| ApiError::missing("transaction", hash))
}

/// A row that an index says is there.
fn read(scope: &Scope, key: &TransactionKey) -> Result<TransactionRow, ApiError> {
    let row = scope
        .view
        .find_any::<TransactionsByBlock>(&scope.stream, key)?;
    row.ok_or_else(|| ApiError::missing("transaction in", key.block))
}

/// Canonical transactions that an index says are there, in the order of the keys.
pub(super) fn read_all(scope: &Scope, keys: &[TransactionKey]) -> Result<Vec<Rendered>, ApiError> {
    let mut found: Vec<_> = keys.iter().map(|key| scope.ready(key)).collect();
    let missing: Vec<_> = (0..keys.len()).filter(|at| found[*at].is_none()).collect();
    let missing_keys: Vec<_> = missing.iter().map(|at| keys[*at].clone()).collect();
    let rows = scope
        .view
        .find_all::<TransactionsByBlock>(&scope.stream, &missing_keys)?;
    for ((at, key), row) in missing.into_iter().zip(missing_keys).zip(rows) {
        let row = row.ok_or_else(|| ApiError::missing("transaction in", key.block))?;
        found[at] = Some(scope.render(&key, row, true)?);
    }
    Ok(found.into_iter().flatten().collect())
}

/// All transactions of a block, in its order.
pub(super) fn of_block(
    scope: &Scope,
    block: &BlockAppended,
    canonical: bool,
) -> Result<Vec<Rendered>, ApiError> {
    slice(scope, block.block, 0..block.transaction_count, canonical)
}

/// The transactions of a block with these indexes, in its order.
pub(super) fn slice(
    scope: &Scope,
    block: BlockRef,
    indexes: Range<u32>,
    canonical: bool,
) -> Result<Vec<Rendered>, ApiError> {
    let key = |index| TransactionKey { block, index };
    let ready = |index| canonical.then(|| scope.ready(&key(index))).flatten();
    let mut found: Vec<_> = indexes.clone().map(ready).collect();
    let place = |index: u32| (index - indexes.start) as usize;
    let missing = |index: &u32| found[place(*index)].is_none();
    let ends = (
        indexes.clone().find(missing),
        indexes.clone().rfind(missing),
    );
    let (Some(first), Some(last)) = ends else {
        return Ok(found.into_iter().flatten().collect());
    };
    let mut rows = Vec::new();
    scope
        .view
        .scan::<TransactionsByBlock>(&scope.stream, &block, Some(&key(first)), |row| {
            if row.key.index > last {
                return Ok(ControlFlow::Break(()));
            }
            if missing(&row.key.index) {
                rows.push(row);
            }
            Ok(ControlFlow::Continue(()))
        })?;
    for row in rows {
        found[place(row.key.index)] = Some(scope.render(&row.key, row.value, canonical)?);
    }
    Ok(found.into_iter().flatten().collect())
}
