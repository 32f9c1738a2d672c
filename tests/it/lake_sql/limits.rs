//! What is refused, and what is bounded.

use std::time::{Duration, Instant};

use cairn_domain::events::Visibility;
use cairn_lake::sql::{SqlCaller, SqlError, SqlFormat};

use super::{World, ask, bytes, collect};
use crate::{fold_properties::block_on, support::chain::RandomChain};

async fn with_blocks(count: usize, change: impl FnOnce(&mut cairn_lake::sql::SqlOptions)) -> World {
    let mut world = World::with(change).await;
    let mut chain = RandomChain::new("eth", 1);
    (0..count).for_each(|_| chain.append());
    while chain.hot() > 0 {
        chain.finalize();
    }
    chain.cut();
    world.take(&chain.commits).await;
    world
}

/// What was ended gives back its place and its memory, soon.
async fn assert_idle(world: &World) {
    let used = || (world.engine.running(), world.engine.memory_used());
    for _ in 0..150 {
        if used() == (0, 0) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("queries and bytes are still used: {:?}", used());
}

#[test]
fn statements_that_change_or_reach_out_are_refused() {
    block_on(async {
        let world = with_blocks(3, |_| ()).await;
        for sql in [
            "INSERT INTO blocks SELECT * FROM blocks",
            "CREATE TABLE t AS SELECT * FROM blocks",
            "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '/tmp'",
            "COPY blocks TO '/tmp/blocks.parquet'",
            "SET datafusion.execution.target_partitions = 1",
            "SELECT 1; DROP TABLE blocks",
            "SELECT * FROM '/etc/passwd'",
            "SELECT * FROM 'blocks.parquet'",
        ] {
            let error = world.refused(sql).await;
            assert!(matches!(error, SqlError::Refused(_)), "{sql}: {error}");
        }
        let error = world.refused("SELECT * FROM wallets").await;
        assert!(
            error
                .to_string()
                .starts_with("there is no table wallets; there are blocks, ")
        );
        let error = world
            .refused("SELECT * FROM read_parquet('/etc/passwd')")
            .await;
        assert!(matches!(error, SqlError::UnknownTable { .. }), "{error:?}");
        for sql in [
            "SELECT repeat('x', 1000000000)",
            "SELECT nothing FROM blocks",
            "SELECT amount_u256 FROM transactions WHERE amount_u256 = 'many'",
        ] {
            let error = world.refused(sql).await;
            assert!(matches!(error, SqlError::Plan(_)), "{sql}: {error:?}");
        }
    });
}

#[test]
fn tables_and_their_columns_are_shown() {
    block_on(async {
        let world = with_blocks(1, |_| ()).await;
        let tables = world.ask("SHOW TABLES").await;
        let names = tables.column("table_name");
        for dataset in cairn_domain::datasets::all() {
            assert!(names.contains(&dataset.name.into()), "{}", dataset.name);
        }
        let columns = world.ask("DESCRIBE blocks").await;
        assert!(columns.column("column_name").contains(&"final".into()));
        let plan = world
            .ask("EXPLAIN SELECT * FROM blocks WHERE chain = 'eth'")
            .await;
        assert!(!plan.rows.is_empty());
        let numbers = world
            .ask("SELECT count(*) FROM generate_series(1, 5)")
            .await;
        assert_eq!(numbers.number(), 5);
    });
}

#[test]
fn a_query_that_needs_too_much_ends_soon_and_says_so() {
    block_on(async {
        let world = with_blocks(2000, |options| {
            options.query_memory_bytes = 4 << 20;
            options.spill_bytes = 4 << 20;
            options.timeout = Duration::from_secs(5);
        })
        .await;
        for sql in [
            "SELECT * FROM transactions a, transactions b, transactions c ORDER BY a.hash, b.hash, c.hash",
            "SELECT a.hash, b.hash, count(*) FROM transactions a, transactions b GROUP BY 1, 2",
            "SELECT array_agg(a.hash) FROM transactions a, transactions b",
        ] {
            let begun = Instant::now();
            let error = world.refused(sql).await;
            assert!(
                matches!(error, SqlError::TooLarge { .. } | SqlError::TooSlow { .. }),
                "{sql}: {error:?}"
            );
            assert!(begun.elapsed() < Duration::from_secs(10), "{sql}");
        }
        let begun = Instant::now();
        let sql = "SELECT sum(a.height * b.height + c.height) FROM blocks a, blocks b, blocks c";
        let error = world.refused(sql).await;
        assert!(matches!(error, SqlError::TooSlow { .. }), "{error:?}");
        assert!(begun.elapsed() < Duration::from_secs(8));
        assert_idle(&world).await;
    });
}

/// A query whose texts become `times` as long at each of `steps`.
fn growing(steps: usize, times: usize, grown: impl Fn(&str) -> String) -> String {
    let mut query = "WITH t0 AS (SELECT hash AS t FROM transactions)".to_owned();
    for step in 1..=steps {
        let text = grown(&vec!["t"; times].join(","));
        query += &format!(", t{step} AS (SELECT {text} AS t FROM t{})", step - 1);
    }
    format!("{query} SELECT max(octet_length(t)) FROM t{steps}")
}

#[test]
fn texts_that_grow_without_end_are_refused_before_there_is_no_memory() {
    block_on(async {
        let world = with_blocks(200, |options| options.query_memory_bytes = 64 << 20).await;
        let concat = |list: &str| format!("concat({list})");
        let bars = |list: &str| list.replace(',', " || ");
        let array = |list: &str| format!("array_to_string([{list}], '')");
        let replace = |_: &str| format!("replace(t, '0', '{:0>200}')", "");
        let pattern = |_: &str| format!("regexp_replace(t, '.', '{}', 'g')", "\\0".repeat(50));
        for query in [
            growing(6, 50, concat),
            growing(6, 50, bars),
            growing(6, 50, array),
            growing(6, 1, replace),
            growing(6, 1, pattern),
        ] {
            let error = world.refused(&query).await;
            assert!(
                matches!(error, SqlError::TooLarge { .. }),
                "{query}: {error:?}"
            );
        }
        let long = "x".repeat(20_000);
        let error = world.refused(&format!("SELECT '{long}' FROM blocks")).await;
        assert!(matches!(error, SqlError::Plan(_)), "{error:?}");
        let error = error.to_string();
        assert!(
            error.starts_with("the constants of the query have 20000 bytes"),
            "{error}"
        );
        assert_idle(&world).await;

        // What only compares may be long, and what grows a little is answered.
        let none = format!(
            "SELECT count(*) FROM blocks WHERE hash IN ('{long}', '0x00') OR hash = '{long}'"
        );
        assert_eq!(world.ask(&none).await.number(), 0);
        for (query, length) in [
            (growing(1, 3, concat), 198),
            (growing(1, 3, bars), 198),
            (growing(1, 3, array), 198),
            (
                growing(1, 1, |_| format!("replace(t, '0x', '{:0>100}')", "")),
                164,
            ),
        ] {
            assert_eq!(world.ask(&query).await.number(), length, "{query}");
        }
        let texts = world.ask("SELECT height, chain || '-' || height || NULL AS none, '<' || chain || height || '>' AS some, upper(chain) || [1, 2][1] AS upper FROM blocks ORDER BY height LIMIT 1").await;
        assert_eq!(texts.column("none"), [serde_json::Value::Null]);
        let height = &texts.column("height")[0];
        assert_eq!(texts.column("some"), [format!("<eth{height}>")]);
        assert_eq!(texts.column("upper"), ["ETH1"]);
    });
}

#[test]
fn what_is_collected_into_one_value_is_bounded_and_in_order() {
    block_on(async {
        let world = with_blocks(200, |options| options.query_memory_bytes = 64 << 20).await;
        for collect in ["array_agg(a.hash)", "string_agg(a.hash, ',')"] {
            let query = format!("SELECT {collect} FROM transactions a, blocks b");
            let error = world.refused(&query).await;
            assert!(matches!(error, SqlError::TooLarge { .. }), "{error:?}");
        }
        // What comes again is not collected again.
        let distinct = "SELECT array_agg(DISTINCT a.chain) AS chains, count(DISTINCT b.height) FROM blocks a, blocks b, blocks c";
        let distinct = world.ask(distinct).await;
        assert_eq!(distinct.column("chains"), [serde_json::json!(["eth"])]);
        for (from, order) in [
            ("blocks", "DESC"),
            ("(SELECT * FROM blocks ORDER BY height DESC)", "ASC"),
        ] {
            let query = format!(
                "SELECT array_agg(height ORDER BY height {order}) AS heights, string_agg(chain, '+') AS chains FROM {from} WHERE height < 8"
            );
            let collected = world.ask(&query).await;
            let heights = collected.column("heights")[0].clone();
            let heights: Vec<u64> = serde_json::from_value(heights).expect("heights");
            let is_sorted = match order {
                "ASC" => heights.is_sorted(),
                _ => heights.iter().rev().is_sorted(),
            };
            assert!(is_sorted && heights.len() > 1, "{order}: {heights:?}");
            let chains = vec!["eth"; heights.len()].join("+");
            assert_eq!(collected.column("chains"), [chains]);
        }
    });
}

#[test]
fn an_answer_with_too_many_rows_fails_and_one_with_a_limit_is_cut() {
    block_on(async {
        let world = with_blocks(60, |options| options.max_rows = 50).await;
        let sql = "SELECT height FROM blocks ORDER BY height";
        let error = world.refused(sql).await;
        assert!(
            matches!(error, SqlError::TooManyRows { limit: 50 }),
            "{error:?}"
        );
        let mut caller = SqlCaller::new(Visibility::Public);
        caller.limit = Some(7);
        let answer = ask(&world.engine, sql, &caller).await.expect("an answer");
        assert_eq!(answer.rows.len(), 7);
        caller.limit = None;
        caller.max_rows = Some(5);
        let failed = collect(
            &world.engine,
            "SELECT 1 FROM blocks LIMIT 6",
            &caller,
            SqlFormat::Ndjson,
        );
        let failed = failed.await;
        assert!(matches!(failed, Err(SqlError::TooManyRows { limit: 5 })));
    });
}

#[test]
fn one_caller_leaves_room_for_others() {
    block_on(async {
        let world = with_blocks(100, |options| {
            (options.concurrency, options.concurrency_of_a_caller) = (3, 2);
        });
        let world = world.await;
        let sql = "SELECT a.hash FROM blocks a, blocks b, blocks c";
        let mut greedy = SqlCaller::new(Visibility::Public);
        greedy.name = Some("greedy".into());
        let first = world.engine.query(sql, &greedy).await.expect("an answer");
        let _second = world.engine.query(sql, &greedy).await.expect("an answer");
        let third = world.engine.query(sql, &greedy).await;
        assert!(
            matches!(third, Err(SqlError::CallerBusy { running: 2, .. })),
            "{third:?}"
        );
        let other = SqlCaller::new(Visibility::Public);
        drop(
            world
                .engine
                .query(sql, &other)
                .await
                .expect("there is room"),
        );
        drop(first);
        while world.engine.running() > 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        drop(world.engine.query(sql, &greedy).await.expect("an answer"));
    });
}

#[test]
fn a_caller_for_whom_there_is_no_room_is_told_when_to_come_again() {
    block_on(async {
        let world = with_blocks(100, |options| options.concurrency = 1).await;
        let caller = SqlCaller::new(Visibility::Public);
        let sql = "SELECT a.hash FROM blocks a, blocks b, blocks c";
        let running = world.engine.query(sql, &caller).await.expect("an answer");
        assert_eq!(world.engine.running(), 1);
        let error = world.refused("SELECT 1").await;
        assert!(
            matches!(error, SqlError::Busy { running: 1, .. }),
            "{error:?}"
        );
        // Dropping an answer ends its query.
        drop(running);
        assert_idle(&world).await;
        world.ask("SELECT 1").await;
        assert!(
            bytes(&world.engine, "SELECT 1", SqlFormat::Csv)
                .await
                .is_ok()
        );
    });
}
