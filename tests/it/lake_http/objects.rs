//! A lake in an object store: the same files, read the same ways, and what becomes of it when the store is away.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    SAMPLE_TRANSACTIONS, SETTINGS, all_published, assert_downloads, exports, followed, published,
    serve_with, sql,
};
use crate::support::{
    http::get,
    objects::{ObjectServer, free_port},
    process::{DataDir, run},
    proxy::Network,
};

fn digests(files: &BTreeMap<String, Value>) -> Vec<(&String, &Value)> {
    let files = files.iter();
    files.map(|(path, file)| (path, &file["sha256"])).collect()
}

#[test]
fn a_lake_in_a_bucket_is_what_it_is_in_a_directory() {
    is_what_it_is_in_a_directory(&ObjectServer::s3());
}

#[test]
fn a_lake_in_a_container_of_azure_is_what_it_is_in_a_directory() {
    is_what_it_is_in_a_directory(&ObjectServer::azure());
}

fn is_what_it_is_in_a_directory(store: &ObjectServer) {
    let settings = store.settings(store.port);
    let (near, far) = (DataDir::with_samples(), DataDir::with_samples());
    let in_directory = published(&near);
    let in_bucket = all_published(serve_with(&far, &settings));
    let files = followed(&in_bucket, "transactions");
    let same = followed(&in_directory, "transactions");
    assert_eq!(digests(&files), digests(&same));
    for (path, file) in &files {
        assert_downloads(&far, &in_bucket, path, file);
    }
    for query in [
        "SELECT count(*) AS rows, sum(fee) AS fees FROM transactions",
        "SELECT * FROM transactions ORDER BY block_height DESC, transaction_index DESC LIMIT 20",
    ] {
        assert_eq!(sql(&in_bucket, query), sql(&in_directory, query), "{query}");
    }
    let body = json!({"start_block": 0, "end_block": 99_999_999, "format": "csv"});
    let status = exports::exported(&in_bucket, "transactions", &body);
    assert_eq!(status["rows"], SAMPLE_TRANSACTIONS);
    assert!(status["bytes"].as_u64() > Some(16 << 20), "several parts");
    let copy = exports::download(&in_bucket, &status);
    assert_eq!(
        (copy.status, copy.body.len() as u64),
        (200, status["bytes"].as_u64().expect("a size"))
    );
    let complete = files.values().filter(|file| file["complete"] == true);
    let rows: u64 = complete.filter_map(|file| file["rows"].as_u64()).sum();
    let lake = |line: &str| {
        run(far
            .command(line)
            .envs(SETTINGS)
            .envs(settings.iter().cloned()))
        .ok()
    };
    in_bucket.wait_until("/health/ready", |_| {
        let snapshots = lake("lake snapshots transactions --json").json();
        let last = snapshots.as_array().and_then(|snapshots| snapshots.last());
        last.is_some_and(|last| last["rows"] == rows)
    });
    let stat = lake("lake stat --json").json();
    assert_eq!(stat["tables"]["transactions"]["rows"], rows);
    drop(in_bucket);
    lake("lake rebuild --json");
    let again = all_published(serve_with(&far, &settings));
    assert_eq!(digests(&followed(&again, "transactions")), digests(&files));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_away_is_waited_for_and_nothing_is_lost_or_doubled() {
    let store = ObjectServer::s3();
    let port = free_port();
    let data = DataDir::new();
    let network = Network::new(&[(port, store.port)]).await;
    let server = serve_with(&data, &store.settings(port));
    drop(network);
    data.ingest_samples();
    let phase = |health: &Value| health["components"]["lake"]["phase"].clone();
    let away = server.wait_until("/health/ready", |health| phase(health) == "failed");
    let shown = away["components"]["lake"]["detail"].to_string();
    assert!(
        shown.contains("storage failed") && !shown.contains("hidden"),
        "{away}"
    );
    let newest = get(&server.address, "/api/explorer/blocks?limit=1");
    assert_eq!(newest.status, 200, "reads go on");
    let _network = Network::new(&[(port, store.port)]).await;
    let server = all_published(server);
    server.wait_until("/health/ready", |health| phase(health) == "following");
    let rows: u64 = followed(&server, "transactions")
        .values()
        .filter_map(|file| file["rows"].as_u64())
        .sum();
    assert_eq!(rows, SAMPLE_TRANSACTIONS);
    let counted = sql(
        &server,
        "SELECT count(*) AS n, count(DISTINCT hash) AS d FROM transactions",
    );
    assert_eq!(
        counted[0],
        json!({"n": SAMPLE_TRANSACTIONS, "d": SAMPLE_TRANSACTIONS})
    );
}

#[test]
fn a_bucket_that_is_not_there_is_said_to_be_missing() {
    let store = ObjectServer::s3();
    let data = DataDir::with_samples();
    let mut settings = store.settings(store.port);
    settings[0].1 = "s3://nowhere/lake".into();
    let server = serve_with(&data, &settings);
    server.wait_until("/health/ready", |health| {
        let detail = health["components"]["lake"]["detail"].as_str();
        detail.is_some_and(|detail| detail.contains("NoSuchBucket"))
    });
}
