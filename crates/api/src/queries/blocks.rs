//! Blocks.

use std::ops::ControlFlow;

use cairn_domain::{
    BlockRef, Hash,
    events::BlockAppended,
    projections::blocks::{
        BlockHeightKey, BlockHeights, BlockKey, BlocksByRef, CanonicalBlocks, CanonicalKey,
    },
};

use super::transactions;
use crate::{
    cursor::List,
    error::ApiError,
    models::{BlockDetail, BlockPage, BlockSummary},
    paging::Paging,
    scope::Scope,
};

/// More transactions than this, far more than a page has, take some milliseconds to render.
const MANY: u32 = 500;

/// A page of the canonical blocks, newest first.
pub(crate) fn page(scope: &Scope, paging: &Paging) -> Result<BlockPage, ApiError> {
    let behind = paging
        .key(List::Blocks, scope.chain(), b"")?
        .map(u64::from_be_bytes);
    let Some(ends) = &scope.ends else {
        return Ok(BlockPage {
            blocks: Vec::new(),
            total: 0,
            next_cursor: None,
        });
    };
    let (first, head) = (ends.first.height, ends.head.height);
    let top = match behind {
        Some(height) => height.min(head + 1).checked_sub(1),
        None => head.checked_sub(paging.offset),
    };
    let blocks = match top.filter(|top| *top >= first && paging.limit > 0) {
        Some(top) => range(
            scope,
            top.saturating_sub(paging.limit as u64 - 1).max(first),
            top,
        )?,
        None => Vec::new(),
    };
    let last = blocks
        .last()
        .map(|block| block.height)
        .filter(|height| *height > first);
    let cursor = |height: u64| scope.cursor_behind(List::Blocks, b"", height.to_be_bytes().into());
    Ok(BlockPage {
        blocks,
        total: head - first + 1,
        next_cursor: last.map(cursor),
    })
}

/// The canonical blocks from `low` to `high`, highest first.
fn range(scope: &Scope, low: u64, high: u64) -> Result<Vec<BlockSummary>, ApiError> {
    let mut blocks = Vec::with_capacity((high - low + 1) as usize);
    let from = CanonicalKey { height: low };
    scope
        .view
        .scan::<CanonicalBlocks>(&scope.stream, &(), Some(&from), |row| {
            if row.key.height > high {
                return Ok(ControlFlow::Break(()));
            }
            blocks.push(BlockRef {
                height: row.key.height,
                hash: row.value.hash,
            });
            Ok(ControlFlow::Continue(()))
        })?;
    let summary = |block: BlockRef| {
        let standing = scope.standing(block.height, true);
        Ok(BlockSummary::new(&read(scope, block)?, standing))
    };
    blocks.into_iter().rev().map(summary).collect()
}

fn read(scope: &Scope, block: BlockRef) -> Result<BlockAppended, ApiError> {
    let row = scope
        .view
        .find_any::<BlocksByRef>(&scope.stream, &BlockKey { block })?;
    row.ok_or_else(|| ApiError::missing("block", block.hash))
}

/// A block that was asked for.
pub(crate) struct Found {
    appended: BlockAppended,
    canonical: bool,
}

impl Found {
    /// Whether its transactions are too many to be rendered between other requests.
    pub(crate) fn is_long(&self) -> bool {
        self.appended.transaction_count > MANY
    }
}

/// A block by hash (with or without `0x`, in any case) or decimal height.
pub(crate) fn find(scope: &Scope, name: &str, orphaned: bool) -> Result<Found, ApiError> {
    let (block, canonical) = match name.parse::<Hash>() {
        Ok(hash) => by_hash(scope, hash, orphaned)?,
        Err(_) => (by_height(scope, name)?, true),
    };
    Ok(Found {
        appended: read(scope, block)?,
        canonical,
    })
}

/// A block with its transactions.
pub(crate) fn detail(scope: &Scope, found: Found) -> Result<BlockDetail, ApiError> {
    let Found {
        appended,
        canonical,
    } = found;
    Ok(BlockDetail {
        summary: BlockSummary::new(&appended, scope.standing(appended.block.height, canonical)),
        parent_hash: appended.parent,
        state_root: appended.state_root,
        gas_limit: appended.gas_limit.into(),
        base_fee: appended.base_fee,
        transactions: transactions::of_block(scope, &appended, canonical)?,
    })
}

fn by_hash(scope: &Scope, hash: Hash, orphaned: bool) -> Result<(BlockRef, bool), ApiError> {
    let missing = || ApiError::missing("block", hash);
    let height = scope
        .view
        .find_any::<BlockHeights>(&scope.stream, &BlockHeightKey { hash })?;
    let block = BlockRef {
        height: height.ok_or_else(missing)?,
        hash,
    };
    let canonical = scope.is_canonical(block)?;
    if canonical || orphaned {
        Ok((block, canonical))
    } else {
        Err(missing())
    }
}

fn by_height(scope: &Scope, text: &str) -> Result<BlockRef, ApiError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        let reason = "expected a block hash (64 hex digits) or a height (decimal digits)";
        return Err(ApiError::parameter("block", reason));
    }
    let missing = || ApiError::missing("block at height", text);
    let height = text.parse().map_err(|_| missing())?;
    let hash = scope.canonical(height)?.ok_or_else(missing)?.hash;
    Ok(BlockRef { height, hash })
}
