//! Addresses: the ledger of the chain's own currency, counts, and who is active.
//!
//! The ledger knows what blocks, transactions and receipts show: amounts moved by successful
//! transactions, fees paid by all, the proposer's part of them (the whole fee before EIP-1559, the
//! tip after it: what is above the base fee is not burnt) and withdrawals. Genesis allocations,
//! block rewards and transfers inside contracts are in none of these, which is why a node's own
//! balance may differ and a ledger balance may be negative.

use std::collections::BTreeSet;

use bincode::{Decode, Encode};
use ruint::aliases::U256;

use super::{BlockContents, FoldError, Folded, Projection, View, transactions::recipient};
use crate::{
    events::{BlockAppended, TransactionExecuted, TransactionIncluded},
    period::Period,
    primitives::{Address, Amount, Balance},
    table,
    table::{Table, TableDef},
};

table! {
    /// Every address that sent, received, proposed or withdrew.
    pub versioned Accounts = "accounts" {
        key AccountKey { address: Address },
        value: Account,
    }
}

table! {
    /// The senders and recipients of each block inside the active window.
    pub versioned ActiveBlocks = "active_blocks" {
        key ActiveBlockKey { height: u64 },
        value: ActiveBlock,
    }
}

table! {
    /// How many addresses were active in each hour, day, week and month.
    pub versioned AddressActivity = "address_activity" {
        key AddressActivityKey { period: Period, start: u64 },
        value: AddressActivityRow,
        scan: by_first,
    }
}

table! {
    /// How many addresses there are and how many are active.
    pub versioned AddressTotals = "address_totals" {
        key AddressTotalsKey {},
        value: AddressTotalsRow,
    }
}

/// What is known of an address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Account {
    /// What the ledger says it holds, in the smallest unit.
    pub balance: Balance,
    /// Transactions it sent.
    pub sent: u64,
    /// Transactions it received; one to itself counts here and in `sent`.
    pub received: u64,
    /// Transactions that it is part of, one to itself counted once.
    pub transactions: u64,
    /// The nonce of its next transaction, as far as its own transactions show.
    pub nonce: u64,
    /// When and where it was last sender or recipient.
    pub seen: Option<Seen>,
}

/// When an address was sender or recipient.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct Seen {
    /// Timestamp of the first block, seconds since 1970.
    pub first: u64,
    /// Timestamp of the last block, seconds since 1970.
    pub last: u64,
    /// Height of the last block.
    pub last_height: u64,
}

/// Who was active in a block.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct ActiveBlock {
    /// The block's timestamp, seconds since 1970.
    pub timestamp: u64,
    /// Its senders and recipients, each once, sorted.
    pub addresses: Vec<Address>,
}

/// How many addresses there are and how many are active.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct AddressTotalsRow {
    /// Addresses that were ever sender or recipient.
    pub seen: u64,
    /// Of these, the ones seen in the [`ACTIVE_WINDOW`] that ends at the head's timestamp.
    pub active: u64,
    /// The lowest block inside the window.
    pub window_start: u64,
}

/// How many addresses were active in a bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct AddressActivityRow {
    /// Distinct senders and recipients.
    pub active: u64,
    /// Of these, the ones that were never seen before.
    pub new: u64,
}

/// Length of the window in which an address counts as active, in seconds.
pub const ACTIVE_WINDOW: u64 = 24 * 60 * 60;

/// See the module.
#[derive(Debug)]
pub struct Addresses;

impl Projection for Addresses {
    fn name(&self) -> &'static str {
        "addresses"
    }

    fn version(&self) -> u32 {
        2
    }

    fn doc(&self) -> &'static str {
        "Addresses: the ledger of the chain's own currency, counts, and who is active."
    }

    fn tables(&self) -> &'static [&'static TableDef] {
        &[
            Accounts::DEF,
            ActiveBlocks::DEF,
            AddressActivity::DEF,
            AddressTotals::DEF,
        ]
    }

    fn apply(&self, folded: &Folded<'_>, view: &mut View<'_>) -> Result<(), FoldError> {
        let Some(contents) = &folded.block else {
            return Ok(());
        };
        for (transaction, receipt) in &contents.transactions {
            transact(contents.block, transaction, *receipt, view)?;
        }
        reward(contents, view)?;
        observe(contents, view)
    }
}

fn update(
    address: &Address,
    view: &mut View<'_>,
    change: impl FnOnce(&mut Account),
) -> Result<(), FoldError> {
    let key = AccountKey {
        address: address.clone(),
    };
    let mut account = view.get::<Accounts>(&key)?.unwrap_or_default();
    change(&mut account);
    view.put::<Accounts>(&key, &account);
    Ok(())
}

fn transact(
    block: &BlockAppended,
    transaction: &TransactionIncluded,
    receipt: Option<&TransactionExecuted>,
    view: &mut View<'_>,
) -> Result<(), FoldError> {
    // Without a receipt nothing says that it failed, so the amount moves.
    let moves = receipt.is_none_or(|receipt| receipt.success);
    let amount = if moves {
        transaction.amount
    } else {
        Amount::default()
    };
    let fee = receipt.map(|receipt| receipt.fee).unwrap_or_default();
    let to = recipient(transaction, receipt);
    let to_itself = to == Some(&transaction.from);
    update(&transaction.from, view, |account| {
        account.balance.debit(fee);
        account.sent += 1;
        account.transactions += 1;
        account.nonce = account.nonce.max(transaction.nonce.saturating_add(1));
        see(account, block);
        if to_itself {
            account.received += 1;
        } else if to.is_some() {
            account.balance.debit(amount);
        }
    })?;
    let Some(to) = to.filter(|_| !to_itself) else {
        return Ok(());
    };
    update(to, view, |account| {
        account.balance.credit(amount);
        account.received += 1;
        account.transactions += 1;
        see(account, block);
    })
}

/// `observe` moves what was seen last on, once a block: it needs to know what was before.
fn see(account: &mut Account, block: &BlockAppended) {
    account.seen.get_or_insert(Seen {
        first: block.timestamp,
        last: block.timestamp,
        last_height: u64::MAX,
    });
}

/// Credits the proposer and the withdrawals.
fn reward(contents: &BlockContents<'_>, view: &mut View<'_>) -> Result<(), FoldError> {
    let base_fee = contents.block.base_fee.unwrap_or_default().0;
    let tips = contents.transactions.iter().filter_map(|(_, receipt)| {
        let receipt = (*receipt)?;
        let tip = receipt.effective_gas_price.0.saturating_sub(base_fee);
        Some(tip.saturating_mul(U256::from(receipt.gas_used)))
    });
    let tips = tips.fold(U256::ZERO, U256::saturating_add);
    if let Some(proposer) = contents.block.proposer.as_ref().filter(|_| !tips.is_zero()) {
        update(proposer, view, |account| {
            account.balance.credit(Amount(tips))
        })?;
    }
    for withdrawal in &contents.block.withdrawals {
        update(&withdrawal.address, view, |account| {
            account.balance.credit(withdrawal.amount)
        })?;
    }
    Ok(())
}

/// Moves the active window on to this block and counts who enters and leaves it.
fn observe(contents: &BlockContents<'_>, view: &mut View<'_>) -> Result<(), FoldError> {
    let (height, timestamp) = (contents.block.block.height, contents.block.timestamp);
    let mut totals = view
        .get::<AddressTotals>(&AddressTotalsKey {})?
        .unwrap_or(AddressTotalsRow {
            window_start: height,
            ..AddressTotalsRow::default()
        });
    let before = totals.clone();
    expire(
        timestamp.saturating_sub(ACTIVE_WINDOW),
        height,
        &mut totals,
        view,
    )?;
    let mut addresses = BTreeSet::new();
    for (transaction, receipt) in &contents.transactions {
        addresses.insert(&transaction.from);
        addresses.extend(recipient(transaction, *receipt));
    }
    let mut activity = [(); Period::ALL.len()].map(|()| AddressActivityRow::default());
    for address in &addresses {
        update(address, view, |account| {
            let Some(seen) = &mut account.seen else {
                return;
            };
            let is_new = seen.last_height == u64::MAX;
            if is_new {
                totals.seen += 1;
            }
            if is_new || seen.last_height < totals.window_start {
                totals.active += 1;
            }
            for (period, row) in Period::ALL.into_iter().zip(&mut activity) {
                row.new += u64::from(is_new);
                // Whoever was seen in this bucket already is counted in it.
                row.active += u64::from(is_new || seen.last < period.start(timestamp));
            }
            seen.last = timestamp;
            seen.last_height = height;
        })?;
    }
    count_active(timestamp, activity, view)?;
    if !addresses.is_empty() {
        let addresses = addresses.into_iter().cloned().collect();
        view.put::<ActiveBlocks>(
            &ActiveBlockKey { height },
            &ActiveBlock {
                timestamp,
                addresses,
            },
        );
    }
    if totals != before {
        view.put::<AddressTotals>(&AddressTotalsKey {}, &totals);
    }
    Ok(())
}

/// Adds who became active in the buckets that a moment is in.
fn count_active(
    timestamp: u64,
    activity: [AddressActivityRow; Period::ALL.len()],
    view: &mut View<'_>,
) -> Result<(), FoldError> {
    for (period, row) in Period::ALL.into_iter().zip(activity) {
        if row.active == 0 {
            continue;
        }
        let start = period.start(timestamp);
        let key = AddressActivityKey { period, start };
        let mut bucket = view.get::<AddressActivity>(&key)?.unwrap_or_default();
        bucket.active += row.active;
        bucket.new += row.new;
        view.put::<AddressActivity>(&key, &bucket);
    }
    Ok(())
}

/// Takes the blocks at or before `deadline` out of the window, and with them the addresses that
/// were not seen since.
fn expire(
    deadline: u64,
    height: u64,
    totals: &mut AddressTotalsRow,
    view: &mut View<'_>,
) -> Result<(), FoldError> {
    while totals.window_start < height {
        let key = ActiveBlockKey {
            height: totals.window_start,
        };
        if let Some(block) = view.get::<ActiveBlocks>(&key)? {
            if block.timestamp > deadline {
                break;
            }
            for address in block.addresses {
                let account = view.get::<Accounts>(&AccountKey { address })?;
                let seen = account.and_then(|account| account.seen);
                if seen.is_some_and(|seen| seen.last_height == key.height) {
                    totals.active -= 1;
                }
            }
            view.delete::<ActiveBlocks>(&key);
        }
        totals.window_start += 1;
    }
    Ok(())
}
