//! The lake as its users see it: files over HTTP, SQL, figures over time, exports; and what a kill leaves.

mod bad_sql;
mod exports;
mod kills;
mod objects;
mod readers;
mod sql;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
};

use serde_json::{Value, json};

use crate::support::{
    http::{Answer, get, post, request},
    process::{DataDir, SAMPLE_BLOCKS, Server, repository, run, unpack},
};

/// Transactions of the samples.
const SAMPLE_TRANSACTIONS: u64 = 44_299;

/// Files that are soon complete, cuts every so often, and everything open to everybody.
const SETTINGS: [(&str, &str); 4] = [
    ("CAIRN_API__OPEN_ACCESS", "true"),
    ("CAIRN_LAKE__RANGE_HEIGHTS", "500"),
    ("CAIRN_LAKE__ROWS_PER_FILE", "6000"),
    ("CAIRN_LAKE__CUT_INTERVAL", "300ms"),
];

fn serve(data: &DataDir) -> Server {
    serve_with(data, &[])
}

fn serve_with(data: &DataDir, more: &[(&str, String)]) -> Server {
    let mut command = data.command("serve --listen 127.0.0.1:0");
    Server::start(command.envs(SETTINGS).envs(more.iter().cloned()))
}

/// A server whose files hold all of the samples.
fn published(data: &DataDir) -> Server {
    all_published(serve(data))
}

/// Waits until the files hold all of the samples.
fn all_published(server: Server) -> Server {
    server.wait_until("/api/v1/datasets/blocks", |dataset| {
        dataset["rows"] == SAMPLE_BLOCKS
    });
    server
}

fn json(answer: &Answer) -> Value {
    let text = String::from_utf8_lossy(&answer.body);
    serde_json::from_slice(&answer.body).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn ok(server: &Server, path: &str) -> Value {
    let answer = get(&server.address, path);
    assert_eq!(
        answer.status,
        200,
        "{path}: {}",
        String::from_utf8_lossy(&answer.body)
    );
    json(&answer)
}

/// The rows that a query answers with.
fn sql(server: &Server, query: &str) -> Vec<Value> {
    let body = json!({ "sql": query }).to_string();
    let answer = post(&server.address, "/api/v1/sql", &[], &body);
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, 200, "{query}: {text}");
    let answered = json(&answer);
    answered["rows"].as_array().expect("rows").clone()
}

/// The lowest and the highest height of the samples.
fn heights(server: &Server) -> (u64, u64) {
    let ends = &sql(
        server,
        "SELECT min(height) AS low, max(height) AS high FROM blocks",
    )[0];
    let height = |name: &str| ends[name].as_u64().expect("a height");
    (height("low"), height("high"))
}

fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output();
    let output = String::from_utf8(output.expect("sha256sum runs").stdout).expect("text");
    output.split(' ').next().expect("a digest").to_owned()
}

/// The files of a dataset by their paths, followed two at a time.
fn followed(server: &Server, dataset: &str) -> BTreeMap<String, Value> {
    let (mut after, mut files) = (0, BTreeMap::new());
    loop {
        let path = format!("/api/v1/datasets/{dataset}/files?after={after}&limit=2");
        let page = ok(server, &path);
        for file in page["files"].as_array().expect("files") {
            let path = file["path"].as_str().expect("a path").to_owned();
            assert!(files.insert(path, file.clone()).is_none(), "twice: {file}");
        }
        after = page["next_after"].as_u64().expect("a number");
        if page["more"] == false {
            break;
        }
    }
    files
}

/// Downloads a file in two ranges and compares it with the whole, and with its digest.
fn assert_downloads(data: &DataDir, server: &Server, path: &str, file: &Value) {
    let path = format!("/api/v1/datasets/transactions/files/{path}");
    let whole = get(&server.address, &path);
    let size = file["bytes"].as_u64().expect("a size");
    assert_eq!((whole.status, whole.body.len() as u64), (200, size));
    let half = size / 2;
    let parts = [format!("bytes=0-{}", half - 1), format!("bytes={half}-")];
    let joined = parts.map(|range| {
        let part = request(&server.address, "GET", &path, &[("range", &range)]);
        assert_eq!(part.status, 206, "{range}");
        part.body
    });
    assert!(joined.concat() == whole.body, "{path}");
    let copy = data.file("copy.parquet", &whole.body);
    assert_eq!(sha256(&copy), file["sha256"].as_str().expect("a digest"));
    let known = whole.headers["etag"].clone();
    let same = request(&server.address, "GET", &path, &[("if-none-match", &known)]);
    assert_eq!(same.status, 304);
}

#[test]
fn files_are_followed_step_by_step_and_downloaded_in_ranges() {
    let data = DataDir::with_samples();
    let server = published(&data);
    let datasets = ok(&server, "/api/v1/datasets");
    let names = datasets["datasets"].as_array().expect("a list").iter();
    let names: BTreeSet<_> = names
        .filter_map(|dataset| dataset["name"].as_str())
        .collect();
    assert!(names.is_superset(&BTreeSet::from([
        "blocks",
        "transactions",
        "logs",
        "token_transfers"
    ])));
    let files = followed(&server, "transactions");
    let rows: u64 = files
        .values()
        .filter_map(|file| file["rows"].as_u64())
        .sum();
    assert_eq!(rows, SAMPLE_TRANSACTIONS);
    for (path, file) in &files {
        assert_downloads(&data, &server, path, file);
    }
    let beyond = [("range", "bytes=999999999-")];
    let path = files.keys().next().expect("a file");
    let path = format!("/api/v1/datasets/transactions/files/{path}");
    assert_eq!(request(&server.address, "GET", &path, &beyond).status, 416);
    assert_eq!(
        get(&server.address, "/api/v1/datasets/nonsense").status,
        404
    );
    assert_eq!(
        get(
            &server.address,
            "/api/v1/datasets/blocks/files/../manifest.json"
        )
        .status,
        404
    );
}

/// The first blocks of a file of the samples, as a file.
fn first_lines(data: &DataDir, file: &str) -> String {
    let mut lines = unpack(&repository().join("samples").join(file));
    lines.truncate(1_200);
    let part = data.file(file.trim_end_matches(".zst"), lines.concat());
    part.display().to_string()
}

#[test]
fn a_file_that_was_replaced_can_be_read_on() {
    let data = DataDir::new();
    let [blocks, receipts] =
        ["blocks.jsonl.zst", "receipts.jsonl.zst"].map(|file| first_lines(&data, file));
    let line = format!("ingest {blocks} --receipts {receipts} --chain sample --final --json");
    data.cairn(&line).ok();
    let server = serve(&data);
    server.wait_until("/api/v1/datasets/blocks", |dataset| {
        dataset["rows"] == 1_200
    });
    let before = followed(&server, "transactions");
    let open: Vec<_> = before
        .iter()
        .filter(|(_, file)| file["complete"] == false)
        .collect();
    assert_eq!(open.len(), 1, "{before:?}");
    drop(server);
    data.ingest_samples();
    let server = published(&data);
    let (path, file) = open[0];
    assert!(!followed(&server, "transactions").contains_key(path));
    assert_downloads(&data, &server, path, file);
}

/// A page of files.
fn page(server: &Server, query: &str) -> Answer {
    let path = format!("/api/v1/datasets/blocks/files?{query}");
    get(&server.address, &path)
}

#[test]
fn a_follower_hears_of_a_lake_that_was_made_anew() {
    let data = DataDir::with_samples();
    let server = published(&data);
    let first = json(&page(&server, ""));
    let (generation, after) = (&first["generation"], &first["next_after"]);
    assert_eq!(first["resets"], json!({}));
    let same = format!("after={after}&generation={generation}");
    assert_eq!(page(&server, &same).status, 200);
    for other in [
        format!("after={after}&generation=1"),
        format!("after=999999&generation={generation}"),
    ] {
        let answer = page(&server, &other);
        assert_eq!(answer.status, 410, "{other}");
        let message = json(&answer)["error"]["message"].to_string();
        assert!(message.contains("made anew"), "{message}");
    }
    drop(server);
    run(data.command("lake rebuild").envs(SETTINGS)).ok();
    let server = published(&data);
    assert_eq!(page(&server, &same).status, 410);
    assert_ne!(json(&page(&server, ""))["generation"], *generation);
}
