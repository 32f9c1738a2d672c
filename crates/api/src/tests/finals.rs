//! What is kept of final transactions, and for whom.

use std::{collections::BTreeMap, ops::Range};

use axum::{extract::FromRequestParts, http::Request};
use cairn_domain::{BlockRef, Event, events::BlockFinalized};

use futures_util::FutureExt;

use super::fixture::{Server, block, hash, transaction};
use crate::{ApiConfig, queries, scope::Scope};

async fn server() -> Server {
    Server::start(ApiConfig::default(), BTreeMap::new()).await
}

/// A block, final at once, with the transactions of these nonces.
fn final_block(height: u64, nonces: Range<u64>) -> Vec<Event> {
    let mut events = block(1, 1, height, &nonces.collect::<Vec<_>>());
    let hash = hash(1, height);
    let block = BlockRef { height, hash };
    events.push(BlockFinalized { block }.into());
    events
}

fn without_receipts(mut events: Vec<Event>) -> Vec<Event> {
    events.retain(|event| !matches!(event, Event::TransactionExecuted(_)));
    events
}

#[tokio::test(flavor = "multi_thread")]
async fn chains_that_hold_the_same_final_block_answer_each_with_its_own_transactions() {
    let server = server().await;
    let block = final_block(0, 0..2);
    server.append("bare", without_receipts(block.clone())).await;
    server.append("full", block).await;
    let path = |list: &str, chain: &str| format!("/api/explorer/{list}?chain={chain}");
    let lists = [
        format!("transactions/{}", transaction(0)),
        format!("blocks/{}", hash(1, 0)),
        "transactions".to_owned(),
    ];
    for list in lists {
        let bare = server.get(&path(&list, "bare")).await.json;
        for _ in 0..2 {
            let full = server.get(&path(&list, "full")).await.json;
            assert_ne!(full, bare, "{list}");
            assert_eq!(server.get(&path(&list, "bare")).await.json, bare, "{list}");
            assert_eq!(server.get(&path(&list, "full")).await.json, full, "{list}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_is_the_same_whichever_of_its_transactions_were_kept() {
    let uncached = ApiConfig {
        finals_bytes: 0,
        ..ApiConfig::default()
    };
    let plain = Server::start(uncached, BTreeMap::new()).await;
    plain.append("eth", final_block(0, 0..6)).await;
    let path = format!("/api/explorer/blocks/{}", hash(1, 0));
    let expected = plain.get(&path).await.json;
    assert_eq!(expected["transactions"].as_array().unwrap().len(), 6);
    for kept in [
        0b000000,
        0b000001,
        0b100000,
        0b101010,
        0b011110,
        0b111111_u64,
    ] {
        let server = server().await;
        server.append("eth", final_block(0, 0..6)).await;
        for nonce in (0..6).filter(|nonce| (kept >> nonce) & 1 == 1) {
            let path = format!("/api/explorer/transactions/{}", transaction(nonce));
            assert!(server.get(&path).await.status.is_success());
        }
        assert_eq!(server.get(&path).await.json, expected, "{kept:06b}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_block_only_the_transactions_that_were_not_kept_are_rendered() {
    let server = server().await;
    server.append("eth", final_block(0, 0..4)).await;
    let request = Request::get("/api/explorer/blocks/0").body(()).unwrap();
    let (mut parts, ()) = request.into_parts();
    let scope = Scope::from_request_parts(&mut parts, &server.app).await;
    let scope = scope.unwrap_or_else(|error| panic!("{error:?}"));
    let name = transaction(2).to_string();
    let kept = queries::transactions::detail(&scope, &name, false).unwrap();
    let block = || {
        let found = queries::blocks::find(&scope, "0", false).unwrap();
        queries::blocks::detail(&scope, found).unwrap().transactions
    };
    let (first, second) = (block(), block());
    assert!(first[2].is_same(&kept));
    assert!(first.iter().zip(&second).all(|(one, two)| one.is_same(two)));
    assert_eq!(second.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_block_is_rendered_beside_other_requests_and_a_small_one_at_once() {
    let server = server().await;
    server.append("eth", final_block(0, 0..3)).await;
    server.append("eth", final_block(1, 3..604)).await;
    let path = |height| format!("/api/explorer/blocks/{height}");
    let small = server.get(&path(0)).now_or_never();
    let small = small.expect("nothing to wait for").json;
    assert_eq!(small["transactions"].as_array().unwrap().len(), 3);
    let large = server.get(&path(1)).now_or_never();
    assert!(large.is_none(), "it is on another thread");
    let large = server.get(&path(1)).await.json;
    assert_eq!(large["transactions"].as_array().unwrap().len(), 601);
}
