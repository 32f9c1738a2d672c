//! What happened in each hour, day, week and month: the buckets of historical figures.

use bincode::{Decode, Encode};

use super::{BlockContents, FoldError, Folded, Projection, View};
use crate::{
    period::Period,
    primitives::Balance,
    table,
    table::{Table, TableDef},
    token::transfers,
};

table! {
    /// What the blocks of each hour, day, week and month hold together.
    pub versioned Activity = "activity" {
        key ActivityKey { period: Period, start: u64 },
        value: ActivityRow,
        scan: by_first,
    }
}

/// What the blocks of a bucket hold together.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct ActivityRow {
    /// Blocks.
    pub blocks: u64,
    /// Timestamp of the first of them that is not at height 0, seconds since 1970: the time of a genesis
    /// block is often made up.
    pub first: Option<u64>,
    /// Timestamp of the last of them.
    pub last: u64,
    /// Blocks that are not at height 0.
    pub timed_blocks: u64,
    /// Transactions.
    pub transactions: u64,
    /// Transactions that failed.
    pub failed_transactions: u64,
    /// Gas used.
    pub gas_used: u128,
    /// Sum over the transactions of the price per gas that each paid, or, without a receipt, offered.
    pub gas_prices: Balance,
    /// Sum of fees.
    pub fees: Balance,
    /// Movements of tokens.
    pub token_transfers: u64,
}

/// See the module.
#[derive(Debug)]
pub struct ActivityByPeriod;

impl Projection for ActivityByPeriod {
    fn name(&self) -> &'static str {
        "activity"
    }

    fn version(&self) -> u32 {
        1
    }

    fn doc(&self) -> &'static str {
        "What happened in each hour, day, week and month: the buckets of historical figures."
    }

    fn tables(&self) -> &'static [&'static TableDef] {
        &[Activity::DEF]
    }

    fn apply(&self, folded: &Folded<'_>, view: &mut View<'_>) -> Result<(), FoldError> {
        let Some(contents) = &folded.block else {
            return Ok(());
        };
        let own = of_block(contents);
        for period in Period::ALL {
            let start = period.start(contents.block.timestamp);
            let key = ActivityKey { period, start };
            let mut row = view.get::<Activity>(&key)?.unwrap_or_default();
            add(&mut row, &own);
            view.put::<Activity>(&key, &row);
        }
        Ok(())
    }
}

/// What a block alone holds.
fn of_block(contents: &BlockContents<'_>) -> ActivityRow {
    let block = contents.block;
    let is_timed = block.block.height > 0;
    let mut row = ActivityRow {
        blocks: 1,
        first: is_timed.then_some(block.timestamp),
        last: block.timestamp,
        timed_blocks: u64::from(is_timed),
        transactions: contents.transactions.len() as u64,
        gas_used: block.gas_used.into(),
        ..ActivityRow::default()
    };
    for (transaction, receipt) in &contents.transactions {
        let price = receipt.map_or(transaction.gas_price, |receipt| receipt.effective_gas_price);
        row.gas_prices.credit(price);
        let Some(receipt) = receipt else { continue };
        row.failed_transactions += u64::from(!receipt.success);
        row.fees.credit(receipt.fee);
        let moved = receipt.logs.iter().map(|log| transfers(log).len() as u64);
        row.token_transfers += moved.sum::<u64>();
    }
    row
}

fn add(row: &mut ActivityRow, block: &ActivityRow) {
    row.blocks += block.blocks;
    row.first = row.first.or(block.first);
    row.last = block.last;
    row.timed_blocks += block.timed_blocks;
    row.transactions += block.transactions;
    row.failed_transactions += block.failed_transactions;
    row.gas_used += block.gas_used;
    row.gas_prices.add(&block.gas_prices);
    row.fees.add(&block.fees);
    row.token_transfers += block.token_transfers;
}
