//! Exports: every form, bad requests, and a kill while one is made.

use std::{path::Path, thread, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use super::{
    SAMPLE_TRANSACTIONS, SETTINGS, all_published, heights, published, serve, serve_with, sha256,
    sql,
};
use crate::support::{
    http::{Answer, get, post},
    process::{DataDir, Server, run},
    rounds, seed,
};

/// Asks for an export and waits until it is made.
pub(super) fn exported(server: &Server, dataset: &str, body: &Value) -> Value {
    let path = format!("/api/v1/export/{dataset}");
    let accepted = post(&server.address, &path, &[], &body.to_string());
    assert_eq!(
        accepted.status,
        202,
        "{}",
        String::from_utf8_lossy(&accepted.body)
    );
    let accepted = super::json(&accepted);
    let id = accepted["export_id"].as_str().expect("an id").to_owned();
    let url = accepted["download_url"].as_str().expect("a URL");
    assert!(url.starts_with("http://") && url.ends_with(&id), "{url}");
    server.wait_until(&format!("/api/v1/export/{id}"), |status| {
        assert_ne!(status["status"], "failed", "{status}");
        status["status"] == "ready"
    })
}

pub(super) fn download(server: &Server, status: &Value) -> Answer {
    let id = status["export_id"].as_str().expect("an id");
    get(&server.address, &format!("/api/v1/export/download/{id}"))
}

#[test]
fn an_export_holds_the_rows_of_its_range_in_every_form() {
    let data = DataDir::with_samples();
    let server = published(&data);
    let (low, _) = heights(&server);
    let query = format!(
        "SELECT count(*) AS rows FROM transactions WHERE block_height BETWEEN {} AND {}",
        low + 10,
        low + 99
    );
    let rows = sql(&server, &query)[0]["rows"].clone();
    for format in ["json", "ndjson", "csv", "parquet", "arrow"] {
        for compression in ["none", "gzip", "zstd"] {
            let body = json!({"start_block": low + 10, "end_block": low + 99, "format": format, "compression": compression});
            let status = exported(&server, "transactions", &body);
            assert_eq!(status["rows"], rows, "{status}");
            let file = download(&server, &status);
            assert_eq!(file.status, 200);
            assert_eq!(status["bytes"], file.body.len());
            let copy = data.file("export", &file.body);
            assert_eq!(sha256(&copy), status["sha256"].as_str().expect("a digest"));
            if (format, compression) == ("json", "none") {
                let list: Vec<Value> = serde_json::from_slice(&file.body).expect("an array");
                assert_eq!(list.len() as u64, rows.as_u64().expect("a count"));
                assert!(list.iter().all(|row| row["final"] == true));
                let places = list.iter().map(|row| {
                    let place = ["block_height", "transaction_index"];
                    place.map(|name| row[name].as_u64().expect("a number"))
                });
                assert!(places.is_sorted(), "rows stand in the order of the chain");
            }
        }
    }
    let nothing =
        json!({"start_block": 1_000_000_000_u64, "end_block": 1_000_000_001_u64, "format": "json"});
    let status = exported(&server, "blocks", &nothing);
    assert_eq!(download(&server, &status).body, b"[]\n");
}

#[test]
fn an_export_is_not_sorted_because_files_are() {
    let data = DataDir::with_samples();
    let server = published(&data);
    for (dataset, order) in [
        ("blocks", "height"),
        ("transactions", "block_height, transaction_index"),
        ("logs", "block_height, transaction_index, log_index"),
        (
            "token_transfers",
            "block_height, transaction_index, log_index, part",
        ),
    ] {
        let query = format!(
            "EXPLAIN SELECT * FROM {dataset} WHERE chain = 'sample' AND (final OR NOT final) ORDER BY {order}"
        );
        let plan = sql(&server, &query);
        let plan = serde_json::to_string(&plan).expect("JSON");
        assert!(!plan.contains("SortExec"), "{dataset}: {plan}");
    }
}

#[test]
fn an_export_that_cannot_be_is_refused() {
    let data = DataDir::with_samples();
    let server = published(&data);
    let bad = [
        json!({"start_block": 5, "end_block": 4}),
        json!({"start_block": 1, "end_block": 2, "format": "xml"}),
        json!({"start_block": 1, "end_block": 2, "compression": "rar"}),
        json!({"start_block": -1, "end_block": 2}),
        json!({"start_block": 1, "end_block": 2, "nonsense": 1}),
        json!({"end_block": 2}),
    ];
    for body in bad {
        let answer = post(
            &server.address,
            "/api/v1/export/blocks",
            &[],
            &body.to_string(),
        );
        assert_eq!(
            answer.status,
            400,
            "{body}: {}",
            String::from_utf8_lossy(&answer.body)
        );
    }
    let body = json!({"start_block": 1, "end_block": 2}).to_string();
    assert_eq!(
        post(&server.address, "/api/v1/export/nonsense", &[], &body).status,
        400
    );
    assert_eq!(get(&server.address, "/api/v1/export/nonsense").status, 404);
    assert_eq!(
        get(&server.address, "/api/v1/export/download/nonsense").status,
        404
    );
}

#[test]
fn the_command_line_writes_the_same_file_with_a_server_and_without() {
    let data = DataDir::with_samples();
    let server = published(&data);
    let export = |directory: &str, more: &str| {
        let line =
            format!("export transactions --from 0 --to 99999999 -o {directory} --json{more}");
        run(data.command(&line).current_dir(data.path()).envs(SETTINGS))
    };
    let with = export("with", "").ok().json();
    assert_eq!(with["rows"], SAMPLE_TRANSACTIONS);
    export("with", "").refused(1, &["is there already"]);
    export("other", " --chain nonsense").refused(1, &["no chain `nonsense`; there is: sample"]);
    drop(server);
    let without = export("without", "").ok().json();
    assert_eq!(without["sha256"], with["sha256"]);
    for made in [with, without] {
        let path = Path::new(made["path"].as_str().expect("a path"));
        assert_eq!(made["sha256"], sha256(path));
    }
}

#[test]
fn an_export_expires_and_its_file_goes() {
    let data = DataDir::with_samples();
    let keep = ("CAIRN_LAKE__KEEP_EXPORTS", "2s".to_owned());
    let server = all_published(serve_with(&data, &[keep]));
    let body = json!({"start_block": 0, "end_block": 99_999_999, "format": "csv"});
    let status = exported(&server, "blocks", &body);
    let id = status["export_id"].as_str().expect("an id");
    server.wait_until(&format!("/api/v1/export/{id}"), |status| {
        status["status"] == "expired"
    });
    assert_eq!(download(&server, &status).status, 410);
    let files = || std::fs::read_dir(data.path().join("lake/exports")).map_or(0, Iterator::count);
    server.wait_until("/health/ready", |_| files() == 0);
}

#[test]
fn a_file_of_an_export_that_somebody_took_away_is_said_to_be_gone() {
    let data = DataDir::with_samples();
    let server = published(&data);
    let body = json!({"start_block": 0, "end_block": 10, "format": "csv"});
    let status = exported(&server, "blocks", &body);
    std::fs::remove_dir_all(data.path().join("lake/exports")).expect("it is there");
    let answer = download(&server, &status);
    let text = String::from_utf8_lossy(&answer.body);
    assert_eq!(answer.status, 410, "{text}");
    assert!(text.contains("is gone: ask for it again"), "{text}");
}

#[test]
fn files_of_exports_take_no_more_than_they_may_and_health_says_how_many_there_are() {
    let data = DataDir::with_samples();
    let small = [("CAIRN_LAKE__EXPORTS_SIZE", "1B".to_owned())];
    let server = all_published(serve_with(&data, &small));
    let body = json!({"start_block": 0, "end_block": 99_999_999, "format": "csv"});
    let status = exported(&server, "blocks", &body);
    server.wait_until("/health/ready", |health| {
        let exports = &health["components"]["exports"];
        exports["phase"] == "following" && exports["at"] == 1 && exports["target"] == 1
    });
    let path = "/api/v1/export/blocks";
    let refused = post(&server.address, path, &[], &body.to_string());
    let text = String::from_utf8_lossy(&refused.body);
    assert_eq!(refused.status, 503, "{text}");
    let taken = format!("take {} of 1 bytes", status["bytes"]);
    assert!(text.contains(&taken), "{text}");
}

#[test]
fn what_is_read_of_files_waits_for_a_position_and_says_when_it_does_not_come() {
    let data = DataDir::with_samples();
    let server = published(&data);
    let list = get(&server.address, "/api/v1/datasets");
    let position: u64 = list.headers["x-cairn-position"].parse().expect("a number");
    let body = json!({"start_block": 0, "end_block": 9, "format": "csv"});
    let status = exported(&server, "blocks", &body);
    let export = format!(
        "/api/v1/export/{}",
        status["export_id"].as_str().expect("an id")
    );
    let paths = [
        "/api/v1/datasets",
        "/api/v1/datasets/blocks",
        "/api/v1/datasets/blocks/files",
        &export,
    ];
    for path in paths {
        for (minimum, expected) in [
            (position.to_string(), 200),
            ("999999".into(), 503),
            ("x".into(), 400),
        ] {
            let answer = get(&server.address, &format!("{path}?min_position={minimum}"));
            assert_eq!(answer.status, expected, "{path} {minimum}");
        }
    }
    let odd = get(&server.address, "/api/v1/datasets/blocks/files/%ff.parquet");
    let error = super::json(&odd);
    assert_eq!(
        (odd.status, &error["error"]["details"]["parameter"]),
        (400, &json!("path"))
    );
}

#[test]
fn an_export_that_a_kill_interrupts_is_made_after_the_restart() {
    let data = DataDir::with_samples();
    let mut random = StdRng::seed_from_u64(seed());
    let mut server = published(&data);
    for _ in 0..rounds(30) {
        let body = json!({"start_block": 0, "end_block": 1_000_000_000_u64, "format": "csv", "compression": "gzip"});
        let accepted = post(
            &server.address,
            "/api/v1/export/transactions",
            &[],
            &body.to_string(),
        );
        assert_eq!(accepted.status, 202);
        let id = super::json(&accepted)["export_id"]
            .as_str()
            .expect("an id")
            .to_owned();
        thread::sleep(Duration::from_millis(random.random_range(0..800)));
        server.kill();
        server = serve(&data);
        let status = server.wait_until(&format!("/api/v1/export/{id}"), |status| {
            status["status"] == "ready"
        });
        assert_eq!(status["rows"], SAMPLE_TRANSACTIONS, "{status}");
        let copy = data.file("export", download(&server, &status).body);
        assert_eq!(sha256(&copy), status["sha256"].as_str().expect("a digest"));
    }
}
