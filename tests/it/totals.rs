//! Figures that a Python script works out from a recording, without Cairn's code, against the store.

use std::{collections::BTreeSet, ops::ControlFlow, path::Path, process::Command, sync::Arc};

use cairn_domain::{
    Stream,
    primitives::Address,
    projections::{
        addresses::{Accounts, AddressTotals, AddressTotalsKey},
        tokens::{TokenBalances, TokenContracts},
    },
    table::Table,
};
use cairn_engine::store::{ReadView, Row, Store, StoreOptions};
use serde_json::{Value, json};

use crate::support::process::{DataDir, repository, run, shared_data};

/// What the script says about a recording.
fn independent(blocks: &Path, receipts: &Path) -> Value {
    let mut command = Command::new("python3");
    command
        .arg(repository().join("tests/independent/totals.py"))
        .arg(blocks)
        .arg(receipts);
    run(command.args(["--addresses", "--tokens"])).ok().json()
}

fn rows<T: Table>(view: &ReadView, stream: &Stream, mut visit: impl FnMut(Row<T>)) {
    let each = |row| {
        visit(row);
        Ok(ControlFlow::Continue(()))
    };
    view.scan::<T>(stream, &(), None, each)
        .expect("a readable table");
}

/// The lines that the script calls account lines.
fn account_lines(view: &ReadView, stream: &Stream) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    rows::<Accounts>(view, stream, |Row { key, value }| {
        if value.balance.is_zero() && value.seen.is_none() {
            return;
        }
        let seen = value.seen.as_ref();
        let [first, last] = [seen.map(|seen| seen.first), seen.map(|seen| seen.last)]
            .map(|time| time.map(|time| time.to_string()).unwrap_or_default());
        lines.insert(format!(
            "{}|{}|{}|{}|{}|{first}|{last}",
            key.address, value.balance, value.sent, value.received, value.nonce
        ));
    });
    lines
}

/// The lines that the script calls token balance lines.
fn token_lines(view: &ReadView, stream: &Stream) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    rows::<TokenBalances>(view, stream, |Row { key, value }| {
        assert_ne!(key.holder, Address::ZERO, "the zero address holds nothing");
        let standard = value.standard;
        lines.insert(format!(
            "{}|{standard}|{}|{}|{}",
            key.contract, key.holder, key.token_id, value.balance
        ));
    });
    lines
}

/// The figures of a whole chain, in the script's words.
fn figures(view: &ReadView, stream: &Stream) -> Value {
    let ends = view
        .ends(stream)
        .expect("readable ends")
        .expect("a chain that is not empty");
    let head = view
        .canonical(stream, ends.head.height)
        .expect("a readable block")
        .expect("the head");
    let totals = view
        .get::<AddressTotals>(stream, &AddressTotalsKey {})
        .expect("readable totals");
    let totals = totals.unwrap_or_default();
    let (mut contracts, mut transfers) = (0, 0);
    rows::<TokenContracts>(view, stream, |row| {
        contracts += u64::from(row.value.transfers > 0);
        transfers += row.value.transfers;
    });
    json!({
        "blocks": ends.head.height - ends.first.height + 1,
        "first": { "height": ends.first.height, "hash": ends.first.hash },
        "last": { "height": ends.head.height, "hash": ends.head.hash },
        "transactions": head.transactions,
        "failed_transactions": head.failed_transactions,
        "gas_used": u64::try_from(head.gas_used).expect("less than 64 bits of gas"),
        "addresses_seen": totals.seen,
        "active_addresses_24h": totals.active,
        "token_contracts": contracts,
        "token_transfers": transfers,
    })
}

/// The same figures as the script gives them.
fn expected(independent: &Value) -> Value {
    let transfers = independent["token_transfers"]
        .as_object()
        .expect("counts by standard");
    let mut figures = json!({
        "addresses_seen": independent["network"]["addresses_seen"],
        "active_addresses_24h": independent["network"]["active_addresses_24h"],
        "token_transfers": transfers.values().filter_map(Value::as_u64).sum::<u64>(),
    });
    let same = [
        "blocks",
        "first",
        "last",
        "transactions",
        "failed_transactions",
        "gas_used",
        "token_contracts",
    ];
    for name in same {
        figures[name] = independent[name].clone();
    }
    figures
}

#[track_caller]
fn assert_same_lines(what: &str, ours: &BTreeSet<String>, theirs: &Value) {
    let theirs: BTreeSet<String> = serde_json::from_value(theirs.clone()).expect("lines");
    let only = |one: &BTreeSet<String>, other: &BTreeSet<String>| {
        one.difference(other).take(5).cloned().collect::<Vec<_>>()
    };
    assert!(
        *ours == theirs,
        "{what}: {} lines here, {} there; only here {:#?}, only there {:#?}",
        ours.len(),
        theirs.len(),
        only(ours, &theirs),
        only(&theirs, ours)
    );
}

/// Takes a recording in with the real binary and compares.
fn compare(folder: &Path, finality: &str) {
    let (blocks, receipts) = (
        folder.join("blocks.jsonl.zst"),
        folder.join("receipts.jsonl.zst"),
    );
    let data = DataDir::new();
    let mut command = data.command("ingest --chain recorded");
    command.arg(&blocks).arg("--receipts").arg(&receipts);
    run(command.args(finality.split_whitespace())).ok();
    let independent = independent(&blocks, &receipts);
    let store: Arc<Store> =
        Store::open(&data.path().join("store"), StoreOptions::default()).expect("the store");
    let view = store.view(None).expect("the latest view");
    let stream = Stream::chain("recorded").expect("a valid name");
    assert_eq!(figures(&view, &stream), expected(&independent));
    assert_same_lines(
        "accounts",
        &account_lines(&view, &stream),
        &independent["account_lines"],
    );
    assert_same_lines(
        "token balances",
        &token_lines(&view, &stream),
        &independent["token_balance_lines"],
    );
}

#[test]
fn totals_of_the_samples_equal_independent_ones() {
    compare(&repository().join("samples"), "--final");
}

#[test]
fn totals_of_mainnet_equal_independent_ones() {
    if let Some(folder) = shared_data("evm-mainnet-17686110-17686132") {
        compare(&folder, "");
    }
}

#[test]
fn totals_of_a_thousand_replayed_blocks_equal_independent_ones() {
    if let Some(folder) = shared_data("evm-anvil-replay-1000") {
        compare(&folder, "");
    }
}
