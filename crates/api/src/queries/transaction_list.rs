//! The latest transactions of a chain.
//!
//! Every transaction of the canonical chain has an ordinal, counted from the first indexed block;
//! [`CanonicalBlock::transactions`] says how many there are up to each block. So any page is found
//! by bisection, however far it is from the head, and empty blocks cost nothing.
//!
//! [`CanonicalBlock::transactions`]: cairn_domain::projections::blocks::CanonicalBlock

use cairn_domain::{BlockRef, projections::blocks::CanonicalBlock};

use super::transactions;
use crate::{
    cursor::List, error::ApiError, finals::Rendered, models::TransactionPage, paging::Paging,
    scope::Scope,
};

/// A page of the latest transactions.
pub(crate) fn page(scope: &Scope, paging: &Paging) -> Result<TransactionPage, ApiError> {
    let behind = paging
        .key(List::Transactions, scope.chain(), b"")?
        .map(u64::from_be_bytes);
    let total = match scope.head() {
        Some(head) => up_to(scope, head.height)?.map_or(0, |block| block.transactions),
        None => 0,
    };
    let remaining = behind
        .unwrap_or(total.saturating_sub(paging.offset))
        .min(total);
    let transactions = before(scope, remaining, paging.limit)?;
    let left = remaining - transactions.len() as u64;
    let cursor = || scope.cursor_behind(List::Transactions, b"", left.to_be_bytes().into());
    let next_cursor = (left > 0 && !transactions.is_empty()).then(cursor);
    Ok(TransactionPage {
        transactions,
        total,
        next_cursor,
    })
}

/// At most `limit` transactions whose ordinals are below `remaining`, newest first.
fn before(scope: &Scope, mut remaining: u64, limit: usize) -> Result<Vec<Rendered>, ApiError> {
    let mut found: Vec<Rendered> = Vec::with_capacity(limit);
    let mut high = scope.head().map_or(0, |head| head.height);
    while remaining > 0 && found.len() < limit {
        let (height, hash, below) = holder(scope, remaining - 1, high)?;
        let last = (remaining - below - 1) as u32;
        let first = last.saturating_sub((limit - found.len() - 1) as u32);
        let slice = transactions::slice(scope, BlockRef { height, hash }, first..last + 1, true)?;
        if slice.is_empty() {
            return Err(ApiError::missing("transactions in block", hash));
        }
        found.extend(slice.into_iter().rev());
        remaining = below + u64::from(first);
        high = height.saturating_sub(1);
    }
    Ok(found)
}

fn up_to(scope: &Scope, height: u64) -> Result<Option<CanonicalBlock>, ApiError> {
    scope.canonical(height)
}

/// Number of transactions below a height.
fn below(scope: &Scope, height: u64) -> Result<u64, ApiError> {
    let below = height
        .checked_sub(1)
        .map(|height| up_to(scope, height))
        .transpose()?;
    Ok(below.flatten().map_or(0, |block| block.transactions))
}

/// The block at or below `high` that holds the transaction with an ordinal: its height, its hash
/// and the number of transactions below it. It is mostly `high` itself.
fn holder(
    scope: &Scope,
    ordinal: u64,
    high: u64,
) -> Result<(u64, cairn_domain::Hash, u64), ApiError> {
    let missing = || ApiError::missing("transaction with number", ordinal);
    let mut low = scope.ends.as_ref().map_or(0, |ends| ends.first.height);
    let mut high = high;
    if below(scope, high)? <= ordinal {
        low = high;
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if up_to(scope, middle)?.is_some_and(|block| block.transactions > ordinal) {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    let block = up_to(scope, low)?.ok_or_else(missing)?;
    let below = below(scope, low)?;
    if block.transactions <= ordinal || below > ordinal {
        return Err(missing());
    }
    Ok((low, block.hash, below))
}
