//! SQL that is wrong, reaches out, or asks for too much: what it gets, and what it does to others.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use serde_json::json;

use super::{all_published, serve_with, sql};
use crate::support::{
    http::{get, post},
    process::{DataDir, Server},
};

/// Seconds that a query may take here.
const SECONDS: u64 = 3;

/// A query, the status that it gets, and what the message says.
const BAD: [(&str, u16, &str); 32] = [
    ("", 400, "there is no statement"),
    ("   -- nothing", 400, "there is no statement"),
    ("SELEKT 1", 400, "SELEKT"),
    ("SELECT 'open", 400, "Unterminated"),
    (
        "SELECT * FROM nonsense",
        400,
        "there is no table nonsense; there are blocks, ",
    ),
    ("SELECT nonsense FROM blocks", 400, "nonsense"),
    ("SELECT nonsense(height) FROM blocks", 400, "nonsense"),
    (
        "SELECT height FROM blocks GROUP BY timestamp",
        400,
        "GROUP BY",
    ),
    (
        "SELECT * FROM blocks WHERE timestamp > 'yesterday'",
        400,
        "yesterday",
    ),
    ("SELECT 1 / 0", 400, "zero"),
    ("SELECT cast('x' AS INT) FROM blocks", 400, "'x'"),
    (
        "SELECT amount_u256 FROM transactions WHERE amount_u256 = 'many'",
        400,
        "many",
    ),
    // Writes.
    ("DROP TABLE blocks", 400, "DROP"),
    ("DELETE FROM blocks", 400, "DELETE"),
    ("UPDATE blocks SET height = 1", 400, "UPDATE"),
    ("INSERT INTO blocks VALUES (1)", 400, "INSERT"),
    ("CREATE VIEW x AS SELECT 1", 400, "CREATE"),
    ("SET datafusion.execution.batch_size = 1", 400, "SET"),
    ("SELECT 1; DROP TABLE blocks", 400, "only one is answered"),
    // Reaches out.
    (
        "CREATE EXTERNAL TABLE x STORED AS CSV LOCATION '/etc/passwd'",
        400,
        "CREATE",
    ),
    ("COPY blocks TO '/tmp/x'", 400, "COPY"),
    ("SELECT * FROM '/etc/passwd'", 400, ""),
    ("SELECT * FROM read_csv('/etc/passwd')", 400, "read_csv"),
    (
        "SELECT * FROM \"s3://bucket/file.parquet\"",
        400,
        "would read a file",
    ),
    // Makes much of little.
    ("SELECT repeat('x', 2000000000)", 400, "repeat"),
    // Joins everything with everything, loops, sorts and groups more than there is room for.
    (
        "SELECT count(*) FROM logs a, logs b, logs c WHERE a.data < b.data AND b.data < c.data",
        422,
        "",
    ),
    (
        "SELECT a.hash, b.hash FROM transactions a CROSS JOIN transactions b ORDER BY a.hash, b.hash",
        422,
        "",
    ),
    (
        "SELECT a.hash, b.hash, count(*) FROM transactions a CROSS JOIN transactions b GROUP BY 1, 2",
        422,
        "",
    ),
    (
        "SELECT array_agg(a.input) FROM transactions a CROSS JOIN blocks b",
        422,
        "",
    ),
    (
        "SELECT string_agg(a.hash, ',') FROM transactions a CROSS JOIN blocks b",
        422,
        "",
    ),
    (
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n",
        422,
        "",
    ),
    (
        "SELECT a.* FROM transactions a CROSS JOIN transactions b",
        422,
        "rows",
    ),
];

/// Ends those who ask meanwhile.
struct EndOnDrop<'a>(&'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The most memory that the process had, in MiB.
fn peak_mib(server: &Server) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("a status");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .expect("a peak");
    let kib = line.split_whitespace().nth(1).expect("a number");
    kib.parse::<u64>().expect("a number") / 1024
}

#[test]
fn bad_sql_gets_a_clear_error_in_bounded_time_and_memory_and_the_server_goes_on() {
    let data = DataDir::with_samples();
    let limits = [
        ("CAIRN_SQL__TIMEOUT", format!("{SECONDS}s")),
        ("CAIRN_SQL__MEMORY", "96MiB".to_owned()),
        ("CAIRN_SQL__QUERY_MEMORY", "64MiB".to_owned()),
        ("CAIRN_SQL__MAX_ROWS", "1000".to_owned()),
        ("CAIRN_SQL__SPILL", "64MiB".to_owned()),
    ];
    let server = all_published(serve_with(&data, &limits));
    let before = peak_mib(&server);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            let mut slowest = Duration::ZERO;
            while !is_over.load(Ordering::Relaxed) {
                let begun = Instant::now();
                let answer = get(&server.address, "/api/explorer/blocks?chain=sample");
                assert_eq!(answer.status, 200);
                slowest = slowest.max(begun.elapsed());
            }
            slowest
        });
        // Also where the rest panics.
        let end = EndOnDrop(&is_over);
        let mut wrong = Vec::new();
        for (query, status, words) in BAD {
            let begun = Instant::now();
            let body = json!({ "sql": query }).to_string();
            let mut answer = post(&server.address, "/api/v1/sql", &[], &body);
            // The one before may still have the memory: what computes stops a little later.
            while answer.status == 503 && begun.elapsed() < Duration::from_secs(SECONDS) {
                answer = post(&server.address, "/api/v1/sql", &[], &body);
            }
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            let says = |words: &str| text.contains(words);
            let has_leaked =
                ["panicked", "/home", "/root", "this is a bug", "DataFusion"].map(says);
            if answer.status != status || !says(words) || has_leaked.contains(&true) {
                wrong.push(format!("{query}: {} {text}", answer.status));
            }
            assert!(
                begun.elapsed() < Duration::from_secs(2 * SECONDS + 5),
                "{query}"
            );
        }
        drop(end);
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        let slowest = others.join().expect("others are answered");
        assert!(slowest < Duration::from_secs(SECONDS), "{slowest:?}");
    });
    let grown = peak_mib(&server) - before;
    assert!(grown < 4 * 96, "{grown} MiB");
    assert_eq!(sql(&server, "SELECT 1 AS one")[0]["one"], 1);
    let answer = post(&server.address, "/api/v1/sql", &[], "no JSON");
    assert_eq!(answer.status, 400);
}
