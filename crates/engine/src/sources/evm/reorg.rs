//! A reorganisation: find where the node's branch leaves ours, fetch the branch, and only then take
//! ours back and put the other on.

use cairn_domain::Hash;

use super::{
    follow::{Follow, Trouble},
    json::{DecodedBlock, Header},
    node::Ends,
    rpc::RpcError,
};
use crate::sources::{DeepReorg, SourceError, TooDeep};

/// Headers are asked for in steps that grow by this factor, from this many on.
const FIRST_STEP: u64 = 16;
const STEP_GROWTH: u64 = 8;
/// More headers than this are not asked for at once: nodes bound their batches.
const LONGEST_STEP: u64 = 256;
/// The node may reorganise again while we look; so often we start over at once.
const RACES: usize = 16;
/// So many blocks of the new branch are checked as a whole before ours is taken back.
const BRANCH: u64 = 256;

/// Where the node's branch leaves ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fork {
    /// Behind this block, which both have.
    At(u64),
    /// Below our first block.
    BelowFirst,
    /// Below what is final.
    TooDeep(TooDeep),
    /// The node changed while we looked.
    Raced,
}

impl Follow<'_> {
    /// Follows the node to its branch.
    pub(super) async fn reorganize(&mut self, mut ends: Ends) -> Result<(), Trouble> {
        self.chain.flush().await?;
        for _ in 0..RACES {
            match self.find_fork(ends.head).await? {
                Fork::At(fork) => {
                    if self.switch(Some(fork), ends).await? {
                        return Ok(());
                    }
                }
                Fork::BelowFirst => {
                    if self.switch(None, ends).await? {
                        return Ok(());
                    }
                }
                Fork::TooDeep(too_deep) => return self.refuse(too_deep).await,
                Fork::Raced => {}
            }
            ends = self.fetcher.node.ends().await?;
        }
        Err(RpcError::Unavailable("it changes its branch faster than it can be read".into()).into())
    }

    async fn find_fork(&mut self, target: Header) -> Result<Fork, Trouble> {
        let Some(head) = self.chain.tip().head() else {
            return Ok(Fork::BelowFirst);
        };
        let floor = self.chain.tip().lowest_fork().unwrap_or_default();
        let mut high = head.height.min(target.block.height);
        let mut step = FIRST_STEP;
        while high >= floor {
            let low = floor.max((high + 1).saturating_sub(step));
            let headers = self.fetcher.node.headers(low, high).await?;
            for header in headers.into_iter().rev() {
                let Some(header) = header else {
                    return Ok(Fork::Raced);
                };
                if self.chain.hash_at(header.block.height).await? == Some(header.block.hash) {
                    return Ok(Fork::At(header.block.height));
                }
            }
            match low.checked_sub(1) {
                Some(below) => high = below,
                None => break,
            }
            step = LONGEST_STEP.min(step * STEP_GROWTH);
        }
        Ok(match self.chain.tip().finalized() {
            Some(finalized) => Fork::TooDeep(TooDeep { finalized }),
            None => Fork::BelowFirst,
        })
    }

    /// Fetches the branch above the fork, checks it and appends it in place of ours. Says whether
    /// it did; if not, the node changed meanwhile.
    async fn switch(&mut self, fork: Option<u64>, ends: Ends) -> Result<bool, Trouble> {
        let tip = self.chain.tip();
        let (from, below) = match fork {
            Some(height) => (height + 1, tip.at(height).map(|block| block.hash)),
            None => (
                tip.first().map_or(self.config.start, |first| first.height),
                None,
            ),
        };
        if from > ends.head.block.height {
            // All that the node has is ours, too: it lags.
            return Ok(true);
        }
        let last = ends.head.block.height.min(from + BRANCH - 1);
        let fetched = self.fetcher.fetch(from..=last).await?;
        if !linked(&fetched.blocks, below) {
            return Ok(false);
        }
        if let Some(letter) = fetched.undecodable.filter(|_| fetched.blocks.is_empty()) {
            return Err(self.dead_letter(letter)?);
        }
        let reverted = self.chain.revert_to(fork).await?;
        tracing::info!(chain = self.chain.name(), reverted, fork, "reorganisation");
        let final_height = self.final_height(ends);
        for block in fetched.blocks {
            self.chain.append(block, final_height).await?;
        }
        self.chain.flush().await?;
        Ok(true)
    }

    /// Below what is final only the operator decides.
    async fn refuse(&mut self, too_deep: TooDeep) -> Result<(), Trouble> {
        let error = SourceError::too_deep(self.chain.name(), too_deep);
        match self.config.on_deep_reorg {
            DeepReorg::Halt => Err(Trouble::Stuck(error)),
            DeepReorg::Reset => {
                tracing::warn!(chain = self.chain.name(), %error, "starting the chain over");
                let reason = format!("the node's branch does not contain {}", too_deep.finalized);
                Ok(self.chain.reset(reason).await?)
            }
        }
    }
}

/// Whether blocks stand on each other, and the first on `below`.
fn linked(blocks: &[DecodedBlock], below: Option<Hash>) -> bool {
    let mut below = below;
    blocks.iter().all(|block| {
        let fits = below.is_none_or(|hash| hash == block.block.parent);
        below = Some(block.reference().hash);
        fits
    })
}
