//! The lake as its users see it: files over HTTP, SQL, figures over time, exports; and what a kill leaves.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::Command,
    thread,
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use crate::support::{
    http::{Answer, get, post, request},
    process::{DataDir, SAMPLE_BLOCKS, Server},
    rounds, seed,
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
    let mut command = data.command("serve --listen 127.0.0.1:0");
    Server::start(command.envs(SETTINGS))
}

/// A server whose files hold all of the samples.
fn published(data: &DataDir) -> Server {
    let server = serve(data);
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

fn sha256(path: &Path) -> String {
    let output = Command::new("sha256sum").arg(path).output();
    let output = String::from_utf8(output.expect("sha256sum runs").stdout).expect("text");
    output.split(' ').next().expect("a digest").to_owned()
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
    let (mut after, mut files) = (0, BTreeMap::new());
    loop {
        let path = format!("/api/v1/datasets/transactions/files?after={after}&limit=2");
        let page = ok(&server, &path);
        for file in page["files"].as_array().expect("files") {
            let path = file["path"].as_str().expect("a path").to_owned();
            assert!(files.insert(path, file.clone()).is_none(), "twice: {file}");
        }
        after = page["next_after"].as_u64().expect("a number");
        if page["more"] == false {
            break;
        }
    }
    let rows: u64 = files
        .values()
        .filter_map(|file| file["rows"].as_u64())
        .sum();
    assert_eq!(rows, SAMPLE_TRANSACTIONS);
    for (path, file) in &files {
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

#[test]
fn sql_rest_and_figures_over_time_tell_the_same() {
    let data = DataDir::with_samples();
    let server = published(&data);
    let stats = ok(&server, "/api/v1/analytics/network/stats?chain=sample");
    let counted = sql(
        &server,
        "SELECT count(*) AS transactions, (SELECT count(*) FROM blocks) AS blocks FROM transactions",
    );
    assert_eq!(counted[0]["transactions"], stats["total_transactions"]);
    assert_eq!(counted[0]["blocks"], stats["total_blocks"]);
    let newest = ok(
        &server,
        "/api/v1/explorer/transactions?limit=50&chain=sample",
    );
    for shown in newest["transactions"].as_array().expect("a list") {
        let hash = shown["hash"]
            .as_str()
            .expect("a hash")
            .to_uppercase()
            .replace("0X", "0x");
        let query = format!(
            "SELECT hash, block_hash, block_height, from_address, to_address, amount, nonce, type FROM transactions WHERE hash = '{hash}'"
        );
        let rows = sql(&server, &query);
        assert_eq!(rows.len(), 1, "{hash}");
        for (name, value) in rows[0].as_object().expect("an object") {
            let expected = match name.as_str() {
                // There it is where the transaction went: a contract that it made, too.
                "to_address" if value.is_null() => continue,
                _ => &shown[name],
            };
            assert_eq!(value, expected, "{name} of {hash}");
        }
    }
    let figures = [
        (
            "block_count",
            "SELECT date_trunc('day', timestamp) AS t, count(*) AS v FROM blocks GROUP BY 1",
        ),
        (
            "transaction_count",
            "SELECT date_trunc('day', timestamp) AS t, count(*) AS v FROM transactions GROUP BY 1",
        ),
        (
            "token_transfers",
            "SELECT date_trunc('day', timestamp) AS t, count(*) AS v FROM token_transfers GROUP BY 1",
        ),
        (
            "fees",
            "SELECT date_trunc('day', timestamp) AS t, sum(fee) AS v FROM transactions GROUP BY 1",
        ),
        (
            "gas_used",
            "SELECT date_trunc('day', timestamp) AS t, cast(sum(gas_used) AS varchar) AS v FROM blocks GROUP BY 1",
        ),
        (
            "active_addresses",
            "SELECT t, count(DISTINCT a) AS v FROM (SELECT date_trunc('day', timestamp) AS t, from_address AS a FROM transactions UNION ALL SELECT date_trunc('day', timestamp), coalesce(to_address, contract_address) FROM transactions) WHERE a IS NOT NULL GROUP BY 1",
        ),
        (
            "new_addresses",
            "SELECT date_trunc('day', first) AS t, count(*) AS v FROM (SELECT a, min(timestamp) AS first FROM (SELECT timestamp, from_address AS a FROM transactions UNION ALL SELECT timestamp, coalesce(to_address, contract_address) FROM transactions) WHERE a IS NOT NULL GROUP BY a) GROUP BY 1",
        ),
    ];
    for (metric, query) in figures {
        let history = ok(
            &server,
            &format!("/api/v1/analytics/historical?metric={metric}&period=1d&chain=sample"),
        );
        let times = history["timestamps"].as_array().expect("times").iter();
        let values = history["values"].as_array().expect("values").iter();
        let day = |time: &Value| time.as_str().map(|time| time[..10].to_owned());
        let folded: BTreeMap<_, _> = times
            .map(day)
            .zip(values.cloned())
            .filter(|(_, value)| *value != 0 && *value != "0")
            .collect();
        let rows = sql(&server, query);
        let queried: BTreeMap<_, _> = rows
            .iter()
            .map(|row| (day(&row["t"]), row["v"].clone()))
            .filter(|(day, _)| folded.contains_key(day))
            .collect();
        assert_eq!(folded, queried, "{metric}");
        assert!(!folded.is_empty(), "{metric}");
    }
}

#[test]
fn bad_sql_gets_a_clear_error_and_the_server_goes_on() {
    let data = DataDir::with_samples();
    let server = published(&data);
    let refused = [
        ("SELEKT 1", 400),
        ("SELECT * FROM nonsense", 400),
        ("SELECT nonsense FROM blocks", 400),
        ("DROP TABLE blocks", 400),
        ("INSERT INTO blocks VALUES (1)", 400),
        (
            "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
            400,
        ),
        ("COPY blocks TO '/tmp/x'", 400),
        ("SELECT * FROM '/etc/passwd'", 400),
        ("SELECT 1; SELECT 2", 400),
        ("SELECT 1 / 0", 400),
        (
            "SELECT count(*) FROM logs a, logs b, logs c WHERE a.data < b.data AND b.data < c.data",
            422,
        ),
    ];
    for (query, status) in refused {
        let body = json!({ "sql": query }).to_string();
        let answer = post(&server.address, "/api/v1/sql", &[], &body);
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, status, "{query}: {text}");
        assert!(
            !text.contains("panicked") && !text.contains("/home"),
            "{text}"
        );
    }
    assert_eq!(
        post(&server.address, "/api/v1/sql", &[], "no JSON").status,
        400
    );
    assert_eq!(sql(&server, "SELECT 1 AS one")[0]["one"], 1);
}

#[test]
fn an_answer_comes_in_the_form_that_is_asked_for() {
    let data = DataDir::with_samples();
    let server = published(&data);
    let query = "SELECT height, hash, timestamp, gas_used FROM blocks ORDER BY height LIMIT 3";
    let forms = [
        ("application/json", "application/json"),
        ("application/x-ndjson", "application/x-ndjson"),
        ("text/csv", "text/csv; charset=utf-8"),
        (
            "application/vnd.apache.arrow.stream",
            "application/vnd.apache.arrow.stream",
        ),
        (
            "application/vnd.apache.parquet",
            "application/vnd.apache.parquet",
        ),
    ];
    for (accept, media) in forms {
        let headers = [("accept", accept), ("content-type", "text/plain")];
        let answer = post(&server.address, "/api/v1/sql", &headers, query);
        assert_eq!(answer.status, 200, "{accept}");
        assert_eq!(answer.headers["content-type"], media);
        assert!(answer.headers.contains_key("x-cairn-position"));
        assert!(!answer.body.is_empty());
    }
    let table = data
        .cairn("sql SELECT\u{20}count(*)\u{20}AS\u{20}blocks\u{20}FROM\u{20}blocks --format csv");
    assert_eq!(
        table.code,
        Some(2),
        "arguments are one statement: {table:?}"
    );
    let mut command = data.command("sql --format csv");
    let ended =
        crate::support::process::run(command.arg("SELECT count(*) AS blocks FROM blocks")).ok();
    assert_eq!(ended.stdout, format!("blocks\n{SAMPLE_BLOCKS}\n"));
    drop(server);
    let mut command = data.command("sql --format ndjson");
    command.envs(SETTINGS);
    let alone =
        crate::support::process::run(command.arg("SELECT count(*) AS blocks FROM blocks")).ok();
    assert_eq!(
        alone.stdout,
        format!("{{\"blocks\":{SAMPLE_BLOCKS}}}\n"),
        "without a server"
    );
}

/// Asks for an export and waits until it is made.
fn exported(server: &Server, dataset: &str, body: &Value) -> Value {
    let path = format!("/api/v1/export/{dataset}");
    let accepted = post(&server.address, &path, &[], &body.to_string());
    assert_eq!(
        accepted.status,
        202,
        "{}",
        String::from_utf8_lossy(&accepted.body)
    );
    let accepted = json(&accepted);
    let id = accepted["export_id"].as_str().expect("an id").to_owned();
    let url = accepted["download_url"].as_str().expect("a URL");
    assert!(url.starts_with("http://") && url.ends_with(&id), "{url}");
    server.wait_until(&format!("/api/v1/export/{id}"), |status| {
        assert_ne!(status["status"], "failed", "{status}");
        status["status"] == "ready"
    })
}

fn download(server: &Server, status: &Value) -> Answer {
    let id = status["export_id"].as_str().expect("an id");
    get(&server.address, &format!("/api/v1/export/download/{id}"))
}

#[test]
fn an_export_holds_the_rows_of_its_range_in_every_form() {
    let data = DataDir::with_samples();
    let server = published(&data);
    let ends = &sql(
        &server,
        "SELECT min(height) AS low, max(height) AS high FROM blocks",
    )[0];
    let low = ends["low"].as_u64().expect("a height");
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
            }
        }
    }
    let nothing =
        json!({"start_block": 1_000_000_000_u64, "end_block": 1_000_000_001_u64, "format": "json"});
    let status = exported(&server, "blocks", &nothing);
    assert_eq!(download(&server, &status).body, b"[]\n");
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
        let id = json(&accepted)["export_id"]
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

/// The files that a manifest names: each is there, whole.
fn manifest_files(data: &DataDir) -> BTreeSet<(String, String, u64)> {
    let lake = data.path().join("lake");
    let Ok(text) = std::fs::read(lake.join("manifest.json")) else {
        return BTreeSet::new();
    };
    let manifest: Value = serde_json::from_slice(&text).expect("a whole manifest");
    let files = manifest["files"].as_array().expect("files");
    files
        .iter()
        .map(|file| {
            let path = file["path"].as_str().expect("a path");
            let digest = file["sha256"].as_str().expect("a digest");
            assert_eq!(sha256(&lake.join(path)), digest, "{path}");
            (
                path.to_owned(),
                digest.to_owned(),
                file["rows"].as_u64().expect("a count"),
            )
        })
        .collect()
}

#[test]
fn kill_9_while_files_are_written_leaves_none_torn_and_no_row_twice() {
    let mut random = StdRng::seed_from_u64(seed());
    for _ in 0..rounds(30) {
        let data = DataDir::with_samples();
        for _ in 0..3 {
            let server = serve(&data);
            thread::sleep(Duration::from_millis(random.random_range(0..1500)));
            server.kill();
            manifest_files(&data);
        }
        published(&data).terminate();
        let files = manifest_files(&data);
        let rows = |dataset: &str| -> u64 {
            let own = files
                .iter()
                .filter(|(path, ..)| path.starts_with(&format!("{dataset}/")));
            own.map(|(.., rows)| rows).sum()
        };
        assert_eq!(rows("blocks"), SAMPLE_BLOCKS);
        assert_eq!(rows("transactions"), SAMPLE_TRANSACTIONS);
        // Made anew it is the same, to the last byte.
        let mut rebuild = data.command("lake rebuild --json");
        crate::support::process::run(rebuild.envs(SETTINGS)).ok();
        assert_eq!(manifest_files(&data), files);
    }
}

#[test]
fn kill_9_of_a_rebuild_leaves_a_lake_that_is_made_anew_by_the_next_one() {
    let data = DataDir::with_samples();
    published(&data).terminate();
    let files = manifest_files(&data);
    let mut random = StdRng::seed_from_u64(seed());
    for _ in 0..rounds(30) {
        let mut rebuild = data.command("lake rebuild");
        let mut child = rebuild
            .envs(SETTINGS)
            .stdout(std::process::Stdio::null())
            .spawn()
            .expect("cairn starts");
        thread::sleep(Duration::from_millis(random.random_range(0..2000)));
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        manifest_files(&data);
        let mut rebuild = data.command("lake rebuild");
        crate::support::process::run(rebuild.envs(SETTINGS)).ok();
        assert_eq!(manifest_files(&data), files);
    }
}
