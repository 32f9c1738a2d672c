//! What we know of the top of a chain: pure state between a source's blocks and the log.

use std::collections::VecDeque;

use cairn_domain::{BlockRef, Hash};

/// Final blocks that stay in memory all the same, to recognise duplicates without the store.
const KEPT: usize = 1024;

/// The top of a chain as the log has it: every block that may still be reverted, and a few below.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChainTip {
    first: Option<BlockRef>,
    finalized: Option<BlockRef>,
    /// Consecutive heights; the last is the head.
    window: VecDeque<BlockRef>,
}

/// What a block is to the chain that we have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It stands on the head, or is the first.
    Next,
    /// The chain has it already.
    Known,
    /// It is too low to tell without the store.
    Below,
    /// Blocks between the head and it are missing.
    Gap {
        /// The height that comes next.
        expected: u64,
    },
    /// It is on another branch.
    Fork,
}

/// A reorganisation reaches below what is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooDeep {
    /// The highest final block, which the new branch does not contain.
    pub finalized: BlockRef,
}

impl ChainTip {
    /// The state of a chain with these ends; `window` holds consecutive blocks up to the head, at
    /// least from the finalized block (or the first) on.
    pub fn new(first: BlockRef, finalized: Option<BlockRef>, window: VecDeque<BlockRef>) -> Self {
        Self {
            first: Some(first),
            finalized,
            window,
        }
    }

    /// The lowest block; none while the chain is empty.
    pub fn first(&self) -> Option<BlockRef> {
        self.first
    }

    /// The highest block; none while the chain is empty.
    pub fn head(&self) -> Option<BlockRef> {
        self.window.back().copied()
    }

    /// The highest block that cannot be reverted any more.
    pub fn finalized(&self) -> Option<BlockRef> {
        self.finalized
    }

    /// The block at a height, if it is in memory.
    pub fn at(&self, height: u64) -> Option<BlockRef> {
        let lowest = self.window.front()?.height;
        let place = usize::try_from(height.checked_sub(lowest)?).ok()?;
        self.window.get(place).copied()
    }

    /// The lowest height at which the chain could still fork: the fork itself stays.
    pub fn lowest_fork(&self) -> Option<u64> {
        self.finalized.or(self.first).map(|block| block.height)
    }

    /// What a block is to this chain.
    pub fn judge(&self, block: BlockRef, parent: Hash) -> Standing {
        let Some(head) = self.head() else {
            return Standing::Next;
        };
        match block.height.checked_sub(head.height) {
            Some(1) if parent == head.hash => Standing::Next,
            Some(1) => Standing::Fork,
            Some(2..) => Standing::Gap {
                expected: head.height + 1,
            },
            Some(0) | None => match self.at(block.height) {
                Some(own) if own == block => Standing::Known,
                Some(_) => Standing::Fork,
                None => Standing::Below,
            },
        }
    }

    /// Puts a block on top; it must be [`Standing::Next`].
    pub fn push(&mut self, block: BlockRef) {
        self.first.get_or_insert(block);
        self.window.push_back(block);
        self.prune();
    }

    /// Declares what is at or below `height` final. Returns the highest final block if that is news.
    pub fn finalize(&mut self, height: u64) -> Option<BlockRef> {
        let block = self.at(height.min(self.head()?.height))?;
        if self
            .finalized
            .is_some_and(|finalized| finalized.height >= block.height)
        {
            return None;
        }
        self.finalized = Some(block);
        self.prune();
        self.finalized
    }

    /// Takes back all blocks above `fork`, or all of them, and returns them highest first.
    ///
    /// # Errors
    /// [`TooDeep`] when one of them is final; nothing changes then.
    pub fn revert_to(&mut self, fork: Option<u64>) -> Result<Vec<BlockRef>, TooDeep> {
        if let Some(finalized) = self
            .finalized
            .filter(|f| fork.is_none_or(|fork| fork < f.height))
        {
            return Err(TooDeep { finalized });
        }
        let mut reverted = Vec::new();
        while let Some(block) = self
            .window
            .pop_back_if(|b| fork.is_none_or(|fork| b.height > fork))
        {
            reverted.push(block);
        }
        if self.window.is_empty() {
            *self = Self::default();
        }
        Ok(reverted)
    }

    fn prune(&mut self) {
        let Some(finalized) = self.finalized else {
            return;
        };
        while self.window.len() > KEPT && self.window[0].height < finalized.height {
            self.window.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(height: u64, branch: u8) -> BlockRef {
        let mut hash = [branch; 32];
        hash[..8].copy_from_slice(&height.to_be_bytes());
        BlockRef {
            height,
            hash: Hash(hash),
        }
    }

    fn chain(heights: std::ops::RangeInclusive<u64>) -> ChainTip {
        let mut tip = ChainTip::default();
        heights.for_each(|height| tip.push(block(height, 0)));
        tip
    }

    #[test]
    fn a_block_is_next_known_a_gap_or_a_fork() {
        let tip = chain(5..=9);
        assert_eq!(
            ChainTip::default().judge(block(7, 0), Hash([9; 32])),
            Standing::Next
        );
        assert_eq!(tip.judge(block(10, 0), block(9, 0).hash), Standing::Next);
        assert_eq!(tip.judge(block(10, 0), block(9, 1).hash), Standing::Fork);
        assert_eq!(tip.judge(block(9, 0), block(8, 0).hash), Standing::Known);
        assert_eq!(tip.judge(block(7, 1), block(6, 0).hash), Standing::Fork);
        assert_eq!(
            tip.judge(block(12, 0), Hash([0; 32])),
            Standing::Gap { expected: 10 }
        );
        assert_eq!(tip.judge(block(4, 0), Hash([0; 32])), Standing::Below);
    }

    #[test]
    fn a_revert_takes_back_down_to_the_fork_and_never_what_is_final() {
        let mut tip = chain(1..=9);
        assert_eq!(tip.finalize(5), Some(block(5, 0)));
        assert_eq!(tip.finalize(4), None);
        assert_eq!(
            tip.revert_to(Some(4)),
            Err(TooDeep {
                finalized: block(5, 0)
            })
        );
        assert_eq!(
            tip.revert_to(None),
            Err(TooDeep {
                finalized: block(5, 0)
            })
        );
        let heights: Vec<_> = tip
            .revert_to(Some(5))
            .unwrap()
            .iter()
            .map(|b| b.height)
            .collect();
        assert_eq!(heights, [9, 8, 7, 6]);
        assert_eq!(tip.head(), Some(block(5, 0)));
    }

    #[test]
    fn a_reorganisation_below_the_first_block_empties_the_chain() {
        let mut tip = chain(5..=7);
        assert_eq!(tip.revert_to(None).unwrap().len(), 3);
        assert_eq!(tip, ChainTip::default());
    }

    #[test]
    fn memory_stays_bounded_when_blocks_become_final() {
        let mut tip = ChainTip::default();
        for height in 0..5000 {
            tip.push(block(height, 0));
            tip.finalize(height.saturating_sub(64));
        }
        assert!(tip.window.len() <= KEPT + 64);
        assert_eq!(tip.at(4990), Some(block(4990, 0)));
    }
}
