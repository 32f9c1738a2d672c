//! The decoder against every recording of a real node, and against what nodes must not serve.

use std::{collections::HashSet, path::Path};

use cairn_engine::sources::evm::{DecodedBlock, decode};
use serde_json::{Value, json};

use crate::sources_world::{block_json, lines, receipts_json, recordings};

fn decode_all(folder: &Path, blocks: &str, receipts: Option<&str>) -> Vec<DecodedBlock> {
    let blocks = lines(&folder.join(blocks));
    let receipts = receipts.map(|name| lines(&folder.join(name)));
    let receipts = |index: usize| receipts.as_ref().map(|lines| lines[index].as_str());
    let one = |(index, block): (usize, &String)| decode(block, receipts(index)).unwrap();
    blocks.iter().enumerate().map(one).collect()
}

/// Blocks, transactions, logs and failed transactions.
fn counts(blocks: &[DecodedBlock]) -> (usize, usize, usize, usize) {
    let receipts: Vec<_> = blocks
        .iter()
        .filter_map(|block| block.receipts.as_ref())
        .flatten()
        .collect();
    let transactions = blocks.iter().map(|block| block.transactions.len()).sum();
    let logs = receipts.iter().map(|receipt| receipt.logs.len()).sum();
    (
        blocks.len(),
        transactions,
        logs,
        receipts.iter().filter(|receipt| !receipt.success).count(),
    )
}

#[test]
fn the_mainnet_recording_decodes_to_the_counts_of_its_readme() {
    let Some(data) = recordings() else { return };
    let folder = data.join("evm-mainnet-17686110-17686132");
    let blocks = decode_all(&folder, "blocks.jsonl.zst", Some("receipts.jsonl.zst"));
    assert_eq!(counts(&blocks), (23, 4_416, 9_807, 202));
    let creations = blocks
        .iter()
        .flat_map(|block| &block.transactions)
        .filter(|t| t.to.is_none());
    assert_eq!(creations.count(), 2);
    let extra = decode_all(
        &folder,
        "extra-blocks.jsonl.zst",
        Some("extra-receipts.jsonl.zst"),
    );
    assert_eq!(extra.len(), 2);
    let oldest = decode_all(&folder, "genesis-to-99-blocks.jsonl.zst", None);
    assert_eq!(counts(&oldest), (100, 0, 0, 0));
}

#[test]
fn the_recording_of_anvil_decodes_to_the_counts_of_its_readme() {
    let Some(data) = recordings() else { return };
    let folder = data.join("evm-anvil-replay-1000");
    let started = std::time::Instant::now();
    let blocks = decode_all(&folder, "blocks.jsonl.zst", Some("receipts.jsonl.zst"));
    eprintln!(
        "25,000 transactions in {:?}, unpacking included",
        started.elapsed()
    );
    assert_eq!(counts(&blocks), (1_001, 25_000, 4_723, 0));
}

#[test]
fn the_live_sessions_decode_but_for_a_block_that_mixes_two_branches() {
    let Some(data) = recordings() else { return };
    let folder = data.join("evm-live-rpc-sessions-with-reorgs");
    let mut heights = HashSet::new();
    let mut refused = HashSet::new();
    let mut transactions = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "zst") {
            continue;
        }
        for line in lines(&path) {
            let line: Value = serde_json::from_str(&line).unwrap();
            let result = &line["response"]["result"];
            if result.get("parentHash").is_none() {
                continue;
            }
            let block = match decode(&result.to_string(), None) {
                Ok(block) => block,
                Err(error) => {
                    refused.insert(error.to_string());
                    continue;
                }
            };
            if heights.insert((path.clone(), block.reference())) {
                transactions += block.transactions.len();
            }
        }
    }
    assert!(
        heights.len() >= 225 && transactions >= 3_100,
        "{} {transactions}",
        heights.len()
    );
    // A node in the middle of a reorganisation mixed both branches once.
    assert!(refused.len() == 1, "{refused:?}");
    assert!(
        refused
            .iter()
            .all(|error| error.starts_with("block 13522240 (0x29373d")),
        "{refused:?}"
    );
}

#[test]
fn events_come_in_the_order_that_folds_need() {
    let block = block_json(0, 0, 7, 3);
    let decoded = decode(&block.to_string(), Some(&receipts_json(&block).to_string())).unwrap();
    let kinds: Vec<_> = decoded
        .into_events()
        .iter()
        .map(|event| event.def().name)
        .collect();
    let pair = ["transaction_included", "transaction_executed"];
    assert_eq!(
        kinds,
        [&["block_appended"][..], &pair, &pair, &pair].concat()
    );
}

#[test]
fn fees_count_gas_and_blobs_and_withdrawals_are_in_wei() {
    let mut block = block_json(0, 0, 7, 1);
    block["transactions"][0]["type"] = json!("0x3");
    block["withdrawals"] = json!([{"index": "0x0", "validatorIndex": "0x1",
        "address": format!("0x{:040x}", 5), "amount": "0x2"}]);
    let mut receipts = receipts_json(&block);
    receipts[0]["blobGasUsed"] = json!("0x20000");
    receipts[0]["blobGasPrice"] = json!("0x2");
    receipts[0].as_object_mut().unwrap().remove("status");
    receipts[0]["root"] = block["hash"].clone();
    let decoded = decode(&block.to_string(), Some(&receipts.to_string())).unwrap();
    assert_eq!(
        decoded.block.withdrawals[0].amount.to_string(),
        "2000000000"
    );
    let receipt = &decoded.receipts.unwrap()[0];
    assert_eq!(
        receipt.fee.to_string(),
        (21_000_u64 * 1_000_000_000 + 2 * 131_072).to_string()
    );
    assert!(receipt.success, "receipts before Byzantium have no status");
}

/// A change to a block and its receipts, and words that the error must contain.
type Case = (
    &'static str,
    fn(&mut Value, &mut Value),
    &'static [&'static str],
);

const CASES: &[Case] = &[
    (
        "u64 overflow",
        |b, _| b["gasUsed"] = json!("0x10000000000000000"),
        &["block 7", "`gasUsed`", "64 bits"],
    ),
    (
        "u256 overflow",
        |b, _| b["transactions"][1]["value"] = json!(format!("0x1{}", "0".repeat(64))),
        &["block 7", "`transactions[1].value`", "256 bits"],
    ),
    (
        "foreign block hash",
        |b, _| b["transactions"][1]["blockHash"] = b["parentHash"].clone(),
        &["block 7", "transaction 1", "block hash"],
    ),
    (
        "foreign block number",
        |b, _| b["transactions"][0]["blockNumber"] = json!("0x8"),
        &["transaction 0", "block number 0x8"],
    ),
    (
        "index order",
        |b, _| b["transactions"][1]["transactionIndex"] = json!("0x5"),
        &["transaction 1", "index 0x5"],
    ),
    (
        "hashes only",
        |b, _| b["transactions"] = json!([b["hash"]]),
        &["block 7", "full transactions are needed", "true"],
    ),
    (
        "no sender",
        |b, _| drop(b["transactions"][0].as_object_mut().unwrap().remove("from")),
        &["block 7", "missing field `from`"],
    ),
    (
        "pending",
        |b, _| b["hash"] = Value::Null,
        &["block 7", "`hash`", "pending"],
    ),
    (
        "no hex",
        |b, _| b["parentHash"] = json!("0xzz"),
        &["`parentHash`", "0xzz", "64 hex digits"],
    ),
    (
        "receipt count",
        |_, r| drop(r.as_array_mut().unwrap().pop()),
        &["block 7", "2 transactions, but 1 receipts"],
    ),
    (
        "receipt order",
        |_, r| r.as_array_mut().unwrap().reverse(),
        &["block 7", "receipt 0 is of transaction"],
    ),
    (
        "receipt of another block",
        |_, r| r[1]["blockHash"] = json!(format!("0x{:064x}", 1)),
        &["receipt 1", "block hash"],
    ),
];

#[test]
fn what_contradicts_itself_is_refused_by_name() {
    for (name, spoil, words) in CASES {
        let mut block = block_json(0, 0, 7, 2);
        let mut receipts = receipts_json(&block);
        spoil(&mut block, &mut receipts);
        let error = decode(&block.to_string(), Some(&receipts.to_string()))
            .unwrap_err()
            .to_string();
        for word in *words {
            assert!(error.contains(word), "{name}: `{word}` is not in: {error}");
        }
    }
}
