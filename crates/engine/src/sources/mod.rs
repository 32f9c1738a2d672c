//! Sources: what Cairn follows. They only append; only the runner writes the store.

use async_trait::async_trait;
use cairn_domain::{Address, Amount, BlockRef};

/// What a chain's own node says, where the log is not the whole truth.
#[async_trait]
pub trait NodeState: Send + Sync {
    /// The balance of an address at the end of a block, in the smallest unit.
    ///
    /// # Errors
    /// A sentence for the log when the node does not answer or does not know the block.
    async fn balance(&self, address: &Address, block: BlockRef) -> Result<Amount, String>;
}
