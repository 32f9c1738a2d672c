//! Blocks, transactions and receipts as nodes serve them, borrowed from the text. What we do not
//! keep (blooms, signatures, …) is skipped without being copied.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

/// Said where transactions come as hashes; the decoder recognises it.
pub(super) const HASHES_ONLY: &str = "transactions are given as hashes only";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireBlock<'a> {
    #[serde(borrow)]
    pub(super) number: Option<&'a str>,
    #[serde(borrow)]
    pub(super) hash: Option<&'a str>,
    pub(super) parent_hash: &'a str,
    pub(super) timestamp: &'a str,
    #[serde(borrow)]
    pub(super) miner: Option<&'a str>,
    #[serde(borrow)]
    pub(super) state_root: Option<&'a str>,
    #[serde(borrow)]
    pub(super) transactions_root: Option<&'a str>,
    #[serde(borrow)]
    pub(super) receipts_root: Option<&'a str>,
    pub(super) gas_used: &'a str,
    pub(super) gas_limit: &'a str,
    #[serde(borrow)]
    pub(super) base_fee_per_gas: Option<&'a str>,
    #[serde(borrow)]
    pub(super) difficulty: Option<&'a str>,
    #[serde(borrow)]
    pub(super) size: Option<&'a str>,
    #[serde(borrow)]
    pub(super) extra_data: Option<&'a str>,
    #[serde(borrow)]
    pub(super) blob_gas_used: Option<&'a str>,
    #[serde(borrow, default)]
    pub(super) withdrawals: Option<Vec<WireWithdrawal<'a>>>,
    #[serde(borrow)]
    pub(super) transactions: Vec<WireTransaction<'a>>,
    /// Not of nodes: recordings may put the receipts into the block.
    #[serde(borrow, default)]
    pub(super) receipts: Option<Vec<WireReceipt<'a>>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct WireWithdrawal<'a> {
    pub(super) address: &'a str,
    pub(super) amount: &'a str,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TransactionFields<'a> {
    pub(super) hash: &'a str,
    #[serde(borrow)]
    pub(super) block_hash: Option<&'a str>,
    #[serde(borrow)]
    pub(super) block_number: Option<&'a str>,
    #[serde(borrow)]
    pub(super) transaction_index: Option<&'a str>,
    #[serde(borrow, rename = "type")]
    pub(super) kind: Option<&'a str>,
    pub(super) from: &'a str,
    #[serde(borrow)]
    pub(super) to: Option<&'a str>,
    pub(super) value: &'a str,
    pub(super) nonce: &'a str,
    pub(super) gas: &'a str,
    #[serde(borrow)]
    pub(super) gas_price: Option<&'a str>,
    #[serde(borrow)]
    pub(super) max_fee_per_gas: Option<&'a str>,
    #[serde(borrow)]
    pub(super) max_priority_fee_per_gas: Option<&'a str>,
    #[serde(borrow)]
    pub(super) input: Option<&'a str>,
    #[serde(borrow)]
    pub(super) data: Option<&'a str>,
}

#[derive(Debug)]
pub(super) struct WireTransaction<'a>(pub(super) TransactionFields<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for WireTransaction<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TransactionVisitor).map(Self)
    }
}

struct TransactionVisitor;

impl<'de> Visitor<'de> for TransactionVisitor {
    type Value = TransactionFields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a transaction with its fields")
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<Self::Value, E> {
        Err(E::custom(HASHES_ONLY))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
        TransactionFields::deserialize(MapAccessDeserializer::new(map))
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireReceipt<'a> {
    pub(super) transaction_hash: &'a str,
    #[serde(borrow)]
    pub(super) transaction_index: Option<&'a str>,
    #[serde(borrow)]
    pub(super) block_hash: Option<&'a str>,
    #[serde(borrow)]
    pub(super) block_number: Option<&'a str>,
    #[serde(borrow)]
    pub(super) status: Option<&'a str>,
    pub(super) gas_used: &'a str,
    #[serde(borrow)]
    pub(super) effective_gas_price: Option<&'a str>,
    #[serde(borrow)]
    pub(super) contract_address: Option<&'a str>,
    #[serde(borrow)]
    pub(super) blob_gas_used: Option<&'a str>,
    #[serde(borrow)]
    pub(super) blob_gas_price: Option<&'a str>,
    #[serde(borrow)]
    pub(super) logs: Vec<WireLog<'a>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireLog<'a> {
    pub(super) address: &'a str,
    #[serde(borrow)]
    pub(super) topics: Vec<&'a str>,
    pub(super) data: &'a str,
    #[serde(borrow)]
    pub(super) log_index: Option<&'a str>,
}

/// A line of a receipts file: the receipts of one block.
#[derive(Debug, Deserialize)]
pub(super) struct WireReceiptsLine<'a> {
    #[serde(borrow)]
    pub(super) number: Option<&'a str>,
    #[serde(borrow)]
    pub(super) hash: Option<&'a str>,
    #[serde(borrow)]
    pub(super) receipts: Vec<WireReceipt<'a>>,
}

/// The little that is needed to name a block whose rest does not decode, and to compare heads.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WireHeader<'a> {
    #[serde(borrow, default)]
    pub(super) number: Option<&'a str>,
    #[serde(borrow, default)]
    pub(super) hash: Option<&'a str>,
    #[serde(borrow, default)]
    pub(super) parent_hash: Option<&'a str>,
}
