//! Blocks as the store has them, put together again.

use std::ops::ControlFlow;

use cairn_domain::{
    BlockRef, Stream,
    datasets::BlockData,
    events::{BlockAppended, Log},
    projections::{
        blocks::{BlockKey, BlocksByRef},
        transactions::{TransactionLogs, TransactionRow, TransactionsByBlock},
    },
};
use cairn_engine::store::{ReadView, StoreError};

/// The canonical block at a height as of the view's position; none where there is none.
///
/// # Errors
/// [`StoreError`].
pub fn canonical_block<'a>(
    view: &ReadView,
    stream: &'a Stream,
    height: u64,
) -> Result<Option<BlockData<'a>>, StoreError> {
    let Some(canonical) = view.canonical(stream, height)? else {
        return Ok(None);
    };
    let hash = canonical.hash;
    block(view, stream, BlockRef { height, hash })
}

/// The same without transactions, for rows that say nothing of them.
pub(crate) fn canonical_header<'a>(
    view: &ReadView,
    stream: &'a Stream,
    height: u64,
) -> Result<Option<BlockData<'a>>, StoreError> {
    let Some(canonical) = view.canonical(stream, height)? else {
        return Ok(None);
    };
    let hash = canonical.hash;
    let block = BlockRef { height, hash };
    let appended = view.find_any::<BlocksByRef>(stream, &BlockKey { block })?;
    Ok(appended.map(|appended| with_transactions(stream, appended, Vec::new())))
}

fn with_transactions(
    stream: &Stream,
    block: BlockAppended,
    transactions: Vec<(TransactionRow, Vec<Log>)>,
) -> BlockData<'_> {
    BlockData {
        chain: stream.chain_name().unwrap_or(stream.as_str()),
        block,
        transactions,
    }
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
    let Some(appended) = view.find_any::<BlocksByRef>(stream, &BlockKey { block })? else {
        return Ok(None);
    };
    let mut transactions = Vec::with_capacity(appended.transaction_count as usize);
    if appended.transaction_count > 0 {
        view.scan::<TransactionsByBlock>(stream, &block, None, |row| {
            transactions.push((row.value, Vec::new()));
            Ok(ControlFlow::Continue(()))
        })?;
        view.scan::<TransactionLogs>(stream, &block, None, |row| {
            if let Some((_, logs)) = transactions.get_mut(row.key.index as usize) {
                *logs = row.value;
            }
            Ok(ControlFlow::Continue(()))
        })?;
    }
    Ok(Some(with_transactions(stream, appended, transactions)))
}
