//! Blocks.

use cairn_domain::{Address, Amount, Hash, events::BlockAppended};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Time, Transaction};
use crate::{answer::Model, finals::Rendered, scope::Standing};

/// A block as lists show it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BlockSummary {
    /// Hash.
    #[schema(value_type = String)]
    pub(crate) hash: Hash,
    /// Distance from the chain's first block.
    pub(crate) height: u64,
    /// When it was made, as it says.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) timestamp: Time,
    /// Who made it; null where the chain does not tell.
    #[schema(value_type = Option<String>)]
    pub(crate) proposer: Option<Address>,
    /// Number of its transactions.
    pub(crate) transaction_count: u32,
    /// Gas that its transactions used together.
    #[schema(value_type = String)]
    pub(crate) gas_used: Amount,
    /// Size in bytes.
    pub(crate) size: u64,
    /// Blocks from this one up to the head, both included: the head has 1. Null once the block is
    /// final, and for one that is not canonical.
    pub(crate) confirmations: Option<u64>,
    /// Whether it cannot be reverted any more.
    #[serde(rename = "final")]
    pub(crate) is_final: bool,
    /// False for a block that was reorganised away, which only `orphaned=true` shows.
    pub(crate) canonical: bool,
}

impl BlockSummary {
    /// A block that stands so.
    pub(crate) fn new(block: &BlockAppended, standing: Standing) -> Self {
        Self {
            hash: block.block.hash,
            height: block.block.height,
            timestamp: Time(block.timestamp),
            proposer: block.proposer.clone(),
            transaction_count: block.transaction_count,
            gas_used: Amount::from(block.gas_used),
            size: block.size,
            confirmations: standing.confirmations,
            is_final: standing.is_final,
            canonical: standing.canonical,
        }
    }
}

/// A block with its transactions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BlockDetail {
    #[serde(flatten)]
    pub(crate) summary: BlockSummary,
    /// Hash of the block below.
    #[schema(value_type = String)]
    pub(crate) parent_hash: Hash,
    /// Root of the state after it.
    #[schema(value_type = Option<String>)]
    pub(crate) state_root: Option<Hash>,
    /// The most gas that its transactions might have used.
    #[schema(value_type = String)]
    pub(crate) gas_limit: Amount,
    /// Price per gas that is burnt, in the smallest unit; null on chains without.
    #[schema(value_type = Option<String>)]
    pub(crate) base_fee: Option<Amount>,
    /// Its transactions, in its order.
    #[schema(value_type = Vec<Transaction>)]
    pub(crate) transactions: Vec<Rendered>,
}

impl Model for BlockDetail {
    fn is_final(&self) -> bool {
        self.summary.is_final
    }

    fn size_hint(&self) -> usize {
        1024 + Rendered::bytes(&self.transactions)
    }
}

/// A page of blocks, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BlockPage {
    /// The blocks.
    pub(crate) blocks: Vec<BlockSummary>,
    /// Number of canonical blocks.
    pub(crate) total: u64,
    /// Goes on behind this page, as of the same position; null at the end.
    pub(crate) next_cursor: Option<String>,
}

impl Model for BlockPage {}
