//! SQL over HTTP and on the command line.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{SETTINGS, heights, ok, published, sql};
use crate::support::{
    http::{get, post},
    process::{DataDir, SAMPLE_BLOCKS, Server, run},
};

/// Figures over time, and queries for the same by day.
const FIGURES: [(&str, &str); 7] = [
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

#[test]
fn sql_counts_what_rest_counts_and_shows_what_rest_shows() {
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
}

#[test]
fn figures_over_time_are_what_sql_says() {
    let data = DataDir::with_samples();
    let server = published(&data);
    for (metric, query) in FIGURES {
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
    let ended = run(command.arg("SELECT count(*) AS blocks FROM blocks")).ok();
    assert_eq!(ended.stdout, format!("blocks\n{SAMPLE_BLOCKS}\n"));
    drop(server);
    let mut command = data.command("sql --format ndjson");
    command.envs(SETTINGS);
    let alone = run(command.arg("SELECT count(*) AS blocks FROM blocks")).ok();
    assert_eq!(
        alone.stdout,
        format!("{{\"blocks\":{SAMPLE_BLOCKS}}}\n"),
        "without a server"
    );
}

/// Of whom and by what; of which rows, whose account, and what each row adds.
const TOPS: [[&str; 5]; 7] = [
    [
        "senders",
        "transactions",
        "transactions",
        "from_address",
        "1",
    ],
    [
        "senders",
        "amount",
        "transactions",
        "from_address",
        "amount",
    ],
    ["senders", "fees", "transactions", "from_address", "fee"],
    [
        "senders",
        "gas_used",
        "transactions",
        "from_address",
        "gas_used",
    ],
    [
        "recipients",
        "transactions",
        "transactions",
        "to_address",
        "1",
    ],
    [
        "recipients",
        "amount",
        "transactions",
        "to_address",
        "amount",
    ],
    [
        "tokens",
        "transfers",
        "token_transfers",
        "token_address",
        "1",
    ],
];

/// The busiest by a figure: how often an account is there, or the sum of a column.
fn busiest(server: &Server, query: &str) -> Vec<(String, u128)> {
    let mut figures = BTreeMap::<String, u128>::new();
    for row in sql(server, query) {
        let address = row["address"].as_str().expect("an address").to_owned();
        *figures.entry(address).or_default() += figure(&row["figure"]);
    }
    let mut figures: Vec<_> = figures.into_iter().collect();
    figures.sort_by_key(|(address, figure)| (u128::MAX - figure, address.clone()));
    figures.truncate(7);
    figures
}

/// Numbers that may be large come as texts.
fn figure(value: &Value) -> u128 {
    let text = value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned);
    text.parse().expect("a number")
}

#[test]
fn the_busiest_are_those_whom_counting_finds() {
    let data = DataDir::with_samples();
    let server = published(&data);
    let (low, high) = heights(&server);
    let time = |height: u64| {
        let block = ok(&server, &format!("/api/explorer/blocks/{height}"));
        block["timestamp"].as_str().expect("a time").to_owned()
    };
    let (start, end) = (time(low + 100), time(high - 100));
    for [of, by, rows, whom, one] in TOPS {
        let expected = busiest(
            &server,
            &format!(
                "SELECT {whom} AS address, {one} AS figure FROM {rows} WHERE {whom} IS NOT NULL
                AND timestamp >= '{start}' AND timestamp < '{end}'"
            ),
        );
        let path = format!("/api/v1/analytics/top?of={of}&by={by}&start={start}&end={end}&limit=7");
        let answered = ok(&server, &path);
        let top = answered["rows"].as_array().expect("rows").iter();
        let top: Vec<_> = top
            .map(|row| {
                let address = row["address"].as_str().expect("an address").to_owned();
                (address, figure(&row[by]))
            })
            .collect();
        assert_eq!(top, expected, "{of} by {by}");
    }
}

#[test]
fn the_busiest_of_all_times_are_ten_and_nonsense_is_refused() {
    let data = DataDir::with_samples();
    let server = published(&data);
    for window in ["start=0&end=9999-01-01", "start=0"] {
        let all = ok(
            &server,
            &format!("/api/v1/analytics/top?of=senders&{window}"),
        );
        assert_eq!(all["rows"].as_array().map(Vec::len), Some(10), "{window}");
    }
    for bad in [
        "of=nobody",
        "of=senders&by=name",
        "of=tokens&limit=0",
        "of=tokens&at=1",
        "of=tokens&start=2&end=1",
    ] {
        let answer = get(&server.address, &format!("/api/v1/analytics/top?{bad}"));
        assert_eq!(answer.status, 400, "{bad}");
    }
}
