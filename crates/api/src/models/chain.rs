//! The chains that are indexed.

use cairn_domain::{BlockRef, Hash};
use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::Model;

/// A block by height and hash.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BlockName {
    /// Height.
    pub(crate) height: u64,
    /// Hash.
    #[schema(value_type = String)]
    pub(crate) hash: Hash,
}

impl From<BlockRef> for BlockName {
    fn from(BlockRef { height, hash }: BlockRef) -> Self {
        Self { height, hash }
    }
}

/// A chain.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Chain {
    /// What `?chain=` calls it.
    pub(crate) name: String,
    /// The shard that it belongs to; only where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) shard: Option<String>,
    /// Whether requests that name no chain mean this one.
    pub(crate) default: bool,
    /// The lowest indexed block.
    pub(crate) first: BlockName,
    /// The highest block.
    pub(crate) head: BlockName,
    /// The highest final block.
    pub(crate) finalized: Option<BlockName>,
}

/// All chains.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Chains {
    /// The chains by name.
    pub(crate) chains: Vec<Chain>,
    /// Names what this answer reflects, a position for each shard: `?at=` takes it.
    pub(crate) cursor: String,
}

impl Model for Chains {}

/// A chain that was replaced by another of its name.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChainReplaced {
    /// The chain.
    pub(crate) chain: String,
    /// Why the operator accepted it.
    pub(crate) reason: String,
}
