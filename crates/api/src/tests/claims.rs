//! What holds for every answer.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use axum::http::StatusCode;
use cairn_domain::{
    Address, Amount, BlockRef, Event,
    events::{BlockFinalized, ChainReset},
};
use cairn_engine::sources::NodeState;

use super::fixture::{ALICE, BOB, Server, block, hash, revert, transaction};
use crate::ApiConfig;

async fn server() -> Server {
    Server::start(ApiConfig::default(), BTreeMap::new()).await
}

/// Five blocks of branch 1 with two transactions each; the upper two are replaced by one of
/// branch 2 that has one of their transactions.
async fn reorganised() -> Server {
    let server = server().await;
    for height in 0..5 {
        let nonces = [2 * height, 2 * height + 1];
        server.append("eth", block(1, 1, height, &nonces)).await;
    }
    server.append("eth", revert(1, (3..5).rev())).await;
    server.append("eth", block(2, 1, 3, &[6])).await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_that_was_reorganised_away_is_found_only_when_orphans_are_asked_for() {
    let server = reorganised().await;
    let path = format!("/api/explorer/blocks/{}", hash(1, 4));
    assert_eq!(server.get(&path).await.status, StatusCode::NOT_FOUND);
    let orphan = server.get(&format!("{path}?orphaned=true")).await;
    assert_eq!(orphan.status, StatusCode::OK);
    assert_eq!(orphan.json["canonical"], false);
    assert_eq!(orphan.json["final"], false);
    assert!(orphan.json["confirmations"].is_null());
    assert_eq!(orphan.json["transactions"][0]["status"], "dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_shown_in_the_block_of_the_surviving_branch() {
    let server = reorganised().await;
    let path = |nonce| format!("/api/explorer/transactions/{}", transaction(nonce));
    let moved = server.get(&path(6)).await;
    assert_eq!(moved.json["block_hash"], hash(2, 3).to_string());
    assert_eq!(server.get(&path(9)).await.status, StatusCode::NOT_FOUND);
    let dropped = server.get(&format!("{}?orphaned=true", path(9))).await;
    assert_eq!(dropped.json["status"], "dropped");
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_totals_hold_the_surviving_branch_alone() {
    let server = reorganised().await;
    let blocks = server.get("/api/explorer/blocks").await.json;
    assert_eq!(blocks["total"], 4);
    assert_eq!(blocks["blocks"][0]["hash"], hash(2, 3).to_string());
    let transactions = server.get("/api/explorer/transactions").await.json;
    assert_eq!(transactions["total"], 7);
    assert_eq!(transactions["transactions"].as_array().unwrap().len(), 7);
    let bob = server
        .get(&format!("/api/explorer/addresses/{BOB}/transactions"))
        .await
        .json;
    assert_eq!(bob["total"], 7);
    assert_eq!(bob["transactions"], transactions["transactions"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_goes_on_as_of_its_own_position_while_the_chain_moves() {
    let server = server().await;
    for height in 0..4 {
        server
            .append("eth", block(1, 1, height, &[2 * height, 2 * height + 1]))
            .await;
    }
    for list in [
        "blocks",
        "transactions",
        &format!("addresses/{ALICE}/transactions"),
    ] {
        let path = format!("/api/explorer/{list}?limit=2");
        let before = server.get(&path).await.json;
        let cursor = before["next_cursor"].as_str().unwrap().to_owned();
        let expected = server
            .get(&format!("/api/explorer/{list}?limit=2&offset=2"))
            .await
            .json;
        let head = server.store.position().borrow().0;
        server.append("eth", block(1, 1, head, &[100 + head])).await;
        let after = server.get(&format!("{path}&cursor={cursor}")).await.json;
        assert_eq!(after, expected, "{list}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_transaction_is_listed_once_however_the_pages_are_cut() {
    let server = server().await;
    for (height, count) in [1, 0, 0, 3, 0, 5, 0].into_iter().enumerate() {
        let nonces: Vec<u64> = (0..count).map(|index| 10 * height as u64 + index).collect();
        server
            .append("eth", block(1, 1, height as u64, &nonces))
            .await;
    }
    let all = server
        .get("/api/explorer/transactions?limit=200")
        .await
        .json;
    let all = all["transactions"].as_array().unwrap().clone();
    assert_eq!(all.len(), 9);
    for limit in 1..10 {
        let mut pages = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/api/explorer/transactions?limit={limit}{cursor}");
            let page = server.get(&path).await.json;
            pages.extend(page["transactions"].as_array().unwrap().iter().cloned());
            let Some(next) = page["next_cursor"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(pages, all, "limit {limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_several_chains_a_request_must_name_one_unless_one_is_the_default() {
    let server = server().await;
    assert_eq!(
        server.get("/api/explorer/blocks").await.status,
        StatusCode::NOT_FOUND
    );
    server.append("eth", block(1, 1, 0, &[])).await;
    assert_eq!(server.get("/api/explorer/blocks").await.json["total"], 1);
    server.append("base", block(1, 1, 0, &[])).await;
    let reply = server.get("/api/explorer/blocks").await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST);
    assert_eq!(reply.json["error"]["code"], "chain_required");
    assert_eq!(
        reply.json["error"]["details"]["chains"],
        serde_json::json!(["base", "eth"])
    );
    assert_eq!(
        server.get("/api/explorer/blocks?chain=base").await.status,
        StatusCode::OK
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configured_default_chain_without_a_block_is_empty_and_not_an_error() {
    let config = ApiConfig {
        default_chain: Some("eth".into()),
        ..ApiConfig::default()
    };
    let server = Server::start(config, BTreeMap::new()).await;
    let blocks = server.get("/api/explorer/blocks").await;
    assert_eq!(
        (blocks.status, &blocks.json["total"]),
        (StatusCode::OK, &0.into())
    );
    for path in [
        "transactions",
        &format!("addresses/{ALICE}?transactions=true"),
    ] {
        let reply = server.get(&format!("/api/explorer/{path}")).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}");
    }
    let stats = server.get("/api/analytics/network/stats").await;
    assert_eq!(stats.json["total_blocks"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn final_objects_are_cached_for_ever_and_stay_the_same_while_the_head_moves() {
    let server = server().await;
    let mut first = block(1, 1, 0, &[0]);
    let reference = BlockRef {
        height: 0,
        hash: hash(1, 0),
    };
    first.push(BlockFinalized { block: reference }.into());
    server.append("eth", first).await;
    let path = format!("/api/explorer/transactions/{}", transaction(0));
    let before = server.get(&path).await;
    server.append("eth", block(1, 1, 1, &[1])).await;
    let after = server.get(&path).await;
    assert_eq!(before.json, after.json);
    assert_eq!(before.headers["etag"], after.headers["etag"]);
    assert!(
        after.headers["cache-control"]
            .to_str()
            .unwrap()
            .contains("immutable")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_final_before_a_chain_reset_is_not_shown_behind_it() {
    let server = server().await;
    let finalized = |branch, height| -> Event {
        let hash = hash(branch, height);
        BlockFinalized {
            block: BlockRef { height, hash },
        }
        .into()
    };
    server.append("eth", block(1, 1, 0, &[])).await;
    let mut events = block(1, 1, 1, &[7]);
    events.push(finalized(1, 1));
    server.append("eth", events).await;
    let page = server.get("/api/explorer/blocks?limit=1").await.json;
    let before = page["next_cursor"].as_str().unwrap().to_owned();
    let path = format!("/api/explorer/transactions/{}", transaction(7));
    // The second answer comes from what the first one kept.
    for _ in 0..2 {
        let old = server.get(&path).await.json;
        assert_eq!(old["block_hash"], hash(1, 1).to_string());
        assert_eq!(old["final"], true);
    }
    let reason = "the node was wiped".into();
    server
        .append("eth", vec![ChainReset { reason }.into()])
        .await;
    assert_eq!(server.get(&path).await.status, StatusCode::NOT_FOUND);
    server.append("eth", block(2, 2, 0, &[])).await;
    let mut events = block(2, 2, 1, &[6, 7]);
    events.push(finalized(2, 1));
    server.append("eth", events).await;
    for _ in 0..2 {
        let new = server.get(&path).await.json;
        assert_eq!(new["block_hash"], hash(2, 1).to_string());
        assert_eq!(new["index"], 1);
        let then = server.get(&format!("{path}?at={before}")).await;
        assert_eq!(then.json["block_hash"], hash(1, 1).to_string());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn history_beyond_what_is_kept_is_gone_and_the_oldest_position_is_named() {
    let server = server().await;
    for height in 0..3 {
        server.append("eth", block(1, 1, height, &[height])).await;
    }
    let cursor = server.get("/api/explorer/blocks?limit=1&at=1").await.json;
    let cursor = cursor["next_cursor"].as_str().unwrap().to_owned();
    server.store.trim(cairn_domain::Position(3)).unwrap();
    for query in [format!("cursor={cursor}"), "at=0".to_owned()] {
        let reply = server.get(&format!("/api/explorer/blocks?{query}")).await;
        assert_eq!(reply.status, StatusCode::GONE, "{query}");
        assert_eq!(reply.json["error"]["code"], "history_trimmed");
        assert_eq!(reply.json["error"]["details"]["oldest_position"], 3);
    }
}

struct Node(Result<Amount, String>);

#[async_trait]
impl NodeState for Node {
    async fn balance(&self, _: &Address, _: BlockRef) -> Result<Amount, String> {
        self.0.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balance_is_the_nodes_where_it_answers_and_the_ledgers_where_it_does_not() {
    for (answer, source, balance) in [
        (Ok(Amount::from(500)), "node", "500"),
        (Err("no".to_owned()), "ledger", "1"),
    ] {
        let node: Arc<dyn NodeState> = Arc::new(Node(answer));
        let nodes = BTreeMap::from([("eth".to_owned(), node)]);
        let server = Server::start(ApiConfig::default(), nodes).await;
        server.append("eth", block(1, 1, 0, &[0])).await;
        for path in ["", "/balance"] {
            let reply = server
                .get(&format!("/api/explorer/addresses/{BOB}{path}"))
                .await
                .json;
            assert_eq!(reply["balance_source"], source);
            assert_eq!(reply["balance"], balance);
            assert_eq!(reply["ledger_balance"], "1");
        }
    }
}

#[test]
fn the_openapi_text_is_the_same_on_every_call() {
    let text = crate::openapi_json();
    assert_eq!(text, crate::openapi_json());
    let text: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(text["paths"]["/api/v1/explorer/blocks/{block}"]["get"].is_object());
}
