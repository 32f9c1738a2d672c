//! Literals, functions, and the forms of answers.

use cairn_lake::sql::SqlFormat;
use serde_json::{Value, json};

use super::{World, bytes};
use crate::{fold_properties::block_on, support::chain::RandomChain};

/// A chain with 200 final blocks from height 5 on, all in files.
fn chain() -> RandomChain {
    let mut chain = RandomChain::new("eth", 5);
    (0..200).for_each(|_| chain.append());
    while chain.hot() > 0 {
        chain.finalize();
    }
    chain.cut();
    chain
}

async fn world() -> World {
    let mut world = World::new().await;
    world.take(&chain().commits).await;
    world
}

fn upper(hex: &Value) -> String {
    let digits = hex
        .as_str()
        .and_then(|hex| hex.strip_prefix("0x"))
        .expect("hex");
    format!("0x{}", digits.to_uppercase())
}

#[test]
fn hashes_and_accounts_are_compared_in_any_case() {
    block_on(async {
        let world = world().await;
        let some = world
            .ask("SELECT hash, from_address FROM transactions LIMIT 1")
            .await;
        let (hash, from) = (
            upper(&some.rows[0]["hash"]),
            upper(&some.rows[0]["from_address"]),
        );
        let all = world
            .ask("SELECT count(*) FROM transactions")
            .await
            .number();
        let sent = format!(
            "SELECT count(*) FROM transactions WHERE lower(from_address) = lower('{from}')"
        );
        let sent = world.ask(&sent).await.number();
        for (filter, expected) in [
            (format!("hash = '{hash}'"), 1),
            (format!("'{hash}' = hash"), 1),
            (format!("hash IN ('{hash}', '0xAB')"), 1),
            (format!("hash NOT IN ('{hash}')"), all - 1),
            (format!("hash <> '{hash}'"), all - 1),
            (format!("hash BETWEEN '{hash}' AND '{hash}'"), 1),
            (format!("from_address = '{from}'"), sent),
            (
                format!("hash = (SELECT hash FROM transactions WHERE hash = '{hash}')"),
                1,
            ),
            (
                format!(
                    "block_height IN (SELECT block_height FROM transactions WHERE hash IN ('{hash}')) AND hash = '{hash}'"
                ),
                1,
            ),
        ] {
            let answer = world
                .ask(&format!("SELECT count(*) FROM transactions WHERE {filter}"))
                .await;
            assert_eq!(answer.number(), expected, "{filter}");
        }
        let renamed = format!(
            "WITH t AS (SELECT hash AS h FROM transactions) SELECT count(*) FROM t WHERE h = '{hash}'"
        );
        assert_eq!(world.ask(&renamed).await.number(), 1);
    });
}

#[test]
fn exact_numbers_and_bytes_are_compared_with_hex() {
    block_on(async {
        let world = world().await;
        let sql = "SELECT amount, u256_to_text(amount_u256) AS exact, hex(amount_u256) AS word, hex(input) AS input
            FROM transactions WHERE length(hex(input)) > 10 LIMIT 1";
        let row = world.ask(sql).await.rows.remove(0);
        assert_eq!(row["amount"], row["exact"]);
        let lengths = "SELECT count(*) FROM transactions WHERE 2 + 2 * octet_length(input) <> length(hex(input))
            OR octet_length('0xé') <> 4 OR octet_length(hash) <> 66";
        assert_eq!(world.ask(lengths).await.number(), 0);
        let amount: u64 = row["amount"]
            .as_str()
            .expect("a text")
            .parse()
            .expect("a number");
        let input = row["input"].as_str().expect("hex").to_owned();
        for filter in [
            format!("amount_u256 = '{}'", row["word"].as_str().expect("hex")),
            format!("amount_u256 = '0x{amount:X}'"),
            format!("amount_u256 = '{amount}'"),
            format!("amount_u256 IN ('0x{amount:x}', '0x0')"),
            format!("amount_u256 >= '0x{amount:x}' AND amount_u256 <= '{amount}'"),
            format!("amount_u256 BETWEEN '{amount}' AND '{amount}'"),
            format!("amount = {amount}"),
        ] {
            let sql = format!("SELECT DISTINCT amount FROM transactions WHERE {filter}");
            let answer = world.ask(&sql).await;
            assert_eq!(answer.one(), &json!(amount.to_string()), "{filter}");
        }
        let equal = format!("SELECT DISTINCT hex(input) FROM transactions WHERE input = '{input}'");
        assert_eq!(world.ask(&equal).await.one(), &json!(input));
        let upper = input.to_uppercase().replacen("0X", "0x", 1);
        let listed =
            format!("SELECT DISTINCT hex(input) FROM transactions WHERE input IN ('{upper}')");
        assert_eq!(world.ask(&listed).await.one(), &json!(input));
    });
}

#[test]
fn sums_of_the_largest_numbers_are_exact() {
    block_on(async {
        let world = world().await;
        let most = "9".repeat(38);
        let values =
            format!("(SELECT CAST('{most}' AS DECIMAL(38,0)) AS a FROM generate_series(1, 10))");
        let sum = world.ask(&format!("SELECT sum(a) FROM {values}")).await;
        assert_eq!(sum.one(), &json!(format!("{}0", "9".repeat(38))));
        let grouped = format!("SELECT DISTINCT sum(a) OVER () FROM {values} WHERE a > 0");
        assert_eq!(world.ask(&grouped).await.one(), sum.one());
        let sql = "SELECT from_address, sum(amount) AS total FROM transactions
            GROUP BY 1 HAVING sum(amount) > 0 ORDER BY total DESC, 1";
        let totals = world.ask(sql).await.column("total");
        let total = |text: &Value| text.as_str().and_then(|text| text.parse::<u64>().ok());
        let totals: Vec<_> = totals.iter().map(total).collect();
        assert!(
            totals.len() > 5 && totals.is_sorted_by(|a, b| a >= b),
            "{totals:?}"
        );
        let mixed = "SELECT sum(amount) FROM transactions UNION ALL SELECT amount FROM transactions LIMIT 3";
        assert_eq!(world.ask(mixed).await.rows.len(), 3);
    });
}

#[test]
fn the_same_rows_come_in_every_form() {
    block_on(async {
        let world = world().await;
        let sql =
            "SELECT chain, block_height, timestamp, amount, amount_u256, input, success, to_address
            FROM transactions ORDER BY block_height, transaction_index LIMIT 20";
        let answer = world.ask(sql).await;
        let types: Vec<_> = answer
            .columns
            .iter()
            .map(|(_, kind)| kind.as_str())
            .collect();
        assert_eq!(
            types,
            [
                "text",
                "int64",
                "timestamp",
                "decimal(38,0)",
                "bytes",
                "bytes",
                "boolean",
                "text"
            ]
        );
        let first = &answer.rows[0];
        assert!(
            first["timestamp"].as_str().expect("a text").ends_with('Z'),
            "{first}"
        );
        assert!(
            first["amount"].is_string() && first["block_height"].is_u64(),
            "{first}"
        );
        assert_eq!(first["amount_u256"].as_str().expect("a text").len(), 66);
        let lines = bytes(&world.engine, sql, SqlFormat::Ndjson)
            .await
            .expect("an answer");
        let lines = String::from_utf8(lines).expect("text");
        let rows: Vec<Value> = lines
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        assert_eq!(rows, answer.rows);
        let csv = bytes(&world.engine, sql, SqlFormat::Csv)
            .await
            .expect("an answer");
        let csv = String::from_utf8(csv).expect("text");
        assert_eq!(csv.lines().count(), 21);
        assert!(csv.starts_with("chain,block_height,timestamp,amount,"));
        let parquet = bytes(&world.engine, sql, SqlFormat::Parquet)
            .await
            .expect("an answer");
        assert!(parquet.starts_with(b"PAR1") && parquet.ends_with(b"PAR1"));
        let arrow = bytes(&world.engine, sql, SqlFormat::Arrow)
            .await
            .expect("an answer");
        assert!(arrow.starts_with(&[0xff; 4]));
    });
}

#[test]
fn an_answer_without_rows_has_its_columns() {
    block_on(async {
        let world = world().await;
        let sql = "SELECT height, hash FROM blocks WHERE chain = 'other'";
        let answer = world.ask(sql).await;
        assert_eq!((answer.rows.len(), answer.columns.len()), (0, 2));
        let csv = bytes(&world.engine, sql, SqlFormat::Csv)
            .await
            .expect("an answer");
        assert_eq!(csv, b"height,hash\n");
        for format in SqlFormat::ALL {
            let encoded = bytes(&world.engine, sql, format).await;
            assert!(encoded.is_ok(), "{}", format.name());
        }
    });
}

#[test]
fn filters_choose_files_and_blocks_before_they_are_read() {
    block_on(async {
        let mut world = world().await;
        let mut chain = chain();
        let old = chain.commits.len();
        (0..30).for_each(|_| chain.append());
        world.take(&chain.commits[old..]).await;
        let files = world.lake.manifest().files_of("blocks").count();
        assert!(files > 10, "there are {files}");
        for (filter, most) in [
            ("height = 17", 1),
            ("height BETWEEN 20 AND 29", 2),
            ("height < 30 AND chain = 'eth'", 3),
            ("chain = 'other'", 0),
            ("NOT final", 0),
            ("timestamp < TIMESTAMP '2001-01-01T00:00:00Z'", 0),
        ] {
            let plan = world
                .ask(&format!("EXPLAIN SELECT * FROM blocks WHERE {filter}"))
                .await;
            let plan = plan.column("plan").pop().unwrap_or_default().to_string();
            let read = plan.matches(".parquet").count();
            assert!(read <= most, "{filter}: {plan}");
        }
        let tail = world
            .ask("EXPLAIN SELECT * FROM blocks WHERE height > 230")
            .await;
        let plan = tail.column("plan").pop().unwrap_or_default().to_string();
        assert!(
            plan.contains("blocks=4") && !plan.contains(".parquet"),
            "{plan}"
        );
        let sorted = world
            .ask("EXPLAIN SELECT height FROM blocks WHERE chain = 'eth' ORDER BY height")
            .await;
        let plan = sorted.column("plan").pop().unwrap_or_default().to_string();
        assert!(!plan.contains("SortExec"), "rows stand in order: {plan}");
    });
}
