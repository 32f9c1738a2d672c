//! Nodes that misbehave.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use cairn_engine::{
    dead_letters::DeadLetters,
    health::Phase,
    sources::{Standing, evm::decode},
};
use serde_json::json;

use super::{Shared, fork, head, node, shared};
use crate::sources_world::{FakeNode, Reply, World, answer_all, hash_of, node_config};

/// A node that misbehaves in its own way for the first `bad` requests of blocks.
async fn faulty(chain: &Shared, bad: usize, fault: fn() -> Reply) -> (FakeNode, Arc<AtomicUsize>) {
    let (chain, count) = (Arc::clone(chain), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&count);
    let node = FakeNode::new(move |request| {
        let of_blocks = request.is_array() || request["method"] == "eth_getBlockByNumber";
        if of_blocks && seen.fetch_add(1, Ordering::Relaxed) < bad {
            return fault();
        }
        Reply::Json(answer_all(&request, &|method, params| {
            chain.lock().unwrap().answer(method, params)
        }))
    })
    .await;
    (node, count)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_misbehaves_is_waited_for_with_the_reason_and_nothing_is_lost() {
    type Fault = (&'static str, fn() -> Reply, &'static str);
    const FAULTS: &[Fault] = &[
        (
            "429",
            || Reply::Raw(429, "retry-after: 1\r\n", "slow down".into()),
            "429",
        ),
        ("500", || Reply::Raw(500, "", "boom".into()), "500"),
        (
            "garbage",
            || Reply::Raw(200, "", "<html>hello</html>".into()),
            "not JSON-RPC",
        ),
        (
            "not UTF-8 lengths",
            || Reply::Raw(200, "", String::new()),
            "not JSON-RPC",
        ),
        ("endless", || Reply::Endless, "longer than"),
        (
            "everything refused",
            || {
                Reply::Json(
                    json!({"id": null, "error": {"code": -32600, "message": "batch too large"}})
                        .to_string(),
                )
            },
            "too large",
        ),
    ];
    for (name, fault, words) in FAULTS {
        let chain = shared(0, 60);
        let (node, count) = faulty(&chain, 4, *fault).await;
        let world = World::new().await;
        let mut config = node_config("eth", node.url.clone());
        config.retry.body_bytes = 8 << 20;
        let source = world.follow(config);
        world.phase("eth", Phase::Waiting, words).await;
        if *name == "429" {
            let started = Instant::now();
            world.reach("eth", head(&chain)).await;
            assert!(
                started.elapsed() > Duration::from_millis(900),
                "Retry-After is honoured"
            );
        }
        world.reach("eth", head(&chain)).await;
        assert!(count.load(Ordering::Relaxed) > 4, "{name}");
        source.stop().await;
        assert_eq!(world.canonical("eth").await.len(), 61, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_another_chain_is_refused_loudly_until_the_right_one_is_back() {
    let chain = shared(0, 10);
    let node = node(&chain).await;
    let world = World::new().await;
    let source = world.follow(node_config("eth", node.url.clone()));
    world.reach("eth", head(&chain)).await;
    source.stop().await;
    let next = {
        let mut chain = chain.lock().unwrap();
        chain.chain_id = 5;
        chain.branch(0, 10, 12)
    };
    let source = world.follow(node_config("eth", node.url.clone()));
    world
        .phase(
            "eth",
            Phase::Failed,
            "chain id 5, but this source followed chain id 1",
        )
        .await;
    assert_eq!(world.head("eth").await.map(|head| head.height), Some(10));
    chain.lock().unwrap().chain_id = 1;
    world.reach("eth", next).await;
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_does_not_decode_becomes_one_dead_letter_and_nothing_passes_it() {
    let chain = shared(0, 30);
    let good = chain.lock().unwrap().blocks[&20].clone();
    chain.lock().unwrap().blocks.get_mut(&20).unwrap()["transactions"][0]["value"] = json!("0xzz");
    let node = node(&chain).await;
    let world = World::new().await;
    let source = world.follow(node_config("eth", node.url.clone()));
    world.phase("eth", Phase::Failed, "dead-letter").await;
    assert_eq!(world.head("eth").await.map(|head| head.height), Some(19));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let letters = DeadLetters::new(world.directory.path());
    let letter = letters.list().unwrap().remove(0);
    assert_eq!(letters.list().unwrap().len(), 1);
    assert_eq!(
        (letter.height, letter.hash),
        (Some(20), Some(hash_of(0, 20)))
    );
    assert!(
        letter.reason.contains("`transactions[0].value`"),
        "{}",
        letter.reason
    );
    chain.lock().unwrap().blocks.insert(20, good);
    world.reach("eth", head(&chain)).await;
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_block_of_another_branch_can_be_mended_too() {
    let chain = shared(0, 20);
    let node = node(&chain).await;
    let world = World::new().await;
    let source = world.follow(node_config("eth", node.url.clone()));
    world.reach("eth", head(&chain)).await;
    let (next, good) = {
        let next = fork(&chain, 1, 17, 22);
        let mut chain = chain.lock().unwrap();
        let first = chain.blocks.get_mut(&18).unwrap();
        let good = first.clone();
        first["transactions"][0]["value"] = json!("0xzz");
        (next, good)
    };
    world.phase("eth", Phase::Failed, "dead-letter").await;
    assert_eq!(world.head("eth").await.map(|head| head.height), Some(20));
    let mended = decode(&good.to_string(), None).unwrap();
    let taken = world.offers.offer("eth", mended.clone()).await;
    assert_eq!(taken, Ok(Standing::Next));
    world.reach("eth", next).await;
    assert_eq!(
        world.offers.offer("eth", mended).await,
        Ok(Standing::Known),
        "a second time it is there already"
    );
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_first_block_can_be_mended_where_the_branch_parts_below_it() {
    let chain = shared(0, 30);
    let node = node(&chain).await;
    let world = World::new().await;
    let mut config = node_config("eth", node.url.clone());
    config.start = 25;
    let source = world.follow(config);
    world.reach("eth", head(&chain)).await;
    let (next, good) = {
        let next = fork(&chain, 1, 20, 32);
        let mut chain = chain.lock().unwrap();
        let first = chain.blocks.get_mut(&25).unwrap();
        let good = first.clone();
        first["transactions"][0]["value"] = json!("0xzz");
        (next, good)
    };
    world.phase("eth", Phase::Failed, "dead-letter").await;
    let mended = decode(&good.to_string(), None).unwrap();
    assert_eq!(world.offers.offer("eth", mended).await, Ok(Standing::Next));
    world.reach("eth", next).await;
    source.stop().await;
    let canonical = world.canonical("eth").await;
    assert_eq!((canonical[0].height, canonical.len()), (25, 8));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_until_a_date_is_kept() {
    let chain = shared(0, 10);
    let date = || {
        let headers =
            "date: Sun, 06 Nov 1994 08:49:37 GMT\r\nretry-after: Sun, 06 Nov 1994 08:49:39 GMT\r\n";
        Reply::Raw(503, headers, "back soon".into())
    };
    let (node, _) = faulty(&chain, 1, date).await;
    let world = World::new().await;
    let started = Instant::now();
    let source = world.follow(node_config("eth", node.url.clone()));
    world.reach("eth", head(&chain)).await;
    assert!(
        started.elapsed() > Duration::from_millis(1900),
        "two seconds lie between the node's date and the one it named"
    );
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_at_the_end_of_64_bits_is_waited_out_with_the_reason() {
    let chain = shared(0, 10);
    let last = {
        let mut block = chain.lock().unwrap().blocks[&10].clone();
        block["number"] = json!(format!("0x{:x}", u64::MAX));
        block
    };
    chain.lock().unwrap().blocks.insert(u64::MAX, last);
    let node = node(&chain).await;
    let world = World::new().await;
    let source = world.follow(node_config("eth", node.url.clone()));
    world.phase("eth", Phase::Waiting, "higher").await;
    chain.lock().unwrap().blocks.remove(&u64::MAX);
    world.reach("eth", head(&chain)).await;
    source.stop().await;
}
