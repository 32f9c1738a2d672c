//! `transaction_included`.

use std::fmt;

use bincode::{Decode, Encode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::primitives::{Address, Amount, Bytes, Hash};

crate::event! {
    /// A block holds a transaction. Follows the `block_appended` of its commit, in the block's order.
    pub struct TransactionIncluded: version 1, Public {
        /// The transaction's hash.
        pub hash: Hash,
        /// Its place in the block, from 0.
        pub index: u32,
        /// What kind of transaction it is.
        pub kind: TransactionKind,
        /// Who sent it.
        pub from: Address,
        /// Who it is for; none where it creates a contract.
        pub to: Option<Address>,
        /// Amount moved, in the smallest unit.
        pub amount: Amount,
        /// The sender's count of transactions before this one.
        pub nonce: u64,
        /// The most gas it may use.
        pub gas_limit: u64,
        /// Price per gas it offers (`gasPrice`), in the smallest unit.
        pub gas_price: Amount,
        /// The most it pays per gas (EIP-1559).
        pub max_fee_per_gas: Option<Amount>,
        /// The most of it that goes to the proposer (EIP-1559).
        pub max_priority_fee_per_gas: Option<Amount>,
        /// Call data, or the payload of chains that have another word for it.
        pub input: Bytes,
    }
    example: Self {
        hash: Hash([0x71; 32]),
        index: 0,
        kind: TransactionKind::Evm(2),
        from: Address::Evm([0xa1; 20]),
        to: Some(Address::Evm([0xa2; 20])),
        amount: Amount::from(1_000_000_000_000_000_000),
        nonce: 7,
        gas_limit: 21_000,
        gas_price: Amount::from(50_000_000_000),
        max_fee_per_gas: Some(Amount::from(60_000_000_000)),
        max_priority_fee_per_gas: Some(Amount::from(2_000_000_000)),
        input: Bytes(vec![0xa9, 0x05, 0x9c, 0xbb]),
    }
}

/// What kind of transaction it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TransactionKind {
    /// The type byte of an EVM transaction (EIP-2718).
    Evm(u8),
    /// The word that a chain with open types uses.
    Named(String),
}

impl fmt::Display for TransactionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Evm(0) => f.write_str("legacy"),
            Self::Evm(1) => f.write_str("access_list"),
            Self::Evm(2) => f.write_str("dynamic_fee"),
            Self::Evm(3) => f.write_str("blob"),
            Self::Evm(4) => f.write_str("set_code"),
            Self::Evm(other) => write!(f, "0x{other:x}"),
            Self::Named(name) => f.write_str(name),
        }
    }
}
