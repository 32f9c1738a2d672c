//! What the API answers beside what the node itself answers: receipts, logs, balances, tokens.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{
    contracts::{COLLECTIBLES, Contract, Tokens},
    node::Anvil,
};
use crate::support::{
    http::get,
    process::{DataDir, Server},
};

/// A server that follows a node.
fn follow(data: &DataDir, anvil: &Anvil) -> Server {
    let config = format!(
        "[limits]\nenabled = false\n[[source]]\nname = \"anvil\"\nkind = \"evm-rpc\"\n\
         url = \"{0}\"\nws = \"{1}\"\npoll_interval = \"50ms\"\n",
        anvil.url,
        anvil.url.replace("http:", "ws:")
    );
    let path = data.file("cairn.toml", config);
    Server::start(data.command("serve --listen 127.0.0.1:0 -c").arg(path))
}

/// Returns when the server is at the node's head, with the head's height.
async fn reach(server: &Server, anvil: &Anvil) -> u64 {
    let head = anvil.head().await;
    server.wait_until("/api/explorer/blocks?limit=1", |page| {
        page["blocks"][0]["hash"] == head.hash.to_string()
    });
    head.height
}

fn ask(server: &Server, path: &str) -> Value {
    let answer = get(&server.address, &format!("/api/explorer/{path}"));
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, 200, "{path}: {body}");
    serde_json::from_str(&body).unwrap()
}

/// A number in hex, which here is always below 2^128, as the API writes amounts.
fn decimal(hex: &Value) -> Value {
    let digits = hex.as_str().unwrap().trim_start_matches("0x");
    json!(u128::from_str_radix(digits, 16).unwrap().to_string())
}

fn number(hex: &Value) -> u64 {
    u64::from_str_radix(&hex.as_str().unwrap()[2..], 16).unwrap()
}

/// Every transaction and log of every block. Gives the hashes of the transactions.
async fn receipts_equal(server: &Server, anvil: &Anvil, head: u64) -> BTreeSet<String> {
    let mut hashes = BTreeSet::new();
    let (mut failed, mut logs) = (0, 0);
    for height in 0..=head {
        let tag = format!("0x{height:x}");
        let block = anvil.call("eth_getBlockByNumber", json!([tag, true])).await;
        let receipts = anvil.call("eth_getBlockReceipts", json!([tag])).await;
        let own = ask(server, &format!("blocks/{height}"));
        assert_eq!(own["hash"], block["hash"], "block {height}");
        assert_eq!(
            own["gas_used"],
            decimal(&block["gasUsed"]),
            "block {height}"
        );
        let receipts = receipts.as_array().unwrap();
        assert_eq!(
            own["transactions"].as_array().unwrap().len(),
            receipts.len()
        );
        failed += receipts
            .iter()
            .filter(|receipt| receipt["status"] == "0x0")
            .count();
        logs += receipts
            .iter()
            .filter(|receipt| receipt["logs"][0].is_object())
            .count();
        for (index, receipt) in receipts.iter().enumerate() {
            let hash = receipt["transactionHash"].as_str().unwrap();
            let detail = ask(server, &format!("transactions/{hash}"));
            assert_eq!(
                detail, own["transactions"][index],
                "one transaction, two routes"
            );
            transaction_equals(&detail, &block["transactions"][index], receipt);
            let events = ask(server, &format!("transactions/{hash}/events"));
            logs_equal(&events["events"], &receipt["logs"]);
            hashes.insert(hash.to_owned());
        }
    }
    assert!(
        failed > 0 && logs > 0,
        "there is too little to compare: {failed} failed, {logs} with logs"
    );
    hashes
}

fn transaction_equals(detail: &Value, transaction: &Value, receipt: &Value) {
    let status = if receipt["status"] == "0x1" {
        "confirmed"
    } else {
        "failed"
    };
    let price = number(&receipt["effectiveGasPrice"]);
    let fee = json!((price * number(&receipt["gasUsed"])).to_string());
    let wanted = [
        ("hash", receipt["transactionHash"].clone()),
        ("status", json!(status)),
        ("gas_used", decimal(&receipt["gasUsed"])),
        ("gas_price", decimal(&receipt["effectiveGasPrice"])),
        ("fee", fee),
        ("contract_address", receipt["contractAddress"].clone()),
        ("from_address", receipt["from"].clone()),
        ("to_address", receipt["to"].clone()),
        ("block_hash", receipt["blockHash"].clone()),
        ("block_height", json!(number(&receipt["blockNumber"]))),
        ("index", json!(number(&receipt["transactionIndex"]))),
        ("nonce", json!(number(&transaction["nonce"]))),
        ("amount", decimal(&transaction["value"])),
        ("payload", transaction["input"].clone()),
    ];
    for (field, wanted) in wanted {
        assert_eq!(
            detail[field], wanted,
            "`{field}` of {detail} beside {receipt}"
        );
    }
}

fn logs_equal(events: &Value, logs: &Value) {
    let (events, logs) = (events.as_array().unwrap(), logs.as_array().unwrap());
    assert_eq!(events.len(), logs.len(), "{events:?} beside {logs:?}");
    for (event, log) in events.iter().zip(logs) {
        assert_eq!(event["index"], number(&log["logIndex"]));
        for field in ["address", "topics", "data"] {
            assert_eq!(
                event[field], log[field],
                "`{field}` of {event} beside {log}"
            );
        }
    }
}

/// What the accounts hold at the end of a block: of the chain's own coin, and of the tokens.
async fn balances_equal(server: &Server, anvil: &Anvil, tokens: &Tokens, height: u64) {
    let tag = format!("0x{height:x}");
    let block = anvil
        .call("eth_getBlockByNumber", json!([tag, false]))
        .await;
    for account in &tokens.accounts {
        let own = ask(server, &format!("addresses/{account}/balance?at={height}"));
        let wanted = anvil.call("eth_getBalance", json!([account, tag])).await;
        assert_eq!(own["balance_source"], "node", "{own}");
        assert_eq!(own["block_hash"], block["hash"], "{own}");
        assert_eq!(own["balance"], decimal(&wanted), "{own} at {height}");
        let held = ask(
            server,
            &format!("addresses/{account}/tokens?at={height}&limit=100"),
        );
        let held = held["tokens"].as_array().unwrap();
        let of = |contract: &Contract| -> Vec<&Value> {
            held.iter()
                .filter(|token| token["contract"] == contract.address[..])
                .collect()
        };
        let coins = of(&tokens.coin)
            .first()
            .map_or(json!("0"), |token| token["balance"].clone());
        assert_eq!(
            coins,
            balance(&tokens.coin, anvil, height, account).await,
            "{account} at {height}"
        );
        let collectibles = of(&tokens.collectible);
        let numbers: BTreeSet<_> = collectibles
            .iter()
            .filter(|token| token["balance"] == "1")
            .map(|token| token["token_id"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!(
            json!(numbers.len().to_string()),
            balance(&tokens.collectible, anvil, height, account).await
        );
        assert_eq!(
            numbers,
            owned(&tokens.collectible, anvil, height, account).await,
            "{account} at {height}"
        );
    }
}

/// What the contract itself says; a contract that is not there yet says nothing, which is zero.
async fn balance(contract: &Contract, anvil: &Anvil, height: u64, account: &str) -> Value {
    let answer = contract
        .ask(anvil, height, "balanceOf(address)", &[account])
        .await
        .unwrap();
    if answer == "0x" {
        json!("0")
    } else {
        decimal(&json!(answer))
    }
}

/// The numbers of the collectibles that the contract says are an account's.
async fn owned(contract: &Contract, anvil: &Anvil, height: u64, account: &str) -> BTreeSet<String> {
    let mut numbers = BTreeSet::new();
    for id in 0..COLLECTIBLES {
        // The contract refuses to say who owns what was never minted.
        let owner = contract
            .ask(anvil, height, "ownerOf(uint256)", &[&format!("{id:x}")])
            .await;
        if owner.is_some_and(|owner| owner.ends_with(&account[2..].to_lowercase())) {
            numbers.insert(id.to_string());
        }
    }
    numbers
}

/// Compares everything; `before` are transactions that were there once. Gives those that are now.
async fn everything_equals(
    server: &Server,
    anvil: &Anvil,
    tokens: &Tokens,
    before: &BTreeSet<String>,
) -> BTreeSet<String> {
    let head = reach(server, anvil).await;
    let now = receipts_equal(server, anvil, head).await;
    for gone in before.difference(&now) {
        let path = format!("/api/explorer/transactions/{gone}");
        assert_eq!(
            get(&server.address, &path).status,
            404,
            "{gone} was taken back"
        );
    }
    let (taken_back, new) = (
        before.difference(&now).count(),
        now.difference(before).count(),
    );
    eprintln!(
        "{head} blocks: {} transactions, {new} new, {taken_back} taken back",
        now.len()
    );
    for below in [0, 1, 5, 30, head] {
        balances_equal(server, anvil, tokens, head.saturating_sub(below)).await;
    }
    now
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_and_token_balances_are_the_nodes_behind_reorganisations_of_depth_1_7_and_64() {
    let anvil = Anvil::start(None, &[]).await;
    let mut tokens = Tokens::deploy(&anvil, 1).await;
    tokens.traffic(&anvil, 75).await;
    let data = DataDir::new();
    let server = follow(&data, &anvil);
    everything_equals(&server, &anvil, &tokens, &BTreeSet::new()).await;
    for depth in [1, 7, 64] {
        tokens.traffic(&anvil, 2).await;
        // The last block is not an empty one, so that every depth takes a transaction back.
        anvil.transfer(1).await;
        let head = reach(&server, &anvil).await;
        let before = receipts_equal(&server, &anvil, head).await;
        // Some transactions of the new branch, so that it moves tokens in its own way.
        let moved: Vec<_> = (0..depth.min(5))
            .map(|at| json!([tokens.transaction(), at]))
            .collect();
        anvil.call("anvil_reorg", json!([depth, moved])).await;
        let now = everything_equals(&server, &anvil, &tokens, &before).await;
        assert!(
            !before.is_subset(&now),
            "depth {depth} takes something back"
        );
        assert!(
            !now.is_subset(&before),
            "depth {depth} brings something new"
        );
    }
    assert!(server.terminate().0.success());
    data.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_and_token_balances_are_the_nodes_behind_restarts_of_both() {
    let state = tempfile::tempdir().unwrap();
    let file = state.path().join("state.json");
    let arguments = [
        "--state",
        file.to_str().unwrap(),
        "--preserve-historical-states",
    ];
    let mut anvil = Anvil::start(None, &arguments).await;
    let mut tokens = Tokens::deploy(&anvil, 2).await;
    tokens.traffic(&anvil, 10).await;
    let data = DataDir::new();
    let server = follow(&data, &anvil);
    let seen = everything_equals(&server, &anvil, &tokens, &BTreeSet::new()).await;
    anvil.terminate();
    let anvil = anvil.restart(&arguments).await;
    tokens.traffic(&anvil, 5).await;
    let seen = everything_equals(&server, &anvil, &tokens, &seen).await;
    server.kill();
    tokens.traffic(&anvil, 5).await;
    let server = follow(&data, &anvil);
    everything_equals(&server, &anvil, &tokens, &seen).await;
    assert!(server.terminate().0.success());
    data.verify();
}
