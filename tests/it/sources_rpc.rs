//! The source that follows a node: recorded sessions, reorganisations, and nodes that misbehave.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use cairn_domain::{BlockRef, Event};
use cairn_engine::{health::Phase, sources::DeepReorg};
use serde_json::{Value, json};

use crate::sources_world::{FakeNode, World, block_json, hash_of, node_config, receipts_json};

mod batches;
mod faults;
mod requests;
mod sessions;
mod tokens;

/// A chain that a made-up node serves.
#[derive(Default)]
struct Chain {
    blocks: BTreeMap<u64, Value>,
    finalized: Option<u64>,
    chain_id: u64,
}

type Shared = Arc<Mutex<Chain>>;

fn number(text: &Value) -> Option<u64> {
    u64::from_str_radix(text.as_str()?.strip_prefix("0x")?, 16).ok()
}

fn refuse(code: i64, message: &str) -> Result<Value, Value> {
    Err(json!({"code": code, "message": message}))
}

impl Chain {
    /// Blocks of a branch above the fork, up to `head`; what was above is gone.
    fn branch(&mut self, branch: u8, fork: u64, head: u64) -> BlockRef {
        self.blocks.retain(|height, _| *height <= fork);
        for height in fork + 1..=head {
            self.blocks
                .insert(height, block_json(branch, fork, height, 2));
        }
        self.head()
    }

    fn head(&self) -> BlockRef {
        let (height, block) = self.blocks.last_key_value().unwrap();
        BlockRef {
            height: *height,
            hash: block["hash"].as_str().unwrap().parse().unwrap(),
        }
    }

    fn answer(&self, method: &str, params: &Value) -> Result<Value, Value> {
        let at = |tag: &Value| match tag.as_str() {
            Some("latest") => self.blocks.last_key_value().map(|(_, block)| block),
            Some("finalized") => self.blocks.get(&self.finalized?),
            _ => self.blocks.get(&number(tag)?),
        };
        match method {
            "eth_chainId" => Ok(json!(format!("0x{:x}", self.chain_id))),
            "eth_getBlockByNumber" if params[0] == "finalized" && self.finalized.is_none() => {
                refuse(-32602, "unknown tag")
            }
            "eth_getBlockByNumber" => Ok(at(&params[0]).cloned().unwrap_or_default()),
            "eth_getBlockReceipts" => Ok(at(&params[0]).map(receipts_json).unwrap_or_default()),
            _ => refuse(-32601, "method not found"),
        }
    }
}

fn shared(first: u64, head: u64) -> Shared {
    let mut chain = Chain {
        chain_id: 1,
        ..Chain::default()
    };
    for height in first..=head {
        chain
            .blocks
            .insert(height, block_json(0, u64::MAX, height, 2));
    }
    Arc::new(Mutex::new(chain))
}

async fn node(chain: &Shared) -> FakeNode {
    let chain = Arc::clone(chain);
    FakeNode::answering(move |method, params| chain.lock().unwrap().answer(method, params)).await
}

fn head(chain: &Shared) -> BlockRef {
    chain.lock().unwrap().head()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_is_caught_up_with_followed_and_resumed_from_the_logs_own_head() {
    let chain = shared(0, 1500);
    let node = node(&chain).await;
    let mut world = World::new().await;
    let source = world.follow(node_config("eth", node.url.clone()));
    world.reach("eth", head(&chain)).await;
    let next = chain.lock().unwrap().branch(0, 1500, 1510);
    world.reach("eth", next).await;
    world.phase("eth", Phase::Following, "").await;
    source.stop().await;
    world = world.reopen().await;
    let next = chain.lock().unwrap().branch(0, 1510, 1600);
    let source = world.follow(node_config("eth", node.url.clone()));
    world.reach("eth", next).await;
    source.stop().await;
    let appended = world
        .events()
        .await
        .into_iter()
        .filter(|e| matches!(e, Event::BlockAppended(_)));
    assert_eq!(appended.count(), 1601, "no block twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn reorganisations_of_depth_1_7_and_64_equal_a_fresh_follow() {
    let chain = shared(0, 200);
    let node = node(&chain).await;
    let world = World::new().await;
    let source = world.follow(node_config("eth", node.url.clone()));
    world.reach("eth", head(&chain)).await;
    for (branch, depth) in [(1, 1), (2, 7), (3, 64)] {
        // The branch of the fork's own block differs, so blocks are relinked to what is below.
        let next = fork(&chain, branch, 200 - depth, 200);
        let started = Instant::now();
        world.reach("eth", next).await;
        eprintln!(
            "depth {depth}: {:?} with a poll of 20 ms",
            started.elapsed()
        );
        assert!(started.elapsed() < Duration::from_millis(2500));
    }
    source.stop().await;
    let fresh = World::new().await;
    let source = fresh.follow(node_config("eth", node.url.clone()));
    fresh.reach("eth", head(&chain)).await;
    source.stop().await;
    assert_eq!(world.canonical("eth").await, fresh.canonical("eth").await);
    assert_eq!(world.digests().await, fresh.digests().await);
}

/// Puts a branch on whatever stands at `fork`.
fn fork(chain: &Shared, branch: u8, fork: u64, head: u64) -> BlockRef {
    let mut chain = chain.lock().unwrap();
    let below = chain.blocks[&fork]["hash"].clone();
    chain.branch(branch, fork, head);
    chain.blocks.get_mut(&(fork + 1)).unwrap()["parentHash"] = below;
    chain.head()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorganisation_is_one_commit_highest_first_and_then_the_new_branch() {
    let chain = shared(0, 20);
    let node = node(&chain).await;
    let world = World::new().await;
    let source = world.follow(node_config("eth", node.url.clone()));
    world.reach("eth", head(&chain)).await;
    let next = fork(&chain, 1, 17, 21);
    world.reach("eth", next).await;
    source.stop().await;
    let commits = world.commits().await;
    let reverts: Vec<_> = commits
        .iter()
        .filter(|commit| matches!(commit.events[0], Event::BlockReverted(_)))
        .map(|commit| commit.events.len())
        .collect();
    assert_eq!(reverts, [3]);
    let reverted: Vec<_> = world
        .events()
        .await
        .into_iter()
        .filter_map(|event| match event {
            Event::BlockReverted(event) => Some(event.block),
            _ => None,
        })
        .collect();
    let wanted = [20, 19, 18].map(|height| BlockRef {
        height,
        hash: hash_of(0, height),
    });
    assert_eq!(reverted, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lower_head_on_the_same_branch_is_lag_and_changes_nothing() {
    let chain = shared(0, 30);
    let node = node(&chain).await;
    let world = World::new().await;
    let source = world.follow(node_config("eth", node.url.clone()));
    world.reach("eth", head(&chain)).await;
    let before = world.folded().await;
    chain
        .lock()
        .unwrap()
        .blocks
        .retain(|height, _| *height <= 25);
    world.phase("eth", Phase::Following, "behind").await;
    assert_eq!(world.folded().await, before);
    // Now the blocks above come back different: only then is it a reorganisation.
    let next = fork(&chain, 1, 25, 31);
    world.reach("eth", next).await;
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorganisation_below_the_first_indexed_block_is_followed() {
    let chain = shared(0, 30);
    let node = node(&chain).await;
    let world = World::new().await;
    let mut config = node_config("eth", node.url.clone());
    config.start = 25;
    let source = world.follow(config);
    world.reach("eth", head(&chain)).await;
    let next = fork(&chain, 1, 20, 32);
    world.reach("eth", next).await;
    source.stop().await;
    let canonical = world.canonical("eth").await;
    assert_eq!((canonical[0].height, canonical.len()), (25, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reorganisation_below_what_is_final_halts_or_resets_as_configured() {
    let chain = shared(0, 100);
    let node = node(&chain).await;
    let world = World::new().await;
    let mut config = node_config("eth", node.url.clone());
    let source = world.follow(config.clone());
    world.reach("eth", head(&chain)).await;
    let old = head(&chain);
    let next = fork(&chain, 1, 10, 100);
    world.phase("eth", Phase::Failed, "on_deep_reorg").await;
    assert_eq!(world.head("eth").await, Some(old));
    source.stop().await;
    config.on_deep_reorg = DeepReorg::Reset;
    let source = world.follow(config);
    world.reach("eth", next).await;
    source.stop().await;
    let resets = world
        .events()
        .await
        .into_iter()
        .filter(|e| matches!(e, Event::ChainReset(_)));
    assert_eq!(resets.count(), 1);
    assert_eq!(world.canonical("eth").await.len(), 101);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_finalized_tag_decides_what_is_final_and_depth_where_there_is_none() {
    for (tag, wanted) in [(Some(90), 90), (None, 36), (Some(0), 36)] {
        let chain = shared(0, 100);
        chain.lock().unwrap().finalized = tag;
        let node = node(&chain).await;
        let world = World::new().await;
        let source = world.follow(node_config("eth", node.url.clone()));
        world.reach("eth", head(&chain)).await;
        source.stop().await;
        let last = world
            .events()
            .await
            .into_iter()
            .rev()
            .find_map(|event| match event {
                Event::BlockFinalized(event) => Some(event.block.height),
                _ => None,
            });
        assert_eq!(last, Some(wanted), "with the tag at {tag:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_are_asked_one_by_one_where_the_node_knows_no_other_way() {
    let chain = shared(0, 40);
    let shared = Arc::clone(&chain);
    let node = FakeNode::answering(move |method, params| {
        let chain = shared.lock().unwrap();
        match method {
            "eth_getBlockReceipts" => refuse(-32601, "the method does not exist"),
            "eth_getTransactionReceipt" => {
                let receipts = chain
                    .blocks
                    .values()
                    .flat_map(|block| receipts_json(block).as_array().cloned().unwrap_or_default());
                Ok(receipts
                    .into_iter()
                    .find(|r| r["transactionHash"] == params[0])
                    .unwrap_or_default())
            }
            _ => chain.answer(method, params),
        }
    })
    .await;
    let world = World::new().await;
    let source = world.follow(node_config("eth", node.url.clone()));
    world.reach("eth", head(&chain)).await;
    source.stop().await;
    let receipts = world
        .events()
        .await
        .into_iter()
        .filter(|e| matches!(e, Event::TransactionExecuted(_)));
    assert_eq!(receipts.count(), 82);
}
