//! What is kept of final transactions, and for whom.

use std::{collections::BTreeMap, ops::Range};

use cairn_domain::{BlockRef, Event, events::BlockFinalized};

use super::fixture::{Server, block, hash, transaction};
use crate::ApiConfig;

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
