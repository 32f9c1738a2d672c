//! What becomes of dead letters beside a running server.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use crate::{
    sources_world::{FakeNode, block_json, hash_of, receipts_json},
    support::process::{DataDir, Ended, Server},
};

/// The height of the block that the node serves broken, and the node's head.
const BROKEN: u64 = 3;
const HEAD: u64 = 6;

fn node_block(height: u64) -> Value {
    let mut block = block_json(0, u64::MAX, height, 1);
    if height == BROKEN {
        block["transactions"][0]["value"] = json!("0xzz");
    }
    block
}

/// A node that serves one broken block and never mends it.
async fn node() -> FakeNode {
    FakeNode::answering(|method, params| {
        let height = match params[0].as_str() {
            Some("latest") => Some(HEAD),
            tag => tag.and_then(|tag| u64::from_str_radix(tag.strip_prefix("0x")?, 16).ok()),
        };
        let block = height.filter(|height| *height <= HEAD).map(node_block);
        match method {
            "eth_chainId" => Ok(json!("0x1")),
            "eth_getBlockByNumber" => Ok(block.unwrap_or_default()),
            "eth_getBlockReceipts" => {
                Ok(block.map(|block| receipts_json(&block)).unwrap_or_default())
            }
            _ => Err(json!({"code": -32601, "message": "method not found"})),
        }
    })
    .await
}

/// A server that follows the node and is stuck at the broken block.
fn stuck(data: &DataDir, node: &FakeNode) -> (Server, String) {
    let config = format!(
        "[[source]]\nname = \"eth\"\nkind = \"evm-rpc\"\nurl = \"{}\"\npoll_interval = \"50ms\"\n",
        node.url
    );
    let config = data.file("cairn.toml", config);
    let mut command = data.command("serve --listen 127.0.0.1:0 -c");
    let server = Server::start(command.arg(config));
    let mut letter = None;
    for _ in 0..600 {
        let letters = data.cairn("dead-letter list --json").ok().json();
        letter = letters[0]["id"].as_str().map(str::to_owned);
        if letter.is_some() {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    (server, letter.expect("a dead letter"))
}

fn letter_file(data: &DataDir, id: &str) -> PathBuf {
    data.path().join(format!("dead-letters/{id}.json"))
}

/// Mends a letter by hand.
fn mend(data: &DataDir, id: &str, block: &Value) {
    let path = letter_file(data, id);
    let text = fs::read_to_string(&path).expect("the letter");
    let mut letter: Value = serde_json::from_str(&text).expect("JSON");
    letter["block"] = json!(block.to_string());
    letter["receipts"] = json!(receipts_json(block).to_string());
    fs::write(path, letter.to_string()).expect("it can be written");
}

fn retry(data: &DataDir, id: &str) -> Ended {
    data.cairn(&format!("dead-letter retry --json {id}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mended_letter_is_appended_while_its_source_runs_and_the_source_goes_on() {
    let (data, node) = (DataDir::new(), node().await);
    let (server, id) = stuck(&data, &node);
    let ended = retry(&data, &id);
    assert_eq!(ended.code, Some(1), "it is not mended yet: {ended:#?}");
    mend(&data, &id, &block_json(0, u64::MAX, BROKEN, 1));
    let outcome = retry(&data, &id).ok().json();
    let detail = outcome[0]["detail"].as_str().expect("a detail");
    assert!(detail.contains("was appended"), "{detail}");
    server.wait_until("/api/explorer/blocks?limit=1", |list| {
        list["blocks"][0]["height"] == HEAD
    });
    let letters = data.cairn("dead-letter list --json").ok().json();
    assert_eq!(letters, json!([]), "no letter is left, and none came anew");
    assert!(server.terminate().0.success());
    data.verify();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mended_letter_that_does_not_fit_its_chain_is_kept_and_says_so() {
    let (data, node) = (DataDir::new(), node().await);
    let (server, id) = stuck(&data, &node);
    let mut other = block_json(0, u64::MAX, BROKEN - 1, 0);
    other["hash"] = json!(hash_of(7, BROKEN - 1));
    mend(&data, &id, &other);
    let kept = |ended: Ended| {
        assert_eq!(ended.code, Some(1), "{ended:#?}");
        let detail = ended.json()[0]["detail"].to_string();
        let file = format!("dead-letters/{id}.json");
        for part in ["block 2", "its place has passed", &file] {
            assert!(detail.contains(part), "`{part}` is not in {detail}");
        }
        assert!(letter_file(&data, &id).is_file(), "the letter is kept");
    };
    kept(retry(&data, &id));
    assert!(server.terminate().0.success());
    kept(retry(&data, &id));
}
