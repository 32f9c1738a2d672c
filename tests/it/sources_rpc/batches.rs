//! Nodes that take small batches, or none.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::{Shared, fork, head, requests::without_block_receipts, shared};
use crate::sources_world::{FakeNode, Reply, World, answer_all, node_config};

type Answering = fn(&Shared, &str, &Value) -> Result<Value, Value>;

fn plain(chain: &Shared, method: &str, params: &Value) -> Result<Value, Value> {
    chain.lock().unwrap().answer(method, params)
}

/// A node that refuses batches of more than `limit` calls, and how many it refused.
async fn limited(
    chain: &Shared,
    limit: usize,
    answer: Answering,
    refusal: fn(&Value) -> Reply,
) -> (FakeNode, Arc<Mutex<usize>>) {
    let (chain, refused) = (Arc::clone(chain), Arc::<Mutex<usize>>::default());
    let count = Arc::clone(&refused);
    let node = FakeNode::new(move |request| {
        if request.as_array().is_some_and(|calls| calls.len() > limit) {
            *count.lock().unwrap() += 1;
            return refusal(&request);
        }
        Reply::Json(answer_all(&request, &|method, params| {
            answer(&chain, method, params)
        }))
    })
    .await;
    (node, refused)
}

fn error(id: &Value, code: i64, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}

fn too_large(_: &Value) -> Reply {
    Reply::Json(error(&Value::Null, -32600, "batch too large").to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deep_reorganisation_is_followed_on_a_node_that_takes_100_calls_at_once() {
    let chain = shared(0, 600);
    let (node, refused) = limited(&chain, 100, plain, too_large).await;
    let world = World::new().await;
    let mut config = node_config("eth", node.url.clone());
    config.finality_depth = 10_000;
    let source = world.follow(config);
    world.reach("eth", head(&chain)).await;
    let next = fork(&chain, 1, 100, 600);
    world.reach("eth", next).await;
    source.stop().await;
    let refused = *refused.lock().unwrap();
    assert!(
        (1..60).contains(&refused),
        "the size that works is not remembered: {refused} were refused"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn single_receipts_come_in_batches_as_small_as_the_node_takes() {
    let chain = shared(0, 60);
    let (node, _) = limited(&chain, 3, without_block_receipts, too_large).await;
    let world = World::new().await;
    let source = world.follow(node_config("eth", node.url.clone()));
    world.reach("eth", head(&chain)).await;
    source.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_batches_is_followed_and_keeps_its_receipts_of_blocks() {
    type Refusal = (&'static str, fn(&Value) -> Reply);
    const REFUSALS: &[Refusal] = &[
        ("an object", too_large),
        ("an object that says unsupported", |_| {
            let message = "batch requests are not supported";
            Reply::Json(error(&Value::Null, -32601, message).to_string())
        }),
        ("an answer to the first call", |request| {
            Reply::Json(json!([error(&request[0]["id"], -32600, "batch too large")]).to_string())
        }),
        ("an answer to each call", |request| {
            let calls = request.as_array().unwrap().iter();
            let each = calls.map(|call| error(&call["id"], -32601, "batch not supported"));
            Reply::Json(each.collect::<Value>().to_string())
        }),
        ("a status", |_| {
            Reply::Raw(400, "", "expected an object".into())
        }),
    ];
    for (name, refusal) in REFUSALS {
        let chain = shared(0, 20);
        // It knows no single receipts: were eth_getBlockReceipts switched off, nothing would come.
        let (node, _) = limited(&chain, 1, plain, *refusal).await;
        let world = World::new().await;
        let source = world.follow(node_config("eth", node.url.clone()));
        world.reach("eth", head(&chain)).await;
        let next = fork(&chain, 1, 10, 22);
        world.reach("eth", next).await;
        source.stop().await;
        assert_eq!(world.canonical("eth").await.len(), 23, "{name}");
    }
}
