//! What bad input gets from the real binary: a clear error, and nothing is lost.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use crate::support::process::{DataDir, Ended, repository, run, unpack};

/// The first blocks of the samples, a line each. Block 0 has no transactions.
fn sample(count: usize) -> Vec<String> {
    let lines = unpack(&repository().join("samples/blocks.jsonl.zst"));
    lines.into_iter().take(count).collect()
}

fn sample_receipts(count: usize) -> Vec<String> {
    let lines = unpack(&repository().join("samples/receipts.jsonl.zst"));
    lines.into_iter().take(count).collect()
}

/// A line with something in it changed.
fn changed(line: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut block = serde_json::from_str(line).expect("a block");
    change(&mut block);
    format!("{block}\n")
}

fn ingest(data: &DataDir, file: &PathBuf) -> Ended {
    run(data.command("ingest --chain eth").arg(file))
}

/// Takes in a file whose line `at` (from 1) is bad: the error names file, line and what `parts` say,
/// what stands before it stays, and the whole good file can be taken in afterwards.
#[track_caller]
fn refused_at(at: usize, lines: &[String], parts: &[&str]) {
    let data = DataDir::new();
    let path = data.file("bad.jsonl", lines.concat());
    let ended = ingest(&data, &path)
        .refused(1, &["bad.jsonl", &format!("line {at}")])
        .refused(1, parts);
    assert_eq!(
        data.head(),
        at as u64 - 1,
        "what stands before the line stays: {ended:#?}"
    );
    let good = data.file("good.jsonl", sample(20).concat());
    let ended = ingest(&data, &good).ok();
    assert!(ended.stdout.contains("were there already"), "{ended:#?}");
    assert_eq!(data.head(), 20);
    data.verify();
}

#[test]
fn a_missing_file_is_named() {
    let data = DataDir::new();
    let path = data.path().join("nowhere.jsonl");
    ingest(&data, &path).refused(1, &["nowhere.jsonl", "name a file that you may read"]);
    ingest(&data, &repository()).refused(1, &["is a directory"]);
}

#[test]
fn a_line_that_is_cut_off_is_named() {
    let mut lines = sample(12);
    let length = lines[11].len();
    lines[11].truncate(length / 2);
    refused_at(12, &lines, &["cut off", "what is there already is skipped"]);
}

#[test]
fn a_line_that_is_no_json_is_named() {
    let mut lines = sample(12);
    lines[6] = "{\"number\": nonsense}\n".into();
    refused_at(7, &lines, &["does not decode", "mend or remove the line"]);
}

#[test]
fn blocks_out_of_order_are_named() {
    let mut lines = sample(12);
    lines.swap(5, 6);
    refused_at(6, &lines, &["block 6", "block 4", "is missing"]);
}

#[test]
fn a_lower_block_of_another_branch_is_out_of_order() {
    let mut lines = sample(12);
    let other = changed(&lines[3], |block| {
        block["hash"] = json!(format!("0x{}", "5".repeat(64)));
        block["transactions"] = json!([]);
    });
    lines.insert(9, other);
    refused_at(10, &lines, &["out of order", "block 3", "block 8"]);
}

#[test]
fn a_gap_is_named_with_what_is_missing() {
    let mut lines = sample(12);
    lines.drain(4..7);
    refused_at(5, &lines, &["a gap", "every block from 4 to 6"]);
}

#[test]
fn a_parent_that_does_not_fit_is_named() {
    let mut lines = sample(12);
    lines[8] = changed(&lines[8], |block| {
        block["parentHash"] = json!(format!("0x{}", "7".repeat(64)))
    });
    refused_at(
        9,
        &lines,
        &["block 8", "has parent 0x7777", "another branch or chain"],
    );
}

#[test]
fn a_transaction_of_another_block_is_named() {
    let mut lines = sample(12);
    let change = |block: &mut Value| {
        block["transactions"][0]["blockHash"] = json!(format!("0x{}", "6".repeat(64)));
    };
    lines[9] = changed(&lines[9], change);
    refused_at(
        10,
        &lines,
        &["block 9", "contradicts itself", "transaction 0"],
    );
}

#[test]
fn a_number_beyond_256_bits_is_named() {
    let mut lines = sample(12);
    let change = |block: &mut Value| {
        block["transactions"][0]["value"] = json!(format!("0x1{}", "0".repeat(64)));
    };
    lines[9] = changed(&lines[9], change);
    refused_at(10, &lines, &["block 9", "value", "256"]);
}

#[test]
fn blocks_that_are_there_twice_are_counted_and_skipped() {
    let data = DataDir::new();
    let mut lines = sample(12);
    lines.insert(4, lines[3].clone());
    lines.push(lines[11].clone());
    let path = data.file("twice.jsonl", lines.concat());
    let ended = run(data.command("ingest --json --chain eth").arg(&path)).ok();
    assert_eq!(ended.json()["blocks"], 12, "{ended:#?}");
    assert_eq!(ended.json()["duplicates"], 2, "{ended:#?}");
    let again = run(data.command("ingest --json --chain eth").arg(&path))
        .ok()
        .json();
    assert_eq!(
        (&again["blocks"], &again["duplicates"]),
        (&json!(0), &json!(14))
    );
    assert_eq!(data.head(), 12);
    data.verify();
}

#[test]
fn a_block_of_20_000_transactions_is_taken_in() {
    let data = DataDir::new();
    let mut lines = sample(12);
    lines[11] = changed(&lines[11], |block| {
        let one = block["transactions"][0].clone();
        let each = |index: u32| {
            let mut transaction = one.clone();
            transaction["hash"] = json!(format!("0x{index:064x}"));
            transaction["transactionIndex"] = json!(format!("0x{index:x}"));
            transaction["nonce"] = json!(format!("0x{index:x}"));
            transaction
        };
        block["transactions"] = (0..20_000).map(each).collect();
    });
    let path = data.file("large.jsonl", lines.concat());
    ingest(&data, &path).ok();
    assert_eq!(data.head(), 12);
    data.verify();
    let server = data.serve();
    let block = server.wait_until("/api/explorer/blocks/11", |block| block["height"] == 11);
    assert_eq!(block["transaction_count"], 20_000);
}

#[test]
fn an_empty_file_and_a_binary_file_are_refused_before_anything_is_appended() {
    let data = DataDir::new();
    let empty = data.file("empty.jsonl", "");
    ingest(&data, &empty).refused(1, &["empty.jsonl", "is empty", "one block a line"]);
    let binary: Vec<u8> = (0..200_000u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect();
    let binary = data.file("binary.jsonl", [b"\x7fELF\0\0".to_vec(), binary].concat());
    ingest(&data, &binary).refused(1, &["binary.jsonl", "not text", "expected lines of JSON"]);
    let packed = fs::read(repository().join("samples/blocks.jsonl.zst")).expect("the samples");
    let cut = data.file("cut.jsonl.zst", &packed[..packed.len() / 4]);
    ingest(&data, &cut).refused(1, &["cut.jsonl.zst", "line ", "get it again"]);
    let head = data.head();
    assert!(head > 0, "what was read before the cut stays");
    let good = data.file("good.jsonl", sample(20).concat());
    ingest(&data, &good).ok();
    assert_eq!(data.head(), head.max(20));
}

#[test]
fn receipts_that_do_not_fit_their_blocks_are_named() {
    let data = DataDir::new();
    let blocks = data.file("blocks.jsonl", sample(12).concat());
    let ingest = |receipts: PathBuf| {
        run(data
            .command("ingest --chain eth")
            .arg(&blocks)
            .arg("--receipts")
            .arg(receipts))
    };
    let mut lines = sample_receipts(12);
    lines.swap(3, 4);
    let swapped = data.file("swapped.jsonl", lines.concat());
    ingest(swapped).refused(1, &["line 4", "block 3", "receipts"]);
    assert_eq!(data.head(), 3);
    let short = data.file("short.jsonl", sample_receipts(6).concat());
    ingest(short).refused(1, &["line 7", "ends before this block"]);
    assert_eq!(data.head(), 6);
    let mut lines = sample_receipts(12);
    lines[8] = changed(&lines[8], |line| {
        drop(line["receipts"].as_array_mut().map(Vec::pop))
    });
    let fewer = data.file("fewer.jsonl", lines.concat());
    ingest(fewer).refused(1, &["line 9", "block 8", "receipts"]);
    assert_eq!(data.head(), 8);
    let long = data.file("long.jsonl", sample_receipts(14).concat());
    ingest(long).refused(1, &["there are more lines here than blocks"]);
    assert_eq!(data.head(), 12);
    ingest(data.file("receipts.jsonl", sample_receipts(12).concat())).ok();
    data.verify();
}
