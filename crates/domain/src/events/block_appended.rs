//! `block_appended`.

use bincode::{Decode, Encode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::primitives::{Address, Amount, BlockRef, Bytes, Hash};

crate::event! {
    /// A block became the head of its chain. Its transactions follow in the same commit; a
    /// `block_finalized` of the same block in that commit says that it was final when it came.
    pub struct BlockAppended: version 1, Public {
        /// The block.
        pub block: BlockRef,
        /// Hash of the block below. The first block of a log may name one that is not in it.
        pub parent: Hash,
        /// Seconds since 1970, as the block says.
        pub timestamp: u64,
        /// Who made it.
        pub proposer: Option<Address>,
        /// Root of the state after it.
        pub state_root: Option<Hash>,
        /// Root of its transactions.
        pub transactions_root: Option<Hash>,
        /// Root of its receipts.
        pub receipts_root: Option<Hash>,
        /// Gas that its transactions used together.
        pub gas_used: u64,
        /// The most gas that they might have used.
        pub gas_limit: u64,
        /// Price per gas that is burnt, in the smallest unit (EIP-1559).
        pub base_fee: Option<Amount>,
        /// Proof-of-work difficulty, 0 on chains without.
        pub difficulty: Amount,
        /// Size in bytes, as the node says.
        pub size: u64,
        /// Free bytes that its maker put in.
        pub extra_data: Bytes,
        /// Gas used by blobs (EIP-4844).
        pub blob_gas_used: Option<u64>,
        /// Amounts credited without a transaction (EIP-4895).
        pub withdrawals: Vec<Withdrawal>,
        /// Number of its transactions, all of which follow in the same commit.
        pub transaction_count: u32,
    }
    example: Self {
        block: BlockRef { height: 17_686_110, hash: Hash([0xb1; 32]) },
        parent: Hash([0xb0; 32]),
        timestamp: 1_689_269_903,
        proposer: Some(Address::Evm([0xc0; 20])),
        state_root: Some(Hash([0x51; 32])),
        transactions_root: Some(Hash([0x71; 32])),
        receipts_root: Some(Hash([0x61; 32])),
        gas_used: 15_000_000,
        gas_limit: 30_000_000,
        base_fee: Some(Amount::from(48_000_000_000)),
        difficulty: Amount::from(0),
        size: 102_400,
        extra_data: Bytes(b"cairn".to_vec()),
        blob_gas_used: Some(131_072),
        withdrawals: vec![Withdrawal { address: Address::Evm([0xd0; 20]), amount: Amount::from(1_000_000_000) }],
        transaction_count: 1,
    }
}

/// An amount that a block credits to an address without a transaction.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, Encode, Decode, JsonSchema)]
pub struct Withdrawal {
    /// Who gets it.
    pub address: Address,
    /// How much, in the chain's smallest unit (not in gwei).
    pub amount: Amount,
}
