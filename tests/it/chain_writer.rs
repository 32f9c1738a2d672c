//! What a source appends is a valid chain, whatever heads it is given.

use std::sync::{Arc, Mutex};

use cairn_domain::{BlockRef, Event, Hash};
use cairn_engine::sources::{ChainWriter, DeepReorg, SourceError, Standing, evm};
use proptest::prelude::*;
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::{
    fold_properties::block_on,
    sources_world::{FakeNode, World, block_json, node_config, receipts_json},
    support::rounds,
};

/// Blocks that stand on each other in many ways. Block 0 and some others stand on none of them.
struct Tree {
    blocks: Vec<Value>,
    below: Vec<Option<usize>>,
}

/// The height of the lowest blocks.
const FIRST: u64 = 7;

fn number(block: &Value) -> u64 {
    u64::from_str_radix(&block["number"].as_str().expect("hex")[2..], 16).expect("a number")
}

impl Tree {
    fn new(random: &mut impl Rng, blocks: usize) -> Self {
        let mut tree = Self {
            blocks: Vec::new(),
            below: Vec::new(),
        };
        for index in 0..blocks {
            // Mostly long branches, some twigs, few trees of their own.
            let below = match random.random_range(0..100) {
                _ if index == 0 => None,
                0..85 => Some(index - 1),
                85..98 => Some(random.random_range(0..index)),
                _ => None,
            };
            tree.add(index, below, random);
        }
        tree
    }

    fn add(&mut self, index: usize, below: Option<usize>, random: &mut impl Rng) {
        let height = below.map_or(FIRST, |below| number(&self.blocks[below]) + 1);
        let mut block = block_json(0, u64::MAX, height, random.random_range(0..3));
        let hash = json!(Hash(random.random()));
        block["hash"] = hash.clone();
        block["parentHash"] = match below {
            Some(below) => self.blocks[below]["hash"].clone(),
            None => json!(Hash([index as u8; 32])),
        };
        for transaction in block["transactions"].as_array_mut().expect("a list") {
            transaction["blockHash"] = hash.clone();
            transaction["hash"] = json!(Hash(random.random()));
        }
        self.blocks.push(block);
        self.below.push(below);
    }

    fn decoded(&self, index: usize) -> evm::DecodedBlock {
        let block = &self.blocks[index];
        let receipts = receipts_json(block).to_string();
        evm::decode(&block.to_string(), Some(&receipts)).expect("a block")
    }

    fn reference(&self, index: usize) -> BlockRef {
        self.decoded(index).reference()
    }

    /// A block and all below it, highest first.
    fn branch(&self, head: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(head), |index| self.below[*index])
    }

    fn at(&self, head: usize, height: u64) -> Option<&Value> {
        let mut branch = self.branch(head).map(|index| &self.blocks[index]);
        branch.find(|block| number(block) == height)
    }
}

/// What the events say of the chain so far, lowest block first.
#[derive(Default)]
struct Told {
    chain: Vec<BlockRef>,
    finalized: Option<BlockRef>,
}

impl Told {
    /// Takes an event in; panics where it does not fit to those before it.
    fn take(&mut self, event: &Event) {
        let head = self.chain.last().copied();
        match event {
            Event::BlockAppended(event) => {
                if let Some(head) = head {
                    assert_eq!(
                        event.parent, head.hash,
                        "{} stands on the head",
                        event.block
                    );
                    assert_eq!(event.block.height, head.height + 1, "{}", event.block);
                }
                self.chain.push(event.block);
            }
            Event::BlockReverted(event) => {
                assert_eq!(Some(event.block), head, "a revert names the head");
                assert!(
                    self.finalized.is_none_or(|f| f.height < event.block.height),
                    "{} is final",
                    event.block
                );
                self.chain.pop();
            }
            Event::BlockFinalized(event) => {
                assert!(
                    self.chain.contains(&event.block),
                    "{} is in the chain",
                    event.block
                );
                assert!(
                    self.finalized <= Some(event.block),
                    "{} is below what is final",
                    event.block
                );
                self.finalized = Some(event.block);
            }
            Event::ChainReset(_) => *self = Self::default(),
            Event::TransactionIncluded(_) | Event::TransactionExecuted(_) => {
                assert!(head.is_some(), "a transaction is in a block");
            }
            other => panic!("nobody asked for {other:?}"),
        }
    }
}

async fn told(world: &World) -> Told {
    let mut told = Told::default();
    world
        .events()
        .await
        .iter()
        .for_each(|event| told.take(event));
    told
}

/// Brings a writer to a head, as a source does. Says whether it may.
async fn follow(chain: &mut ChainWriter, tree: &Tree, head: usize, random: &mut StdRng) -> bool {
    let final_height = |random: &mut StdRng| {
        random
            .random_bool(0.2)
            .then(|| number(&tree.blocks[head]).saturating_sub(random.random_range(0..12)))
    };
    let block = tree.decoded(head);
    match chain
        .judge(block.reference(), block.block.parent)
        .await
        .expect("a standing")
    {
        Standing::Known => return true,
        Standing::Next if chain.tip().head().is_some() => {
            let is_final = final_height(random);
            chain.append(block, is_final).await.expect("an append");
            return true;
        }
        Standing::Next | Standing::Gap { .. } | Standing::Fork | Standing::Below => {}
    }
    let (mut missing, mut fork) = (Vec::new(), None);
    for index in tree.branch(head) {
        let block = tree.reference(index);
        if chain.hash_at(block.height).await.expect("a hash") == Some(block.hash) {
            fork = Some(block.height);
            break;
        }
        missing.push(index);
    }
    let before = chain.tip().clone();
    match chain.revert_to(fork).await {
        Ok(_) => {}
        Err(SourceError::ReorgTooDeep { .. }) => {
            assert_eq!(chain.tip(), &before, "a refusal changes nothing");
            return false;
        }
        Err(other) => panic!("{other}"),
    }
    for index in missing.into_iter().rev() {
        let is_final = final_height(random);
        chain
            .append(tree.decoded(index), is_final)
            .await
            .expect("an append");
    }
    true
}

async fn random_heads(seed: u64, heads: usize) {
    let mut random = StdRng::seed_from_u64(seed);
    let tree = Tree::new(&mut random, 120);
    let mut world = World::new().await;
    let mut chain = ChainWriter::open("eth", &world.context())
        .await
        .expect("a writer");
    for _ in 0..heads {
        let head = random.random_range(0..tree.blocks.len());
        let followed = follow(&mut chain, &tree, head, &mut random).await;
        let known = chain.tip().at(number(&tree.blocks[head])) == Some(tree.reference(head));
        assert!(!followed || known || chain.tip().finalized().is_some());
        match random.random_range(0..20) {
            0..4 => chain.flush().await.expect("a flush"),
            4 => chain
                .finalize(number(&tree.blocks[head]))
                .await
                .expect("finality"),
            5 if random.random_bool(0.3) => {
                chain.reset("for a test".into()).await.expect("a reset")
            }
            // What was not flushed is lost with the process.
            6 => {
                drop(chain);
                world = world.reopen().await;
                chain = ChainWriter::open("eth", &world.context())
                    .await
                    .expect("a writer");
            }
            _ => {}
        }
    }
    chain.flush().await.expect("a flush");
    let told = told(&world).await;
    assert_eq!(told.chain.last().copied(), chain.tip().head());
    assert_eq!(told.finalized, chain.tip().finalized());
    assert_eq!(
        world.canonical("eth").await,
        told.chain,
        "the fold tells the same"
    );
}

/// A node whose head jumps about the tree whenever it is asked.
struct Jumper {
    tree: Tree,
    head: usize,
    random: StdRng,
    jumps: usize,
}

impl Jumper {
    fn answer(&mut self, method: &str, params: &Value) -> Result<Value, Value> {
        if self.jumps > 0 && self.random.random_bool(0.1) {
            self.jumps -= 1;
            self.head = self.random.random_range(0..self.tree.blocks.len());
        }
        let head = &self.tree.blocks[self.head];
        let block = match params[0].as_str() {
            Some("latest") => Some(head),
            Some("finalized") => None,
            Some(tag) if tag.len() < 20 => {
                let height = u64::from_str_radix(&tag[2..], 16).expect("a height");
                self.tree.at(self.head, height)
            }
            _ => None,
        };
        match method {
            "eth_chainId" => Ok(json!("0x1")),
            "eth_getBlockByNumber" => Ok(block.cloned().unwrap_or_default()),
            "eth_getBlockReceipts" => Ok(block.map(receipts_json).unwrap_or_default()),
            _ => Err(json!({"code": -32601, "message": "method not found"})),
        }
    }
}

async fn jumping_node(seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    let tree = Tree::new(&mut random, 100);
    let last = tree.reference(tree.blocks.len() - 1);
    let wanted: Vec<_> = tree
        .branch(tree.blocks.len() - 1)
        .map(|index| tree.reference(index))
        .collect();
    let depth = random.random_range(3..40);
    let jumper = Arc::new(Mutex::new(Jumper {
        tree,
        head: 0,
        random,
        jumps: 40,
    }));
    let shared = Arc::clone(&jumper);
    let node = FakeNode::answering(move |method, params| {
        shared
            .lock()
            .expect("no panic holds it")
            .answer(method, params)
    })
    .await;
    let world = World::new().await;
    let mut config = node_config("eth", node.url.clone());
    config.start = FIRST;
    config.finality_depth = depth;
    config.on_deep_reorg = DeepReorg::Reset;
    let source = world.follow(config);
    let calm = async {
        while jumper.lock().expect("no panic holds it").jumps > 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), calm)
        .await
        .expect("the node is asked on");
    {
        let mut jumper = jumper.lock().expect("no panic holds it");
        jumper.head = jumper.tree.blocks.len() - 1;
    }
    world.reach("eth", last).await;
    source.stop().await;
    let told = told(&world).await;
    let wanted: Vec<_> = wanted.into_iter().rev().collect();
    assert_eq!(told.chain, wanted, "seed {seed}");
    assert_eq!(
        world.canonical("eth").await,
        told.chain,
        "the fold tells the same"
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: rounds(50) as u32, ..ProptestConfig::default() })]

    #[test]
    fn whatever_heads_a_writer_is_given_its_events_form_a_valid_chain(seed: u64, heads in 1usize..120) {
        block_on(random_heads(seed, heads));
    }

    #[test]
    fn a_node_whose_head_jumps_about_while_it_is_read_is_followed_by_a_valid_chain(seed: u64) {
        block_on(jumping_node(seed));
    }
}
