//! Figures of a whole chain. Windows end at the head's timestamp.

use cairn_domain::projections::{
    addresses::{AddressTotals, AddressTotalsKey},
    blocks::{BlockKey, BlocksByRef, CanonicalBlock, ChainEndsRow},
};

use crate::{
    error::ApiError,
    models::{NetworkStats, Volume, Windows},
    scope::Scope,
};

/// Intervals that the average block time is of.
const INTERVALS: u64 = 100;
const DAY: u64 = 24 * 60 * 60;

/// The figures of the scope's chain; zeros while it is empty.
pub(crate) fn network(scope: &Scope) -> Result<NetworkStats, ApiError> {
    let totals = scope
        .view
        .get::<AddressTotals>(&scope.stream, &AddressTotalsKey {})?;
    let totals = totals.as_ref();
    let mut stats = NetworkStats {
        total_blocks: 0,
        total_transactions: 0,
        active_addresses: totals.map_or(0, |totals| totals.active),
        network_hashrate: 0,
        average_block_time: None,
        marketplace_volume: Volume::zero(),
        total_addresses: totals.map_or(0, |totals| totals.seen),
        transactions: Windows::default(),
        head_height: scope.head().map(|head| head.height),
        finalized_height: None,
    };
    let Some(ends) = &scope.ends else {
        return Ok(stats);
    };
    let Some(head) = scope.canonical(ends.head.height)? else {
        return Ok(stats);
    };
    stats.total_blocks = ends.head.height - ends.first.height + 1;
    stats.total_transactions = head.transactions;
    stats.finalized_height = ends.finalized.map(|block| block.height);
    stats.transactions = windows(scope, &head)?;
    stats.average_block_time = block_time(scope, ends, &head)?;
    stats.network_hashrate = hashrate(scope, stats.average_block_time)?;
    // Three digits are what seconds between blocks can mean.
    stats.average_block_time = stats
        .average_block_time
        .map(|time| (time * 1e3).round() / 1e3);
    Ok(stats)
}

fn windows(scope: &Scope, head: &CanonicalBlock) -> Result<Windows, ApiError> {
    let since = |window: u64| -> Result<u64, ApiError> {
        let start = head.timestamp.saturating_sub(window);
        let before = match scope.view.height_at(&scope.stream, start)? {
            Some(height) => scope
                .canonical(height)?
                .map_or(0, |block| block.transactions),
            None => 0,
        };
        Ok(head.transactions.saturating_sub(before))
    };
    Ok(Windows {
        day: since(DAY)?,
        week: since(7 * DAY)?,
        month: since(30 * DAY)?,
    })
}

/// Mean of the last intervals in seconds. Genesis often carries a made-up time, so the interval
/// behind it is left out.
fn block_time(
    scope: &Scope,
    ends: &ChainEndsRow,
    head: &CanonicalBlock,
) -> Result<Option<f64>, ApiError> {
    let height = ends.head.height;
    let low = ends
        .first
        .height
        .max(height.saturating_sub(INTERVALS))
        .max(1);
    if low >= height {
        return Ok(None);
    }
    let Some(block) = scope.canonical(low)? else {
        return Ok(None);
    };
    let seconds = head.timestamp.saturating_sub(block.timestamp);
    Ok(Some(seconds as f64 / (height - low) as f64))
}

/// Difficulty over block time on a proof-of-work chain; 0 on others.
fn hashrate(scope: &Scope, block_time: Option<f64>) -> Result<u64, ApiError> {
    let (Some(block), Some(block_time)) = (scope.head(), block_time) else {
        return Ok(0);
    };
    let head = scope
        .view
        .find_any::<BlocksByRef>(&scope.stream, &BlockKey { block })?;
    let difficulty = head.map_or(0.0, |head| f64::from(head.difficulty.0));
    Ok(if block_time > 0.0 {
        (difficulty / block_time) as u64
    } else {
        0
    })
}
