//! `block_finalized`.

use crate::primitives::{BlockRef, Hash};

crate::event! {
    /// A block, and with it every block below it, cannot be reverted any more.
    pub struct BlockFinalized: version 1, Public {
        /// The highest final block.
        pub block: BlockRef,
    }
    example: Self { block: BlockRef { height: 17_686_046, hash: Hash([0xbf; 32]) } }
}
