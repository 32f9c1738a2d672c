//! From decoded blocks to commits in the log, for every source alike.
//!
//! There is no checkpoint of its own: where the chain is comes from the log, through the store that
//! was folded from it.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use cairn_domain::{
    BlockRef, Event, Hash, Stream,
    commit::NewCommit,
    events::{BlockFinalized, BlockReverted, ChainReset, TokenDescribed},
};
use tokio::time::Instant;

use super::{
    SourceContext, SourceError,
    evm::DecodedBlock,
    tip::{ChainTip, Standing},
};
use crate::{
    health::{Health, Phase},
    log::{Log, Writer, wait_for},
    store::{ReadView, Store, StoreError},
};

/// How often a source that waits for the fold looks whether it still runs.
const FOLD_PATIENCE: Duration = Duration::from_millis(500);

/// Why the fold has stopped, if it has.
fn fold_failure(health: &Health) -> Option<String> {
    let (fold, _) = health.snapshot().remove("fold")?;
    (fold.phase == Phase::Failed).then(|| fold.detail.unwrap_or_default())
}

/// Commits wait for each other up to this many bytes or commits before they are appended together.
const BATCH_BYTES: usize = 4 << 20;
const BATCH_COMMITS: usize = 1024;

/// The only one that appends to a chain's stream.
pub struct ChainWriter {
    name: String,
    stream: Stream,
    tip: ChainTip,
    /// Time of the head, milliseconds since 1970: the event time of what no block carries.
    time: u64,
    log: Arc<dyn Log>,
    writer: Arc<dyn Writer>,
    store: Arc<Store>,
    health: Arc<Health>,
    pending: Vec<NewCommit>,
    pending_bytes: usize,
    pending_since: Option<Instant>,
    /// Whether a revert took back the block that carried the last news of finality: what it said
    /// still holds, but the fold has forgotten it.
    finality_untold: bool,
}

impl ChainWriter {
    /// Learns where the chain is, once the fold has reached the log's head.
    ///
    /// # Errors
    /// [`SourceError::Config`] for a name that no stream can have, [`SourceError::Store`].
    pub async fn open(name: &str, context: &SourceContext) -> Result<Self, SourceError> {
        let stream = Stream::chain(name).map_err(|error| SourceError::Config {
            name: name.into(),
            reason: error.to_string(),
        })?;
        let mut chain = Self {
            name: name.into(),
            stream,
            tip: ChainTip::default(),
            time: 0,
            health: Arc::clone(&context.health),
            log: Arc::clone(&context.log),
            writer: Arc::clone(&context.writer),
            store: Arc::clone(&context.store),
            pending: Vec::new(),
            pending_bytes: 0,
            pending_since: None,
            finality_untold: false,
        };
        chain.load().await?;
        Ok(chain)
    }

    /// What is known of the top of the chain, with what waits to be appended.
    pub fn tip(&self) -> &ChainTip {
        &self.tip
    }

    /// The chain's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The chain's stream.
    pub fn stream(&self) -> &Stream {
        &self.stream
    }

    /// The rows as of the last fold.
    ///
    /// # Errors
    /// [`SourceError::Store`].
    pub fn view(&self) -> Result<ReadView, SourceError> {
        Ok(self.store.view(None)?)
    }

    async fn folded(&self) -> Result<ReadView, SourceError> {
        let head = *self.log.head().borrow();
        // The store outlives this borrow, so the channel cannot close.
        let mut folded = self.store.position();
        while !wait_for(&mut folded, head, FOLD_PATIENCE).await {
            if let Some(reason) = fold_failure(&self.health) {
                return Err(SourceError::Store(StoreError::Unavailable {
                    name: "fold".into(),
                    reason,
                }));
            }
        }
        self.view()
    }

    async fn load(&mut self) -> Result<(), SourceError> {
        let view = self.folded().await?;
        let Some(ends) = view.ends(&self.stream)? else {
            return Ok(());
        };
        let lowest = ends
            .finalized
            .map_or(ends.first.height, |block| block.height);
        let mut window = VecDeque::new();
        for height in lowest..=ends.head.height {
            if let Some(block) = view.canonical(&self.stream, height)? {
                window.push_back(BlockRef {
                    height,
                    hash: block.hash,
                });
                self.time = block.timestamp.saturating_mul(1000);
            }
        }
        self.tip = ChainTip::new(ends.first, ends.finalized, window);
        Ok(())
    }

    /// The hash of our block at a height: from memory, else from the store.
    ///
    /// # Errors
    /// [`SourceError::Log`] and [`SourceError::Store`].
    pub async fn hash_at(&mut self, height: u64) -> Result<Option<Hash>, SourceError> {
        if let Some(block) = self.tip.at(height) {
            return Ok(Some(block.hash));
        }
        if self.tip.head().is_none_or(|head| head.height < height) {
            return Ok(None);
        }
        self.flush().await?;
        let view = self.folded().await?;
        Ok(view
            .canonical(&self.stream, height)?
            .map(|block| block.hash))
    }

    /// What a block is to the chain, with the help of the store where memory does not reach:
    /// [`Standing::Below`] then means below the first indexed block.
    ///
    /// # Errors
    /// As [`Self::hash_at`].
    pub async fn judge(&mut self, block: BlockRef, parent: Hash) -> Result<Standing, SourceError> {
        let standing = self.tip.judge(block, parent);
        if standing != Standing::Below {
            return Ok(standing);
        }
        Ok(match self.hash_at(block.height).await? {
            Some(hash) if hash == block.hash => Standing::Known,
            Some(_) => Standing::Fork,
            None => Standing::Below,
        })
    }

    /// Puts a block, which must be [`Standing::Next`], on top. `final_height` is the highest height
    /// known to be final: a block at or below it carries its own finality; above, it carries the
    /// news of what became final below it. It is durable after the next [`Self::flush`].
    ///
    /// # Errors
    /// [`SourceError::Log`].
    pub async fn append(
        &mut self,
        block: DecodedBlock,
        final_height: Option<u64>,
    ) -> Result<(), SourceError> {
        let reference = block.reference();
        self.time = block.block.timestamp.saturating_mul(1000);
        let mut events = block.into_events();
        self.tip.push(reference);
        let finalized = self.finality_news(final_height);
        events.extend(finalized.map(|block| Event::from(BlockFinalized { block })));
        self.push(&events).await
    }

    /// Judges a block and appends it, durably, if it is [`Standing::Next`].
    ///
    /// # Errors
    /// As [`Self::hash_at`].
    pub async fn take(&mut self, block: DecodedBlock) -> Result<Standing, SourceError> {
        let standing = self.judge(block.reference(), block.block.parent).await?;
        if standing == Standing::Next {
            self.append(block, None).await?;
            self.flush().await?;
        }
        Ok(standing)
    }

    /// Declares what is at or below `height` final, in a commit of its own.
    ///
    /// # Errors
    /// [`SourceError::Log`].
    pub async fn finalize(&mut self, height: u64) -> Result<(), SourceError> {
        match self.finality_news(Some(height)) {
            Some(block) => self.push(&[BlockFinalized { block }.into()]).await,
            None => Ok(()),
        }
    }

    /// The highest final block, if the log does not tell of it yet.
    fn finality_news(&mut self, final_height: Option<u64>) -> Option<BlockRef> {
        let news = final_height.and_then(|height| self.tip.finalize(height));
        let untold = std::mem::take(&mut self.finality_untold);
        news.or_else(|| self.tip.finalized().filter(|_| untold))
    }

    /// Takes back all blocks above `fork`, or all of them, in one commit.
    ///
    /// # Errors
    /// [`SourceError::ReorgTooDeep`], after which nothing has changed; [`SourceError::Log`].
    pub async fn revert_to(&mut self, fork: Option<u64>) -> Result<usize, SourceError> {
        let reverted = self.tip.revert_to(fork);
        let reverted = reverted.map_err(|error| SourceError::too_deep(&self.name, error))?;
        let events: Vec<_> = reverted
            .iter()
            .map(|block| BlockReverted { block: *block }.into())
            .collect();
        if !events.is_empty() {
            self.finality_untold = true;
            self.push(&events).await?;
        }
        Ok(events.len())
    }

    /// Declares all of the chain void: it is empty from here on.
    ///
    /// # Errors
    /// [`SourceError::Log`].
    pub async fn reset(&mut self, reason: String) -> Result<(), SourceError> {
        self.tip = ChainTip::default();
        self.finality_untold = false;
        self.push(&[ChainReset { reason }.into()]).await?;
        self.flush().await
    }

    /// Says what a token contract calls itself.
    ///
    /// # Errors
    /// [`SourceError::Log`].
    pub async fn describe(&mut self, token: TokenDescribed) -> Result<(), SourceError> {
        self.push(&[token.into()]).await
    }

    async fn push(&mut self, events: &[Event]) -> Result<(), SourceError> {
        let commit = NewCommit::new(&self.stream, self.time, events);
        if self.pending_bytes + commit.size() > 2 * BATCH_BYTES {
            self.flush().await?;
        }
        self.pending_since.get_or_insert_with(Instant::now);
        self.pending_bytes += commit.size();
        self.pending.push(commit);
        if self.pending_bytes >= BATCH_BYTES || self.pending.len() >= BATCH_COMMITS {
            self.flush().await?;
        }
        Ok(())
    }

    /// Since when something waits to be appended, if anything does.
    pub(super) fn pending_since(&self) -> Option<Instant> {
        self.pending_since
    }

    /// Returns once everything so far is durable.
    ///
    /// # Errors
    /// [`SourceError::Log`]; what waited is then not in the log, and this writer is of no more use.
    pub async fn flush(&mut self) -> Result<(), SourceError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        self.pending_bytes = 0;
        self.pending_since = None;
        self.writer
            .append(std::mem::take(&mut self.pending))
            .await?;
        Ok(())
    }
}
