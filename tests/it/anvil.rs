//! The source against a real node.

use std::time::{Duration, Instant};

use cairn_domain::{BlockRef, Event};
use cairn_engine::{health::Phase, sources};
use serde_json::json;

use crate::sources_world::World;

mod answers;
mod contracts;
mod node;

use node::Anvil;

/// Bytecode of a contract whose every call returns `name` as an ABI string, and that reports an
/// ERC-20 transfer when it is called with a value.
fn token(name: &[u8]) -> String {
    assert!(name.len() < 32);
    let mut word = [0; 32];
    word[..name.len()].copy_from_slice(name);
    // callvalue, jumpi → transfer; else return (0x20, length, word).
    let transfer = "5b600160005260016002\
        7fddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef\
        60206000a300";
    let answer = format!(
        "602060005260{:02x}6020527f{}60405260606000f3",
        name.len(),
        word.iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<String>()
    );
    let jump = 4 + answer.len() / 2;
    let runtime = format!("3460{jump:02x}57{answer}{transfer}");
    let length = runtime.len() / 2;
    format!("0x60{length:02x}600c60003960{length:02x}6000f3{runtime}")
}

/// What the node itself says of every block equals what the world has.
async fn equals_the_node(world: &World, anvil: &Anvil) {
    for block in world.canonical("anvil").await {
        let tag = format!("0x{:x}", block.height);
        let own = anvil
            .call("eth_getBlockByNumber", json!([tag, false]))
            .await;
        assert_eq!(
            own["hash"],
            block.hash.to_string(),
            "block {}",
            block.height
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reorganisations_of_a_real_node_equal_a_fresh_follow() {
    let anvil = Anvil::start(None, &[]).await;
    anvil.transfer(80).await;
    let world = World::new().await;
    let source = world.follow(anvil.config());
    world.reach("anvil", anvil.head().await).await;
    for depth in [1, 7, 64] {
        anvil.transfer(3).await;
        world.reach("anvil", anvil.head().await).await;
        let started = Instant::now();
        anvil.call("anvil_reorg", json!([depth, []])).await;
        let (head, served) = (anvil.head().await, started.elapsed());
        world.reach("anvil", head).await;
        let converged = started.elapsed() - served;
        eprintln!("depth {depth}: served after {served:?}, followed {converged:?} later");
        assert!(converged < Duration::from_millis(2_500), "{converged:?}");
        equals_the_node(&world, &anvil).await;
    }
    // What is final becomes known a little after the head.
    tokio::time::sleep(Duration::from_millis(300)).await;
    source.stop().await;
    let fresh = World::new().await;
    let source = fresh.follow(anvil.config());
    fresh.reach("anvil", anvil.head().await).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    source.stop().await;
    assert_eq!(world.ends("anvil").await, fresh.ends("anvil").await);
    assert_eq!(
        world.canonical("anvil").await,
        fresh.canonical("anvil").await
    );
    assert_eq!(world.digests().await, fresh.digests().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_with_other_blocks_on_top_is_followed_and_a_bare_rollback_is_lag() {
    let anvil = Anvil::start(None, &[]).await;
    anvil.transfer(20).await;
    let world = World::new().await;
    let source = world.follow(anvil.config());
    let before = anvil.head().await;
    world.reach("anvil", before).await;
    anvil.call("anvil_rollback", json!([3])).await;
    world.phase("anvil", Phase::Following, "behind").await;
    assert_eq!(world.head("anvil").await, Some(before));
    anvil.transfer(5).await;
    world.reach("anvil", anvil.head().await).await;
    equals_the_node(&world, &anvil).await;
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn restarts_of_node_and_source_lose_and_double_nothing() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("state.json");
    let arguments = [
        "--state",
        file.to_str().unwrap(),
        "--preserve-historical-states",
    ];
    let mut anvil = Anvil::start(None, &arguments).await;
    anvil.transfer(10).await;
    let mut world = World::new().await;
    let source = world.follow(anvil.config());
    world.reach("anvil", anvil.head().await).await;
    anvil.terminate();
    world.phase("anvil", Phase::Waiting, "").await;
    let anvil = anvil.restart(&arguments).await;
    anvil.transfer(5).await;
    world.reach("anvil", anvil.head().await).await;
    source.stop().await;
    world = world.reopen().await;
    anvil.transfer(5).await;
    let source = world.follow(anvil.config());
    world.reach("anvil", anvil.head().await).await;
    source.stop().await;
    equals_the_node(&world, &anvil).await;
    let appended = world
        .events()
        .await
        .into_iter()
        .filter(|e| matches!(e, Event::BlockAppended(_)));
    assert_eq!(appended.count() as u64, anvil.head().await.height + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn token_contracts_are_asked_for_their_name_once() {
    let anvil = Anvil::start(None, &[]).await;
    let world = World::new().await;
    let source = world.follow(anvil.config());
    let from = anvil.call("eth_accounts", json!([])).await[0].clone();
    let receipt = anvil
        .send(json!({"from": from, "data": token(b"Demo")}))
        .await;
    let contract = &receipt["contractAddress"];
    for _ in 0..3 {
        anvil
            .send(json!({"from": from, "to": contract, "value": "0x1"}))
            .await;
    }
    let described = async {
        loop {
            let tokens: Vec<_> = world
                .events()
                .await
                .into_iter()
                .filter_map(|event| match event {
                    Event::TokenDescribed(token) => Some(token),
                    _ => None,
                })
                .collect();
            if !tokens.is_empty() {
                return tokens;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), described)
        .await
        .expect("a description");
    tokio::time::sleep(Duration::from_millis(200)).await;
    source.stop().await;
    let tokens = world
        .events()
        .await
        .into_iter()
        .filter_map(|event| match event {
            Event::TokenDescribed(token) => Some(token),
            _ => None,
        });
    let tokens: Vec<_> = tokens.collect();
    assert_eq!(tokens.len(), 1, "{tokens:?}");
    assert_eq!(tokens[0].name.as_deref(), Some("Demo"));
    assert_eq!(tokens[0].contract.to_string(), contract.as_str().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn balances_are_those_of_the_node_at_the_named_block() {
    let anvil = Anvil::start(None, &[]).await;
    anvil.transfer(3).await;
    let block = anvil.head().await;
    let account = anvil.call("eth_accounts", json!([])).await[0]
        .as_str()
        .unwrap()
        .to_owned();
    let wanted = anvil
        .call("eth_getBalance", json!([account, "latest"]))
        .await;
    anvil.transfer(4).await;
    let node = sources::node_state(&anvil.config()).unwrap().unwrap();
    let balance = node
        .balance(&account.parse().unwrap(), block)
        .await
        .unwrap();
    assert_eq!(format!("0x{:x}", balance.0), wanted.as_str().unwrap());
    let gone = BlockRef {
        hash: cairn_domain::Hash([7; 32]),
        ..block
    };
    assert!(
        node.balance(&account.parse().unwrap(), gone).await.is_err(),
        "another branch's block"
    );
}
