//! Blocks as the store has them, put together again.

use std::ops::ControlFlow;

use cairn_domain::{
    BlockRef, Stream,
    datasets::BlockData,
    projections::{
        blocks::{BlockKey, BlocksByRef},
        transactions::{TransactionLogs, TransactionsByBlock},
    },
};
use cairn_engine::store::{ReadView, StoreError};

/// How much of a block rows are made from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// The block alone.
    Header,
    /// Its transactions, too, without their logs.
    Transactions,
    /// All of it.
    Logs,
}

/// The canonical block at a height as of the view's position; none where there is none.
///
/// # Errors
/// [`StoreError`].
pub fn canonical_block<'a>(
    view: &ReadView,
    stream: &'a Stream,
    height: u64,
) -> Result<Option<BlockData<'a>>, StoreError> {
    canonical_with(view, stream, height, Needs::Logs)
}

/// The same, with no more than what is needed.
pub(crate) fn canonical_with<'a>(
    view: &ReadView,
    stream: &'a Stream,
    height: u64,
    needs: Needs,
) -> Result<Option<BlockData<'a>>, StoreError> {
    let Some(canonical) = view.canonical(stream, height)? else {
        return Ok(None);
    };
    let hash = canonical.hash;
    read(view, stream, BlockRef { height, hash }, needs)
}

/// A block by its hash, canonical or not.
///
/// # Errors
/// [`StoreError`].
pub fn block<'a>(
    view: &ReadView,
    stream: &'a Stream,
    block: BlockRef,
) -> Result<Option<BlockData<'a>>, StoreError> {
    read(view, stream, block, Needs::Logs)
}

fn read<'a>(
    view: &ReadView,
    stream: &'a Stream,
    block: BlockRef,
    needs: Needs,
) -> Result<Option<BlockData<'a>>, StoreError> {
    let Some(appended) = view.find_any::<BlocksByRef>(stream, &BlockKey { block })? else {
        return Ok(None);
    };
    let mut transactions = Vec::new();
    if appended.transaction_count > 0 && needs != Needs::Header {
        transactions.reserve(appended.transaction_count as usize);
        view.scan::<TransactionsByBlock>(stream, &block, None, |row| {
            transactions.push((row.value, Vec::new()));
            Ok(ControlFlow::Continue(()))
        })?;
    }
    if !transactions.is_empty() && needs == Needs::Logs {
        view.scan::<TransactionLogs>(stream, &block, None, |row| {
            if let Some((_, logs)) = transactions.get_mut(row.key.index as usize) {
                *logs = row.value;
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(Some(BlockData {
        chain: stream.chain_name().unwrap_or(stream.as_str()),
        block: appended,
        transactions,
    }))
}
