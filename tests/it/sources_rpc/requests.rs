//! How much is asked of a node, and at how many times.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{Shared, fork, head, refuse, shared};
use crate::sources_world::{FakeNode, Reply, World, answer_all, node_config, receipts_json};

type Seen = Arc<Mutex<Vec<Vec<Value>>>>;

/// A node that keeps what it is asked, request by request.
async fn watched(
    chain: &Shared,
    answer: fn(&Shared, &str, &Value) -> Result<Value, Value>,
) -> (FakeNode, Seen) {
    let (chain, seen) = (Arc::clone(chain), Seen::default());
    let kept = Arc::clone(&seen);
    let node = FakeNode::new(move |request| {
        let calls = match &request {
            Value::Array(calls) => calls.clone(),
            call => vec![call.clone()],
        };
        kept.lock().unwrap().push(calls);
        Reply::Json(answer_all(&request, &|method, params| {
            answer(&chain, method, params)
        }))
    })
    .await;
    (node, seen)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_search_for_a_deep_fork_asks_for_256_headers_at_a_time_at_most() {
    let chain = shared(0, 1500);
    let plain =
        |chain: &Shared, method: &str, params: &Value| chain.lock().unwrap().answer(method, params);
    let (node, seen) = watched(&chain, plain).await;
    let world = World::new().await;
    let mut config = node_config("eth", node.url.clone());
    config.finality_depth = 10_000;
    let source = world.follow(config);
    world.reach("eth", head(&chain)).await;
    let next = fork(&chain, 1, 5, 1500);
    world.reach("eth", next).await;
    source.stop().await;
    let is_header = |call: &&Value| {
        let params = &call["params"];
        params[1] == json!(false) && params[0].as_str().is_some_and(|tag| tag.starts_with("0x"))
    };
    let headers = |calls: &Vec<Value>| calls.iter().filter(is_header).count();
    let longest = seen.lock().unwrap().iter().map(headers).max();
    assert!(
        longest.is_some_and(|longest| (17..=256).contains(&longest)),
        "{longest:?} headers in one request"
    );
}

pub(super) fn without_block_receipts(
    chain: &Shared,
    method: &str,
    params: &Value,
) -> Result<Value, Value> {
    let chain = chain.lock().unwrap();
    match method {
        "eth_getBlockReceipts" => refuse(-32601, "the method does not exist"),
        "eth_getTransactionReceipt" => {
            let all = chain.blocks.values().map(receipts_json);
            let mut all = all.flat_map(|list| list.as_array().cloned().unwrap_or_default());
            Ok(all
                .find(|receipt| receipt["transactionHash"] == params[0])
                .unwrap_or_default())
        }
        _ => chain.answer(method, params),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn single_receipts_of_many_blocks_come_in_one_request() {
    let chain = shared(0, 60);
    let (node, seen) = watched(&chain, without_block_receipts).await;
    let world = World::new().await;
    let source = world.follow(node_config("eth", node.url.clone()));
    world.reach("eth", head(&chain)).await;
    source.stop().await;
    let of_receipts = |calls: &&Vec<Value>| calls[0]["method"] == "eth_getTransactionReceipt";
    let requests = seen.lock().unwrap().iter().filter(of_receipts).count();
    assert!(
        (1..=15).contains(&requests),
        "{requests} requests for the receipts of 61 blocks"
    );
}
