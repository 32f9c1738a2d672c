//! How far back reads may go, and what is kept all the same.

use std::{ops::ControlFlow, sync::Arc, time::Duration};

use cairn_domain::{
    BlockRef, Event, Hash, Position, Stream,
    commit::NewCommit,
    events::{BlockAppended, BlockFinalized, BlockReverted},
    projections::blocks::CanonicalBlocks,
};
use cairn_engine::{
    health::Health,
    log::wait_for,
    runner::{History, Runner, RunnerOptions},
    store::StoreError,
};

use crate::support::{Site, fresh_fold};

/// A chain whose blocks follow each other at an even pace.
struct Chain {
    stream: Stream,
    from: u64,
    pace: u64,
}

impl Chain {
    fn new(name: &str, from: u64, pace: u64) -> Self {
        let stream = Stream::chain(name).expect("a name");
        Self { stream, from, pace }
    }

    fn block(&self, height: u64) -> BlockRef {
        let mut hash = [self.stream.as_str().len() as u8; 32];
        hash[24..].copy_from_slice(&height.to_be_bytes());
        BlockRef {
            height,
            hash: Hash(hash),
        }
    }

    fn append(&self, height: u64, is_final: bool) -> NewCommit {
        let Some(Event::BlockAppended(example)) = Event::examples().into_iter().next() else {
            panic!("the first example is a block");
        };
        let block = self.block(height);
        let mut events: Vec<Event> = vec![
            BlockAppended {
                block,
                parent: self.block(height.wrapping_sub(1)).hash,
                timestamp: self.from + self.pace * height,
                withdrawals: Vec::new(),
                transaction_count: 0,
                ..example
            }
            .into(),
        ];
        if is_final {
            events.push(BlockFinalized { block }.into());
        }
        NewCommit::new(&self.stream, 0, &events)
    }

    fn finals(&self, heights: std::ops::Range<u64>) -> Vec<NewCommit> {
        heights.map(|height| self.append(height, true)).collect()
    }

    fn revert(&self, height: u64) -> NewCommit {
        let block = self.block(height);
        NewCommit::new(&self.stream, 0, &[BlockReverted { block }.into()])
    }
}

/// Appends, and folds commit by commit while only a span is kept.
async fn fold_with_span(site: &Site, commits: &[NewCommit], span: Duration) {
    let options = RunnerOptions {
        batch_bytes: 1,
        history: History::Span(span),
        trim_interval: Duration::ZERO,
    };
    let (log, store) = (Arc::clone(&site.log), Arc::clone(&site.store));
    let runner = Runner::spawn(log, store, &Arc::new(Health::default()), options).expect("a fold");
    let head = site.append(commits).await;
    assert!(wait_for(&mut site.store.position(), head, Duration::from_secs(20)).await);
    runner.stop().await.expect("a fold without failure");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_ended_long_ago_holds_back_no_other_chains_trimming() {
    let (old, live) = (
        Chain::new("old", 1_000_000, 10),
        Chain::new("live", 1_700_000_000, 100),
    );
    let site = Site::new().await;
    let commits = [old.finals(0..3), live.finals(0..20)].concat();
    fold_with_span(&site, &commits, Duration::from_secs(500)).await;
    // The live chain's height 14 is 500 seconds old, and three positions are the old chain's.
    assert_eq!(site.store.oldest(), Position(18));
    let view = site.store.view(None).expect("a view");
    let ends = view.ends(&old.stream).expect("a read").expect("a chain");
    assert_eq!(ends.head, old.block(2), "what it came to can be read");
    let height = view.position_of(&live.stream, 14).expect("inside the span");
    assert_eq!(height, Some(Position(18)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_began_inside_the_span_can_be_read_from_its_first_block_on() {
    let (live, young) = (
        Chain::new("live", 1_700_000_000, 100),
        Chain::new("young", 1_700_000_050, 100),
    );
    let site = Site::new().await;
    let mut commits = live.finals(0..10);
    commits.extend(young.finals(0..3));
    commits.extend(live.finals(10..12));
    fold_with_span(&site, &commits, Duration::from_secs(100)).await;
    // The young chain ended 850 seconds before the newest block: the span of the live one counts.
    assert_eq!(site.store.oldest(), Position(14));
    let site = Site::new().await;
    fold_with_span(&site, &commits, Duration::from_secs(1_080)).await;
    assert_eq!(site.store.oldest(), Position(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_that_are_not_final_can_be_taken_back_however_old_they_are() {
    let (idle, live) = (
        Chain::new("idle", 1_000_000, 10),
        Chain::new("live", 1_700_000_000, 100),
    );
    let site = Site::new().await;
    let mut commits = idle.finals(0..2);
    commits.extend([idle.append(2, false), idle.append(3, false)]);
    commits.extend(live.finals(0..20));
    fold_with_span(&site, &commits, Duration::from_secs(500)).await;
    assert_eq!(site.store.oldest(), Position(2), "the fork");
    let reverts = [idle.revert(3), idle.revert(2)];
    fold_with_span(&site, &reverts, Duration::from_secs(500)).await;
    let view = site.store.view(None).expect("a view");
    let ends = view.ends(&idle.stream).expect("a read").expect("a chain");
    assert_eq!(ends.head, idle.block(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_blocks_wait_for_a_rebuild_the_fold_goes_on_and_trims_nothing() {
    let chain = Chain::new("eth", 1_700_000_000, 100);
    let site = fresh_fold(&chain.finals(0..10)).await;
    site.store
        .age_projection("blocks")
        .expect("an older version");
    let more: Vec<_> = (10..20).map(|height| chain.append(height, true)).collect();
    fold_with_span(&site, &more, Duration::from_secs(100)).await;
    assert_eq!(site.store.oldest(), Position(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_view_that_trimming_overtakes_says_that_its_past_is_gone() {
    let chain = Chain::new("eth", 1_700_000_000, 12);
    let site = fresh_fold(&chain.finals(0..6)).await;
    let view = site.store.view(Some(Position(2))).expect("a view");
    let stream = &chain.stream;
    assert!(view.ends(stream).is_ok());
    site.store.trim(Position(5)).expect("a trimming");
    // What it forgets goes when files are written; until then the view could still be read.
    site.store.flush().expect("a flush");
    let scanned =
        view.scan::<CanonicalBlocks>(stream, &(), None, |_| Ok(ControlFlow::Continue(())));
    for read in [
        view.ends(stream).map(|_| ()),
        view.chains().map(|_| ()),
        view.position_of(stream, 1).map(|_| ()),
        scanned,
    ] {
        assert!(
            matches!(
                read,
                Err(StoreError::Trimmed {
                    asked: Position(2),
                    oldest: Position(5)
                })
            ),
            "{read:?}"
        );
    }
}
