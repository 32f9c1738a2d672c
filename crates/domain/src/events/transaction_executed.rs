//! `transaction_executed`.

use bincode::{Decode, Encode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::primitives::{Address, Amount, Bytes, Hash};

crate::event! {
    /// The receipt of a transaction: what executing it did. Follows its `transaction_included`;
    /// absent where a source has no receipts.
    pub struct TransactionExecuted: version 1, Public {
        /// Place of the transaction in the block.
        pub index: u32,
        /// Whether it succeeded.
        pub success: bool,
        /// Gas it used.
        pub gas_used: u64,
        /// Price per gas that it paid, in the smallest unit.
        pub effective_gas_price: Amount,
        /// All that the sender paid besides the amount: gas and blobs.
        pub fee: Amount,
        /// The contract it created.
        pub contract_address: Option<Address>,
        /// What its contracts reported.
        pub logs: Vec<Log>,
    }
    example: Self {
        index: 0,
        success: true,
        gas_used: 51_234,
        effective_gas_price: Amount::from(50_000_000_000),
        fee: Amount::from(2_561_700_000_000_000),
        contract_address: Some(Address::Evm([0xcc; 20])),
        logs: vec![Log {
            index: 0,
            address: Address::Evm([0xcc; 20]),
            topics: vec![Hash([0xdd; 32]), Hash([0x01; 32])],
            data: Bytes(vec![1, 2, 3]),
        }],
    }
}

/// What a contract reported.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode, JsonSchema)]
pub struct Log {
    /// Its place among the logs of the block, from 0.
    pub index: u32,
    /// The contract.
    pub address: Address,
    /// Indexed words; the first is usually the hash of the event's signature.
    pub topics: Vec<Hash>,
    /// The other words.
    pub data: Bytes,
}
