//! Blocks that a person mended, taken while their source waits.

use std::time::Duration;

use super::follow::Follow;
use crate::sources::{SourceError, Standing, offers::Offer};

impl Follow<'_> {
    /// Waits, or until a mended block was appended: then there may be more to do at once.
    pub(super) async fn wait(&mut self, pause: Duration) -> Result<(), SourceError> {
        let over = tokio::time::sleep(pause);
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return Ok(()),
                Some(offer) = self.offers.recv() => {
                    if self.take(offer).await? == Some(Standing::Next) {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Appends an offered block where it fits, and answers. None: nobody waits for it any more.
    pub(super) async fn take(&mut self, offer: Offer) -> Result<Option<Standing>, SourceError> {
        if !offer.is_awaited() {
            return Ok(None);
        }
        let block = offer.block.clone();
        self.make_room(&offer).await?;
        let standing = self.chain.take(block).await?;
        tracing::info!(
            chain = self.chain.name(),
            block = %offer.block.reference(),
            ?standing,
            "a mended block was offered"
        );
        offer.answer(standing);
        Ok(Some(standing))
    }

    /// Takes our branch back where the source is stuck at the first block of the node's branch and
    /// that block is what was mended: what follows it will come from the node.
    async fn make_room(&mut self, offer: &Offer) -> Result<(), SourceError> {
        let (block, parent) = (offer.block.reference(), offer.block.block.parent);
        let standing = self.chain.judge(block, parent).await?;
        if standing != Standing::Fork || self.awaited != Some(block) {
            return Ok(());
        }
        let tip = self.chain.tip();
        if tip
            .first()
            .is_some_and(|first| first.height == block.height)
        {
            // The branch parts below our first block: there is nothing for this one to stand on.
            if tip.finalized().is_none() {
                self.chain.revert_to(None).await?;
            }
            return Ok(());
        }
        let Some(fork) = block.height.checked_sub(1) else {
            return Ok(());
        };
        if self.chain.hash_at(fork).await? == Some(parent) {
            self.chain.revert_to(Some(fork)).await?;
        }
        Ok(())
    }
}
