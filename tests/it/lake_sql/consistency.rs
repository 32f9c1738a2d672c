//! Every committed row once, and one branch of a chain at a time.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::Arc,
    time::Duration,
};

use cairn_domain::{
    Address, BlockRef, Event, Position,
    commit::NewCommit,
    datasets::{self, CellError, Cells, RowSource},
    events::{BlockReverted, TokenDescribed, Visibility},
};
use cairn_lake::{Follower, canonical_block, sql::SqlCaller};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use super::{Answer, World, canonical, eth};
use crate::{
    fold_properties::{block_on, chains},
    support::{Site, chain::RandomChain, never, rounds},
};

/// Counts rows and nothing else.
#[derive(Default)]
struct Counted(u64);

impl Cells for Counted {
    fn switch(&mut self, _: Option<bool>) {}
    fn int32(&mut self, _: Option<i32>) {}
    fn int64(&mut self, _: Option<i64>) {}
    fn decimal(&mut self, _: Option<i128>) {}
    fn word(&mut self, _: Option<&[u8; 32]>) {}
    fn text(&mut self, _: Option<&str>) {}
    fn bytes(&mut self, _: Option<&[u8]>) {}
    fn time(&mut self, _: Option<i64>) {}
    fn end_row(&mut self) {
        self.0 += 1;
    }
}

/// How many rows each dataset has as of a position, by the store and the log alone.
async fn expected(site: &Site, position: Position) -> BTreeMap<&'static str, u64> {
    let view = site.store.view(Some(position)).expect("a view");
    let mut commits = site
        .log
        .read(Position(1), usize::MAX >> 1)
        .await
        .expect("a log");
    commits.retain(|commit| commit.position <= position);
    let stream = eth();
    let count = |source: RowSource| -> Result<u64, CellError> {
        let mut counted = Counted::default();
        match source {
            RowSource::Blocks(rows) => {
                for (height, _) in canonical(&view) {
                    let block = canonical_block(&view, &stream, height).expect("a read");
                    rows(&block.expect("a block"), &mut counted)?;
                }
            }
            RowSource::Events { rows, .. } => {
                for commit in &commits {
                    rows(&commit.decode().expect("a commit"), &mut counted)?;
                }
            }
        }
        Ok(counted.0)
    };
    let counts = datasets::all().map(|d| (d.name, count(d.source).expect("rows")));
    counts.collect()
}

/// The columns that tell the rows of a dataset apart.
fn identity(dataset: &str) -> &'static str {
    match dataset {
        "blocks" => "hash",
        "transactions" => "hash",
        "logs" => "block_height * 1000 + log_index",
        "token_transfers" => "(block_height * 1000 + log_index) * 100 + part",
        "withdrawals" => "block_height * 1000 + withdrawal_index",
        _ => "position * 1000 + event_index",
    }
}

async fn assert_complete(world: &World) {
    let mut expected_at = BTreeMap::new();
    for dataset in datasets::all() {
        let (name, identity) = (dataset.name, identity(dataset.name));
        let sql = format!("SELECT count(*) AS n, count(DISTINCT {identity}) AS d FROM {name}");
        let answer = world.ask(&sql).await;
        if let Entry::Vacant(vacant) = expected_at.entry(answer.position) {
            vacant.insert(expected(&world.site, answer.position).await);
        }
        let expected = expected_at[&answer.position][name];
        let row = &answer.rows[0];
        assert_eq!(row["n"], expected, "rows of {name}");
        assert_eq!(row["d"], expected, "distinct rows of {name}");
        let count = world.ask(&format!("SELECT count(*) FROM {name}")).await;
        assert_eq!(count.number(), expected, "counted rows of {name}");
    }
    let blocks = world
        .ask("SELECT height, hash, parent_hash FROM blocks ORDER BY height")
        .await;
    let view = world
        .site
        .store
        .view(Some(blocks.position))
        .expect("a view");
    assert_eq!(told(&blocks), canonical(&view));
    assert_one_branch(&blocks);
}

fn told(blocks: &Answer) -> Vec<(u64, String)> {
    let block = |row: &serde_json::Value| {
        let hash = row["hash"].as_str().expect("a hash").to_owned();
        (row["height"].as_u64().expect("a height"), hash)
    };
    blocks.rows.iter().map(block).collect()
}

fn assert_one_branch(blocks: &Answer) {
    for pair in blocks.rows.windows(2) {
        assert_eq!(pair[0]["hash"], pair[1]["parent_hash"], "{pair:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: rounds(100) as u32, ..ProptestConfig::default() })]

    #[test]
    fn a_query_sees_every_committed_row_once(seed: u64, steps in 1usize..150) {
        block_on(async {
            let chain = chains(seed, steps);
            let mut random = StdRng::seed_from_u64(seed);
            let mut world = World::new().await;
            let mut rest = &chain.commits[..];
            while !rest.is_empty() {
                let (now, later) = rest.split_at(random.random_range(1..=rest.len().min(40)));
                world.fold(now).await;
                // The lake is behind the store for a while, or stays there.
                assert_complete(&world).await;
                if random.random_bool(0.8) {
                    world.catch_up().await;
                    assert_complete(&world).await;
                }
                if random.random_bool(0.2) {
                    world.restart().await;
                    assert_complete(&world).await;
                }
                rest = later;
            }
        });
    }
}

/// Follows the log until it is told to stop.
async fn follow(
    mut follower: Follower,
    site: Arc<Site>,
    mut stop: tokio::sync::watch::Receiver<bool>,
) {
    while !*stop.borrow_and_update() {
        let head = *site.log.head().borrow();
        let caught = follower.catch_up(head, &|_, _| (), &mut never()).await;
        caught.expect("the files");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn a_query_sees_one_branch_or_the_other_while_blocks_are_taken_back() {
    block_on(async {
        let World {
            site,
            follower,
            engine,
            lake: _lake,
            directory: _directory,
        } = World::new().await;
        let site = Arc::new(site);
        let runner = site.run(2000);
        let (stop, stopped) = tokio::sync::watch::channel(false);
        let (runtime, followed) = (tokio::runtime::Handle::current(), Arc::clone(&site));
        let following =
            std::thread::spawn(move || runtime.block_on(follow(follower, followed, stopped)));
        let appending = {
            let site = Arc::clone(&site);
            tokio::spawn(async move {
                let mut chain = RandomChain::new("eth", 7);
                for _ in 0..rounds(6000) {
                    let old = chain.commits.len();
                    chain.step();
                    site.append(&chain.commits[old..]).await;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            })
        };
        let mut positions = BTreeSet::new();
        while !appending.is_finished() {
            let sql = "SELECT height, hash, parent_hash, final FROM blocks ORDER BY height";
            let caller = SqlCaller::new(Visibility::Public);
            let blocks = super::ask(&engine, sql, &caller).await.expect("an answer");
            assert_one_branch(&blocks);
            let view = site.store.view(Some(blocks.position)).expect("a view");
            assert_eq!(told(&blocks), canonical(&view), "as of {}", blocks.position);
            let finalized = view
                .ends(&eth())
                .expect("a read")
                .and_then(|ends| ends.finalized);
            for row in &blocks.rows {
                let is_final = finalized.is_some_and(|f| row["height"].as_u64() <= Some(f.height));
                assert_eq!(row["final"], is_final, "{row}");
            }
            positions.insert(blocks.position);
        }
        appending.await.expect("the commits");
        assert!(
            positions.len() > 5,
            "the log moved on between queries: {positions:?}"
        );
        stop.send_replace(true);
        following.join().expect("the lake");
        runner.stop().await.expect("the fold");
    });
}

#[test]
fn events_of_one_commit_are_rows_once_whether_in_files_or_not() {
    block_on(async {
        let mut chain = RandomChain::new("eth", 3);
        (0..300).for_each(|_| chain.step());
        let mut world = World::new().await;
        world.take(&chain.commits).await;
        let sql = "SELECT position, event_index FROM reverts ORDER BY position, event_index";
        let rows = world.ask(sql).await;
        let mut expected = Vec::new();
        for commit in world
            .site
            .log
            .read(Position(1), usize::MAX >> 1)
            .await
            .expect("a log")
        {
            let commit = commit.decode().expect("a commit");
            let events = commit.events.iter().enumerate();
            let reverts = events.filter(|(_, event)| matches!(event, Event::BlockReverted(_)));
            expected.extend(reverts.map(|(index, _)| (commit.position.0, index as u64)));
        }
        let told =
            |row: &serde_json::Value| (row["position"].as_u64(), row["event_index"].as_u64());
        let rows: Vec<_> = rows.rows.iter().map(told).collect();
        let expected: Vec<_> = expected
            .into_iter()
            .map(|(p, i)| (Some(p), Some(i)))
            .collect();
        assert_eq!(rows, expected);
    });
}

#[test]
fn a_file_that_is_full_before_that_of_another_dataset_has_its_rows_once_after_a_start() {
    block_on(async {
        let begun = |seed| {
            let mut chain = RandomChain::new("eth", seed);
            (0..2).for_each(|_| chain.append());
            chain
        };
        let mut chains = (0..).map(begun).filter(|chain| chain.hot() == 2);
        let blocks = chains.next().expect("one of them").commits;
        let mut world = World::new().await;
        // Two rows of one dataset and one of another, in each of so many commits that the first is full.
        let rounds = super::LAYOUT.rows_per_file * 3 / 5;
        for _ in 0..rounds {
            world.take(&blocks).await;
            let view = world.site.store.view(None).expect("a view");
            let ends = view.ends(&eth()).expect("a read").expect("a chain");
            let below = view.canonical(&eth(), ends.first.height).expect("a read");
            let first = BlockRef {
                height: ends.first.height,
                hash: below.expect("a block").hash,
            };
            let revert = |block| Event::from(BlockReverted { block });
            let described = TokenDescribed {
                contract: Address::ZERO,
                name: None,
                symbol: None,
                decimals: None,
            };
            let events = [revert(ends.head), revert(first), described.into()];
            world.take(&[NewCommit::new(&eth(), 1, &events)]).await;
        }
        for _ in 0..2 {
            let count = world.ask("SELECT count(*) FROM reverts").await;
            assert_eq!(count.number(), 2 * rounds);
            let count = world.ask("SELECT count(*) FROM tokens").await;
            assert_eq!(count.number(), rounds);
            let files = world.lake.manifest();
            assert_eq!(files.files_of("reverts").count(), 1, "one is full");
            assert_eq!(files.files_of("tokens").count(), 0, "none is");
            world.restart().await;
            world.catch_up().await;
        }
    });
}

#[test]
fn a_commit_with_rows_of_two_datasets_is_read_once_after_a_start() {
    block_on(async {
        let begun = |seed| {
            let mut chain = RandomChain::new("eth", seed);
            chain.append();
            chain
        };
        // The first block can be taken back.
        let mut chains = (0..).map(begun).filter(|chain| chain.hot() == 1);
        let mut chain = chains.next().expect("one of them");
        (0..60).for_each(|_| chain.append());
        while chain.hot() > 0 {
            chain.finalize();
        }
        let mut world = World::new().await;
        world.take(&chain.commits[..1]).await;
        let view = world.site.store.view(None).expect("a view");
        let block = view.ends(&eth()).expect("a read").expect("a chain").head;
        let described = TokenDescribed {
            contract: Address::ZERO,
            name: None,
            symbol: None,
            decimals: None,
        };
        let events = [BlockReverted { block }.into(), described.into()];
        world.take(&[NewCommit::new(&eth(), 1, &events)]).await;
        // These complete files, so that the manifest tells what is pending.
        world.take(&chain.commits).await;
        for _ in 0..2 {
            for dataset in ["reverts", "tokens"] {
                let count = world.ask(&format!("SELECT count(*) FROM {dataset}")).await;
                assert_eq!(count.number(), 1, "{dataset}");
            }
            world.restart().await;
        }
    });
}
