//! Transactions.

use cairn_domain::{
    Address, Amount, BlockRef, Bytes, Hash, events::TransactionKind,
    projections::transactions::TransactionRow,
};
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

use super::Time;
use crate::{answer::Model, finals::Rendered, scope::Standing};

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// In a canonical block, and it did not fail as far as is known.
    Confirmed,
    /// In a canonical block, and it failed: nothing moved but the fee.
    Failed,
    /// Only in blocks that were reorganised away.
    Dropped,
}

/// A transaction.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Transaction {
    /// Hash.
    #[schema(value_type = String)]
    pub(crate) hash: Hash,
    /// What became of it.
    pub(crate) status: Status,
    /// Who sent it.
    #[schema(value_type = String)]
    pub(crate) from_address: Address,
    /// Who it is for; null where it creates a contract.
    #[schema(value_type = Option<String>)]
    pub(crate) to_address: Option<Address>,
    /// Amount moved, in the smallest unit.
    #[schema(value_type = String)]
    pub(crate) amount: Amount,
    /// Gas it used; null where the source has no receipts.
    #[schema(value_type = Option<String>)]
    pub(crate) gas_used: Option<Amount>,
    /// All that the sender paid besides the amount; null where the source has no receipts.
    #[schema(value_type = Option<String>)]
    pub(crate) fee: Option<Amount>,
    /// What kind it is: `legacy`, `access_list`, `dynamic_fee`, `blob`, `set_code`, or the
    /// chain's own word.
    #[serde(rename = "type", serialize_with = "display")]
    #[schema(value_type = String)]
    pub(crate) kind: TransactionKind,
    /// The sender's count of transactions before this one.
    pub(crate) nonce: u64,
    /// Hash of its block.
    #[schema(value_type = String)]
    pub(crate) block_hash: Hash,
    /// Height of its block.
    pub(crate) block_height: u64,
    /// When its block was made, as the block says.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) timestamp: Time,
    /// Call data in hex.
    #[schema(value_type = String)]
    pub(crate) payload: Bytes,
    /// Its place in the block, from 0.
    pub(crate) index: u32,
    /// Price per gas: what it paid, or offered where the source has no receipts.
    #[schema(value_type = String)]
    pub(crate) gas_price: Amount,
    /// The contract it created.
    #[schema(value_type = Option<String>)]
    pub(crate) contract_address: Option<Address>,
    /// Blocks from its own up to the head, both included. Null once its block is final, and for a
    /// dropped one.
    pub(crate) confirmations: Option<u64>,
    /// Whether its block cannot be reverted any more.
    #[serde(rename = "final")]
    pub(crate) is_final: bool,
}

fn display<S: Serializer>(kind: &TransactionKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(kind)
}

impl Transaction {
    /// A transaction of a block that stands so.
    pub(crate) fn new(block: BlockRef, row: TransactionRow, standing: Standing) -> Self {
        let TransactionRow {
            transaction,
            timestamp,
            outcome,
        } = row;
        let failed = outcome.as_ref().is_some_and(|outcome| !outcome.success);
        Self {
            hash: transaction.hash,
            status: match (standing.canonical, failed) {
                (false, _) => Status::Dropped,
                (true, true) => Status::Failed,
                (true, false) => Status::Confirmed,
            },
            from_address: transaction.from,
            to_address: transaction.to,
            amount: transaction.amount,
            gas_used: outcome
                .as_ref()
                .map(|outcome| Amount::from(outcome.gas_used)),
            fee: outcome.as_ref().map(|outcome| outcome.fee),
            kind: transaction.kind,
            nonce: transaction.nonce,
            block_hash: block.hash,
            block_height: block.height,
            timestamp: Time(timestamp),
            payload: transaction.input,
            index: transaction.index,
            gas_price: outcome
                .as_ref()
                .map_or(transaction.gas_price, |o| o.effective_gas_price),
            contract_address: outcome.and_then(|outcome| outcome.contract_address),
            confirmations: standing.confirmations,
            is_final: standing.is_final,
        }
    }
}

/// A page of transactions, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TransactionPage {
    /// The transactions.
    #[schema(value_type = Vec<Transaction>)]
    pub(crate) transactions: Vec<Rendered>,
    /// Number of transactions in the whole list.
    pub(crate) total: u64,
    /// Goes on behind this page, as of the same position; null at the end.
    pub(crate) next_cursor: Option<String>,
}

impl Model for TransactionPage {
    fn size_hint(&self) -> usize {
        256 + Rendered::bytes(&self.transactions)
    }
}
