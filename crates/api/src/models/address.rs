//! Addresses.

use cairn_domain::{Address, Amount, Balance, BlockRef, Hash, projections::addresses::Account};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Time, Transaction};
use crate::{answer::Model, finals::Rendered};

/// Who says what an address holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BalanceSource {
    /// The chain's own node, at the block that the answer is of.
    Node,
    /// The fold of the log: all that blocks, transactions and receipts show.
    Ledger,
}

/// What the node says if it says something, else what the ledger says.
fn balance(node: Option<Amount>, ledger: Balance) -> (String, BalanceSource) {
    match node {
        Some(balance) => (balance.to_string(), BalanceSource::Node),
        None => (ledger.to_string(), BalanceSource::Ledger),
    }
}

/// What is known of an address.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AddressSummary {
    /// The address.
    #[schema(value_type = String)]
    pub(crate) address: Address,
    /// What it holds, in the smallest unit.
    pub(crate) balance: String,
    /// Who says so.
    pub(crate) balance_source: BalanceSource,
    /// What the fold of the log says that it holds; negative where a chain's log does not show
    /// every credit.
    #[schema(value_type = String)]
    pub(crate) ledger_balance: Balance,
    /// The nonce of its next transaction, as far as its transactions show.
    pub(crate) nonce: u64,
    /// Transactions it sent.
    pub(crate) sent_count: u64,
    /// Transactions it received.
    pub(crate) received_count: u64,
    /// Transactions that it is part of; one to itself counts once.
    pub(crate) transaction_count: u64,
    /// When it was first sender or recipient.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) first_seen: Option<Time>,
    /// When it was last sender or recipient.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) last_seen: Option<Time>,
}

impl AddressSummary {
    /// Puts together what the fold and the node know.
    pub(crate) fn new(address: Address, account: Account, node: Option<Amount>) -> Self {
        let (balance, balance_source) = balance(node, account.balance);
        Self {
            address,
            balance,
            balance_source,
            ledger_balance: account.balance,
            nonce: account.nonce,
            sent_count: account.sent,
            received_count: account.received,
            transaction_count: account.transactions,
            first_seen: account.seen.as_ref().map(|seen| Time(seen.first)),
            last_seen: account.seen.as_ref().map(|seen| Time(seen.last)),
        }
    }
}

/// What is known of an address, with its latest transactions if they were asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AddressDetail {
    #[serde(flatten)]
    pub(crate) summary: AddressSummary,
    /// Its 20 latest transactions; only with `transactions=true`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Transaction>>)]
    pub(crate) transactions: Option<Vec<Rendered>>,
}

impl Model for AddressDetail {}

/// What an address holds, and the block as of which it does.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AddressBalance {
    /// The address.
    #[schema(value_type = String)]
    pub(crate) address: Address,
    /// What it holds, in the smallest unit.
    pub(crate) balance: String,
    /// Who says so.
    pub(crate) balance_source: BalanceSource,
    /// What the fold of the log says that it holds.
    #[schema(value_type = String)]
    pub(crate) ledger_balance: Balance,
    /// Height of the block; null while the chain is empty.
    pub(crate) block_height: Option<u64>,
    /// Hash of the block.
    #[schema(value_type = Option<String>)]
    pub(crate) block_hash: Option<Hash>,
}

impl AddressBalance {
    /// Puts together what the fold and the node know at a block.
    pub(crate) fn new(
        address: Address,
        ledger: Balance,
        node: Option<Amount>,
        block: Option<BlockRef>,
    ) -> Self {
        let (balance, balance_source) = balance(node, ledger);
        Self {
            address,
            balance,
            balance_source,
            ledger_balance: ledger,
            block_height: block.map(|block| block.height),
            block_hash: block.map(|block| block.hash),
        }
    }
}

impl Model for AddressBalance {}
