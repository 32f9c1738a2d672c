//! SQL over HTTP and on the command line.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{SETTINGS, all_published, heights, ok, published, serve_with, sql};
use crate::support::{
    http::{bytes_of, get, post},
    process::{DataDir, SAMPLE_BLOCKS, Server, run},
};

/// Figures over time, and queries for the same by a unit of time. Where a mean has no value of its own in SQL,
/// `v` is divided by `n`.
const FIGURES: [(&str, &str); 10] = [
    (
        "block_count",
        "SELECT date_trunc('UNIT', timestamp) AS t, count(*) AS v FROM blocks GROUP BY 1",
    ),
    (
        "transaction_count",
        "SELECT date_trunc('UNIT', timestamp) AS t, count(*) AS v FROM transactions GROUP BY 1",
    ),
    (
        "failed_transaction_count",
        "SELECT date_trunc('UNIT', timestamp) AS t, count(*) AS v FROM transactions WHERE NOT success GROUP BY 1",
    ),
    (
        "token_transfers",
        "SELECT date_trunc('UNIT', timestamp) AS t, count(*) AS v FROM token_transfers GROUP BY 1",
    ),
    (
        "fees",
        "SELECT date_trunc('UNIT', timestamp) AS t, sum(fee) AS v FROM transactions GROUP BY 1",
    ),
    (
        "gas_used",
        "SELECT date_trunc('UNIT', timestamp) AS t, cast(sum(gas_used) AS varchar) AS v FROM blocks GROUP BY 1",
    ),
    (
        "gas_price",
        "SELECT date_trunc('UNIT', timestamp) AS t, sum(effective_gas_price) AS v, count(*) AS n FROM transactions GROUP BY 1",
    ),
    (
        "average_block_time",
        "SELECT date_trunc('UNIT', timestamp) AS t, date_part('epoch', max(timestamp)) - date_part('epoch', min(timestamp)) AS v, count(*) - 1 AS n FROM blocks WHERE height > 0 GROUP BY 1",
    ),
    (
        "active_addresses",
        "SELECT t, count(DISTINCT a) AS v FROM (SELECT date_trunc('UNIT', timestamp) AS t, from_address AS a FROM transactions UNION ALL SELECT date_trunc('UNIT', timestamp), coalesce(to_address, contract_address) FROM transactions) WHERE a IS NOT NULL GROUP BY 1",
    ),
    (
        "new_addresses",
        "SELECT date_trunc('UNIT', first) AS t, count(*) AS v FROM (SELECT a, min(timestamp) AS first FROM (SELECT timestamp, from_address AS a FROM transactions UNION ALL SELECT timestamp, coalesce(to_address, contract_address) FROM transactions) WHERE a IS NOT NULL GROUP BY a) GROUP BY 1",
    ),
];

/// The figure of a row: as it is, or divided as the figure over time is.
fn figure_of(metric: &str, row: &Value) -> Value {
    let n = row["n"].as_u64().unwrap_or(1);
    match metric {
        "gas_price" => (figure(&row["v"]) / u128::from(n)).to_string().into(),
        "average_block_time" if n == 0 => Value::Null,
        "average_block_time" => {
            let mean = row["v"].as_f64().expect("seconds") / n as f64;
            ((mean * 1e3).round() / 1e3).into()
        }
        _ => row["v"].clone(),
    }
}

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
    let units = [
        ("1h", "hour"),
        ("1d", "day"),
        ("1w", "week"),
        ("1m", "month"),
    ];
    for ((metric, query), (period, unit)) in FIGURES.iter().flat_map(|f| units.map(|u| (f, u))) {
        let path = "/api/v1/analytics/historical?chain=sample";
        let history = ok(&server, &format!("{path}&metric={metric}&period={period}"));
        let times = history["timestamps"].as_array().expect("times");
        let time = |time: &Value| time.as_str().expect("a time")[..13].to_owned();
        let values = history["values"]
            .as_array()
            .expect("values")
            .iter()
            .cloned();
        let folded: BTreeMap<_, _> = times.iter().map(time).zip(values).collect();
        let first = time(&times[0]);
        let rows = sql(&server, &query.replace("UNIT", unit));
        let rows = rows
            .iter()
            .map(|row| (time(&row["t"]), figure_of(metric, row)));
        let queried: BTreeMap<_, _> = rows.filter(|(time, _)| *time >= first).collect();
        let is_nothing = |value: &Value| value.is_null() || *value == 0 || *value == "0";
        let something = |figures: BTreeMap<String, Value>| -> BTreeMap<_, _> {
            figures
                .into_iter()
                .filter(|(_, value)| !is_nothing(value))
                .collect()
        };
        let (folded, queried) = (something(folded), something(queried));
        assert_eq!(folded, queried, "{metric} by {unit}");
        assert!(
            !folded.is_empty() || *metric == "failed_transaction_count",
            "{metric}"
        );
    }
}

#[test]
fn an_answer_that_fails_on_its_way_is_never_taken_for_a_whole_one() {
    let data = DataDir::with_samples();
    let limit = ("CAIRN_SQL__MAX_ROWS", "20000".to_owned());
    let server = all_published(serve_with(&data, &[limit]));
    for format in ["json", "ndjson", "csv", "arrow", "parquet"] {
        let query = "SELECT * FROM transactions";
        let path = format!("/api/v1/sql?format={format}");
        let length = query.len().to_string();
        let headers = [("content-type", "text/plain"), ("content-length", &*length)];
        let answer = bytes_of(&server.address, "POST", &path, &headers, query);
        let text = String::from_utf8_lossy(&answer);
        let is_error = text.starts_with("HTTP/1.1 422");
        let is_cut = text.starts_with("HTTP/1.1 200") && !answer.ends_with(b"0\r\n\r\n");
        assert!(is_error || is_cut, "{format}: {text:.300}");
        // Rows were on their way.
        assert_eq!(is_cut, format != "parquet", "{format}: {text:.300}");
    }
}

#[test]
fn an_answer_with_lists_is_not_csv_and_says_so() {
    let data = DataDir::with_samples();
    let server = published(&data);
    let body = json!({ "sql": "SELECT [1, 2] AS list" }).to_string();
    let ask = |format: &str| {
        post(
            &server.address,
            &format!("/api/v1/sql?format={format}"),
            &[],
            &body,
        )
    };
    let refused = ask("csv");
    let text = String::from_utf8_lossy(&refused.body).into_owned();
    assert_eq!(refused.status, 400, "{text}");
    assert!(text.contains("ask for JSON, Arrow or Parquet"), "{text}");
    assert_eq!(ask("json").status, 200);
}

#[test]
fn an_answer_is_not_older_than_was_asked_for() {
    let data = DataDir::with_samples();
    let server = published(&data);
    let ask = |position: u64| {
        let path = format!("/api/v1/sql?min_position={position}");
        let body = json!({ "sql": "SELECT count(*) AS n FROM blocks" }).to_string();
        post(&server.address, &path, &[], &body)
    };
    let answer = ask(1);
    assert_eq!(answer.status, 200);
    let position: u64 = answer.headers["x-cairn-position"]
        .parse()
        .expect("a position");
    assert_eq!(ask(position).status, 200);
    let late = ask(position + 1_000);
    let text = String::from_utf8_lossy(&late.body).into_owned();
    assert_eq!(late.status, 503, "{text}");
    assert!(text.contains("position_not_reached"), "{text}");
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
