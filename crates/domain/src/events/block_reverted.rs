//! `block_reverted`.

use crate::primitives::{BlockRef, Hash};

crate::event! {
    /// A block stopped being canonical. One commit takes back the whole branch from its head down
    /// to the fork, one event a block, highest first.
    pub struct BlockReverted: version 1, Public, dataset "reverts" {
        /// The block.
        pub block: BlockRef,
    }
    example: Self { block: BlockRef { height: 17_686_110, hash: Hash([0xb1; 32]) } }
}
