//! Follows a node: catches up, then appends each new block, and follows it to other branches.

use std::{sync::Arc, time::Duration};

use cairn_domain::BlockRef;
use tokio::sync::mpsc;

use super::{
    backfill::{Backfill, Fetcher},
    fetch::Undecodable,
    heads::Heads,
    identity,
    node::{Ends, Node},
    pace::Pace,
    retry::Backoff,
    rpc::RpcError,
    tokens::TokenAsker,
};
use crate::{
    dead_letters::{DeadLetterArgs, DeadLetters},
    health::{Phase, Reporter},
    sources::{ChainWriter, SourceConfig, SourceContext, SourceError, Standing, offers::Offer},
};

/// Why a source does not go on right now.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The node does not answer; it is asked again soon.
    Node(RpcError),
    /// Only a person can help; a look whether one has is taken from time to time.
    Stuck(SourceError),
    /// The source cannot go on in this process.
    Fatal(SourceError),
}

impl From<RpcError> for Trouble {
    fn from(error: RpcError) -> Self {
        Self::Node(error)
    }
}

impl From<SourceError> for Trouble {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::ReorgTooDeep { .. } | SourceError::WrongChain { .. } => Self::Stuck(error),
            _ => Self::Fatal(error),
        }
    }
}

/// The state of a source that follows a node.
pub(super) struct Follow<'a> {
    pub(super) config: &'a SourceConfig,
    pub(super) chain: ChainWriter,
    pub(super) fetcher: Fetcher,
    reporter: &'a Reporter,
    context: &'a SourceContext,
    tokens: TokenAsker,
    heads: Heads,
    backoff: Backoff,
    pub(super) offers: mpsc::Receiver<Offer>,
    /// The block that did not decode, while the source is stuck at it.
    pub(super) awaited: Option<BlockRef>,
}

/// Runs a node as a source. It ends only when it cannot go on in this process.
pub(in crate::sources) async fn run(
    config: &SourceConfig,
    context: &SourceContext,
    reporter: &Reporter,
) -> Result<(), SourceError> {
    let node = Arc::new(Node::new(config)?);
    reporter.explain(Phase::Starting, "waiting until the log is folded");
    let fetcher = Fetcher {
        node: Arc::clone(&node),
        pace: Arc::new(Pace::new()),
        reporter: reporter.clone(),
        policy: config.retry.clone(),
    };
    let mut follow = Follow {
        config,
        chain: ChainWriter::open(&config.name, context).await?,
        fetcher,
        reporter,
        context,
        tokens: TokenAsker::new(&config.retry),
        heads: Heads::listen(config),
        backoff: Backoff::new(&config.retry),
        offers: context.offers.take(&config.name),
        awaited: None,
    };
    loop {
        let trouble = match follow.session().await {
            Ok(()) => continue,
            Err(trouble) => trouble,
        };
        let pause = follow.explain(trouble)?;
        follow.wait(pause).await?;
    }
}

impl Follow<'_> {
    /// Shows a trouble and says how long to wait.
    fn explain(&mut self, trouble: Trouble) -> Result<Duration, SourceError> {
        match trouble {
            Trouble::Node(error) => {
                tracing::warn!(source = self.config.name, %error, "waiting for the node");
                self.reporter.explain(Phase::Waiting, error.to_string());
                Ok(self.backoff.next(error.retry_after()))
            }
            Trouble::Stuck(error) => {
                tracing::error!(source = self.config.name, %error, "source is stuck");
                self.reporter.explain(Phase::Failed, error.to_string());
                Ok(self.config.retry.stuck)
            }
            Trouble::Fatal(error) => Err(error),
        }
    }

    /// From one contact with the node to the next trouble.
    async fn session(&mut self) -> Result<(), Trouble> {
        let id = self.fetcher.node.chain_id().await?;
        identity::check(&self.context.data_dir, &self.config.name, id)?;
        loop {
            self.round().await?;
            self.backoff.reset();
            self.awaited = None;
            tokio::select! {
                () = self.heads.next(self.config.poll_interval) => {}
                Some(offer) = self.offers.recv() => { self.take(offer).await?; }
            }
        }
    }

    /// Brings the chain to where the node is now.
    async fn round(&mut self) -> Result<(), Trouble> {
        let ends = self.fetcher.node.ends().await?;
        let target = ends.head.block;
        let own = self.chain.tip().head();
        let next = own.map_or(self.config.start, |head| head.height.saturating_add(1));
        if own.is_none() && target.height < next {
            let detail = format!("the node is at block {}, start is {next}", target.height);
            self.reporter.explain(Phase::Waiting, detail);
            return Ok(());
        }
        if own.is_some() && target.height < self.chain.tip().first().map_or(0, |first| first.height)
        {
            // A node that is still syncing: lag, not a reorganisation.
            let detail = format!(
                "the node is at block {}, below our first one",
                target.height
            );
            self.reporter.explain(Phase::Waiting, detail);
            return Ok(());
        }
        if target.height >= next {
            self.catch_up(next, ends).await?;
        } else if self.chain.hash_at(target.height).await? != Some(target.hash) {
            self.reorganize(ends).await?;
        }
        self.finalize(ends).await?;
        self.report(ends);
        let Self {
            tokens,
            fetcher,
            chain,
            ..
        } = self;
        Ok(tokens.ask(&fetcher.node, chain).await?)
    }

    /// News of finality that no block has carried: the node's tag may move between blocks.
    async fn finalize(&mut self, ends: Ends) -> Result<(), Trouble> {
        let target = ends.head.block;
        let same_branch = self.chain.tip().at(target.height) == Some(target);
        if let Some(height) = self.final_height(ends).filter(|_| same_branch) {
            self.chain.finalize(height).await?;
            self.chain.flush().await?;
        }
        Ok(())
    }

    fn report(&self, ends: Ends) {
        let Some(head) = self.chain.tip().head() else {
            return;
        };
        let target = ends.head.block;
        self.reporter.at(head.height, target.height);
        match head.height.checked_sub(target.height) {
            Some(0) => self.reporter.phase(Phase::Following),
            Some(behind) => {
                let detail = format!("the node is {behind} blocks behind what it already served");
                self.reporter.explain(Phase::Following, detail);
            }
            None => self.reporter.phase(Phase::CatchingUp),
        }
    }

    async fn catch_up(&mut self, next: u64, ends: Ends) -> Result<(), Trouble> {
        let last = ends.head.block.height;
        if last - next > 1 {
            self.reporter.phase(Phase::CatchingUp);
        }
        let final_height = self.final_height(ends);
        let mut backfill = Backfill::new(self.fetcher.clone(), next..=last);
        while let Some(fetched) = backfill.next().await? {
            for block in fetched.blocks {
                match self
                    .chain
                    .judge(block.reference(), block.block.parent)
                    .await?
                {
                    Standing::Next => self.chain.append(block, final_height).await?,
                    Standing::Known => {}
                    Standing::Fork => return self.reorganize(ends).await,
                    Standing::Gap { .. } | Standing::Below => {
                        let reason = format!("{} came out of turn", block.reference());
                        return Err(RpcError::Unavailable(reason).into());
                    }
                }
            }
            self.chain.flush().await?;
            if let Some(letter) = fetched.undecodable {
                return Err(self.dead_letter(letter)?);
            }
            self.progress(last);
        }
        Ok(())
    }

    fn progress(&self, target: u64) {
        if let Some(head) = self.chain.tip().head() {
            self.reporter.at(head.height, target);
            if head.height < target {
                self.reporter.phase(Phase::CatchingUp);
            }
        }
    }

    /// The highest height that cannot change any more: what the node calls final, where that makes
    /// sense, else what is deep enough.
    pub(super) fn final_height(&self, ends: Ends) -> Option<u64> {
        let head = ends.head.block.height;
        let depth = self.config.finality_depth;
        let deep = head.checked_sub(depth);
        let Some(finalized) = ends.finalized.map(|header| header.block) else {
            return deep;
        };
        // Nodes that know the tag but have no finality name block 0 for ever.
        let sensible = finalized.height <= head && (finalized.height > 0 || head <= depth);
        let ours = self.chain.tip().at(finalized.height);
        match sensible && ours.is_none_or(|own| own == finalized) {
            true => Some(finalized.height),
            false => deep,
        }
    }

    /// Keeps what does not decode; nothing is appended behind it.
    pub(super) fn dead_letter(&mut self, letter: Undecodable) -> Result<Trouble, Trouble> {
        self.awaited = letter.reference;
        let args = DeadLetterArgs {
            source: self.config.name.clone(),
            chain: self.config.name.clone(),
            height: Some(letter.height),
            hash: letter.reference.map(|block| block.hash),
            reason: letter.error.to_string(),
            block: letter.block,
            receipts: letter.receipts,
        };
        let kept = DeadLetters::new(&self.context.data_dir).put(args);
        let id = kept.map_err(|error| {
            let path = self.context.data_dir.display().to_string();
            Trouble::Fatal(SourceError::Disk {
                path,
                reason: error.to_string(),
            })
        })?;
        Ok(Trouble::Stuck(SourceError::DeadLetter {
            error: letter.error,
            letter: id,
        }))
    }
}
