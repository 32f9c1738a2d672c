//! Several logs in one server.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::http::StatusCode;
use cairn_domain::Position;
use serde_json::{Value, json};

use super::fixture::{ALICE, Reply, Server, TestShard, block};
use crate::{ApiConfig, App, AppError, Desks, Roles, cursor::Cursor};

/// Chain `eth` in the first shard, `base` in the second, with as many blocks as said.
async fn server(eth: u64, base: u64) -> Server {
    let config = ApiConfig {
        assigned: BTreeMap::from([("eth".into(), 0), ("base".into(), 1)]),
        position_patience: Duration::from_millis(50),
        ..ApiConfig::default()
    };
    let server = Server::sharded(config).await;
    grow(&server, 0, "eth", 0..eth).await;
    grow(&server, 1, "base", 0..base).await;
    server
}

async fn grow(server: &Server, shard: usize, chain: &str, heights: std::ops::Range<u64>) {
    for height in heights {
        let nonces = [2 * height, 2 * height + 1];
        let events = block(1, 1, height, &nonces);
        server.shards[shard].append(chain, events).await;
    }
}

fn text<'a>(json: &'a Value, name: &str) -> &'a str {
    json[name].as_str().unwrap_or_else(|| panic!("{json}"))
}

fn decoded(server: &Server, text: &str) -> Vec<Position> {
    let cursor = Cursor::decode(text, &server.app.cursor_keys).unwrap();
    cursor.positions().to_vec()
}

fn position(reply: &Reply) -> &str {
    reply.headers["x-cairn-position"].to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn chains_of_all_shards_are_one_list_sorted_by_name() {
    let server = server(3, 2).await;
    let reply = server.get("/api/chains").await;
    let rows = reply.json["chains"].as_array().unwrap();
    let shown = |row: &Value| json!([row["name"], row["shard"], row["default"]]);
    let shown: Vec<_> = rows.iter().map(shown).collect();
    assert_eq!(
        shown,
        [
            json!(["base", "shard-1", false]),
            json!(["eth", "main", false])
        ]
    );
    assert_eq!(position(&reply), "3,2");
    assert_eq!(rows[0]["head"]["height"], 1);
    let unsharded = Server::start(ApiConfig::default(), BTreeMap::new()).await;
    unsharded.append("eth", block(1, 1, 0, &[])).await;
    let reply = unsharded.get("/api/chains").await;
    assert_eq!(reply.json["chains"][0].get("shard"), None);
    assert_eq!(position(&reply), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_is_read_from_its_shard_and_an_unknown_one_is_told_all_names() {
    let server = server(3, 2).await;
    for (chain, total, at) in [("eth", 3, "3"), ("base", 2, "2")] {
        let blocks = format!("/api/explorer/blocks?chain={chain}");
        let reply = server.get(&blocks).await;
        assert_eq!(reply.json["total"], total, "{chain}");
        assert_eq!(position(&reply), at, "{chain}");
    }
    for (query, code) in [("", "chain_required"), ("?chain=doge", "unknown_chain")] {
        let reply = server.get(&format!("/api/explorer/blocks{query}")).await;
        assert_eq!(reply.json["error"]["code"], code);
        assert_eq!(
            reply.json["error"]["details"]["chains"],
            json!(["base", "eth"])
        );
        assert_eq!(position(&reply), "3,2");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_chain_of_all_shards_need_not_be_named() {
    let server = Server::sharded(ApiConfig::default()).await;
    grow(&server, 1, "base", 0..2).await;
    let blocks = server.get("/api/explorer/blocks").await;
    assert_eq!(blocks.json["total"], 2);
    let chains = server.get("/api/chains").await.json;
    assert_eq!(chains["chains"][0]["default"], true);
    grow(&server, 0, "eth", 0..1).await;
    let blocks = server.get("/api/explorer/blocks").await;
    assert_eq!(blocks.status, StatusCode::BAD_REQUEST);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_that_two_shards_hold_is_of_the_assigned_one_else_of_the_first() {
    for (assigned, total) in [(None, 3), (Some(0), 3), (Some(1), 1)] {
        let config = ApiConfig {
            assigned: assigned
                .map(|shard| ("eth".into(), shard))
                .into_iter()
                .collect(),
            ..ApiConfig::default()
        };
        let server = Server::sharded(config).await;
        grow(&server, 0, "eth", 0..3).await;
        grow(&server, 1, "eth", 0..1).await;
        let blocks = server.get("/api/explorer/blocks?chain=eth").await.json;
        assert_eq!(blocks["total"], total, "{assigned:?}");
        let chains = server.get("/api/chains").await.json;
        assert_eq!(chains["chains"].as_array().unwrap().len(), 1);
        assert_eq!(chains["chains"][0]["head"]["height"], total - 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_assigned_chain_without_a_block_is_empty_and_not_an_error() {
    let server = server(1, 0).await;
    let reply = server.get("/api/explorer/blocks?chain=base").await;
    assert_eq!(reply.status, StatusCode::OK);
    assert_eq!(reply.json["total"], 0);
    assert_eq!(position(&reply), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_several_shards_names_all_positions_and_each_chain_is_read_as_of_its_own() {
    let server = server(3, 2).await;
    let moment = server.get("/api/chains").await.json;
    let moment = text(&moment, "cursor").to_owned();
    assert_eq!(decoded(&server, &moment), [3, 2].map(Position));
    let read = async |chain| {
        let path = format!("/api/explorer/blocks?limit=1&chain={chain}&at={moment}");
        server.get(&path).await
    };
    let before = [read("eth").await, read("base").await];
    grow(&server, 0, "eth", 3..5).await;
    grow(&server, 1, "base", 2..7).await;
    let after = [read("eth").await, read("base").await];
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.json, after.json);
        assert_eq!(before.headers["etag"], after.headers["etag"]);
    }
    assert_eq!((position(&after[0]), position(&after[1])), ("3", "2"));
    // A page of now names what the other shards hold now.
    let page = server.get("/api/explorer/blocks?limit=1&chain=eth").await;
    let next = text(&page.json, "next_cursor");
    assert_eq!(decoded(&server, next), [5, 7].map(Position));
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_a_chain_of_the_second_shard_go_on_to_the_end_while_both_shards_grow() {
    let server = server(4, 6).await;
    for list in [
        "blocks",
        "transactions",
        &format!("addresses/{ALICE}/transactions"),
    ] {
        let path = format!("/api/explorer/{list}?chain=base");
        let rows = list.rsplit('/').next().unwrap();
        let all = server.get(&format!("{path}&limit=200")).await.json;
        let (mut pages, mut cursor) = (Vec::new(), String::new());
        let moment = server.app.positions();
        loop {
            let page = server.get(&format!("{path}&limit=5{cursor}")).await;
            assert_eq!(page.status, StatusCode::OK, "{}", page.json);
            pages.extend(page.json[rows].as_array().unwrap().iter().cloned());
            for (shard, chain) in [(0, "eth"), (1, "base")] {
                let height = server.app.positions()[shard].0;
                grow(&server, shard, chain, height..height + 1).await;
            }
            let Some(next) = page.json["next_cursor"].as_str() else {
                break;
            };
            assert_eq!(
                decoded(&server, next),
                moment,
                "all pages are of one moment"
            );
            cursor = format!("&cursor={next}");
        }
        assert_eq!(Value::from(pages), all[rows], "{list}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_from_before_a_shard_was_added_stays_valid_for_the_chains_of_that_time() {
    let (first, second) = (TestShard::open().await, TestShard::open().await);
    let serve =
        |shards: &[Arc<TestShard>]| Server::over(shards, ApiConfig::default(), BTreeMap::new());
    let before = serve(&[Arc::clone(&first)]);
    grow(&before, 0, "eth", 0..3).await;
    let page = before.get("/api/explorer/blocks?limit=1").await.json;
    let list = text(&page, "next_cursor").to_owned();
    let chains = before.get("/api/chains").await.json;
    let moment = text(&chains, "cursor").to_owned();
    let expected = before
        .get(&format!("/api/explorer/blocks?limit=2&cursor={list}"))
        .await
        .json;

    let after = serve(&[first, second]);
    grow(&after, 0, "eth", 3..4).await;
    grow(&after, 1, "base", 0..2).await;
    let went_on = after
        .get(&format!(
            "/api/explorer/blocks?limit=2&chain=eth&cursor={list}"
        ))
        .await;
    assert_eq!(went_on.json, expected);
    let then = format!("/api/explorer/blocks?limit=1&chain=eth&at={moment}");
    let then = after.get(&then).await.json;
    assert_eq!(then["total"], 3);
    let next = text(&then, "next_cursor");
    assert_eq!(decoded(&after, next), [3, 2].map(Position));

    for query in [format!("cursor={list}"), format!("at={moment}")] {
        let path = format!("/api/explorer/blocks?chain=base&{query}");
        let refused = after.get(&path).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST);
        assert_eq!(refused.json["error"]["code"], "invalid_cursor");
        let message = text(&refused.json["error"], "message");
        assert!(message.contains("before shard `shard-1`"), "{message}");
    }
    // A server that lacks the shard takes no cursor that names it.
    let refused = before
        .get(&format!("/api/explorer/blocks?cursor={next}"))
        .await;
    assert_eq!(refused.json["error"]["code"], "invalid_cursor");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minimum_position_is_of_the_shard_that_is_read() {
    let server = server(5, 2).await;
    for (path, minimum, status) in [
        ("explorer/blocks?chain=eth&", "5", 200),
        ("explorer/blocks?chain=base&", "2", 200),
        ("explorer/blocks?chain=base&", "5", 503),
        ("explorer/blocks?chain=base&", "9,2", 200),
        ("explorer/blocks?chain=eth&", "9,2", 503),
        ("explorer/blocks?chain=base&", "1,2,3", 400),
        ("chains?", "5", 200),
        ("chains?", "5,2", 200),
        ("chains?", "5,3", 503),
        ("chains?", "6", 503),
    ] {
        let path = format!("/api/{path}min_position={minimum}");
        let reply = server.get(&path).await;
        assert_eq!(reply.status.as_u16(), status, "{path}: {}", reply.json);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_block_of_a_chain_of_a_later_shard_can_be_waited_for() {
    let config = ApiConfig {
        assigned: BTreeMap::from([("base".into(), 1)]),
        position_patience: Duration::from_secs(10),
        ..ApiConfig::default()
    };
    let server = Server::sharded(config).await;
    let reading = server.get("/api/explorer/blocks?chain=base&min_position=2");
    let (reply, ()) = tokio::join!(reading, grow(&server, 1, "base", 0..2));
    assert_eq!(reply.json["total"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_a_cursor_names_of_the_shard_that_is_read_can_be_beyond_its_log() {
    let server = server(3, 2).await;
    for (positions, chain, code) in [
        ([3, 1_000_000], "eth", None),
        ([3, 1_000_000], "base", Some("invalid_cursor")),
        ([3, 3], "base", Some("position_not_reached")),
        ([4, 2], "base", None),
    ] {
        let cursor = Cursor::at(positions.map(Position).to_vec()).encode(&server.app.cursor_keys);
        let path = format!("/api/explorer/blocks?chain={chain}&at={cursor}");
        let reply = server.get(&path).await.json;
        assert_eq!(
            reply["error"]["code"].as_str(),
            code,
            "{positions:?} {chain}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_refused_when_shards_assignments_and_roles_do_not_fit() {
    let shard = TestShard::open().await;
    let make = |names: &[&str], change: fn(&mut ApiConfig)| {
        let shards = names.iter().map(|name| shard.args(name)).collect();
        let mut config = ApiConfig::default();
        change(&mut config);
        App::new(
            shards,
            Arc::default(),
            config,
            BTreeMap::new(),
            None,
            Desks::default(),
        )
        .map(|_| ())
    };
    let none = |_: &mut ApiConfig| {};
    assert_eq!(make(&["a", "b"], none), Ok(()));
    assert_eq!(make(&[], none), Err(AppError::ShardCount(0)));
    assert_eq!(make(&["a"; 2], none), Err(AppError::ShardTwice("a".into())));
    let misplaced = make(&["a"], |config| {
        config.assigned.insert("eth".into(), 1);
    });
    let (chain, shard, count) = ("eth".into(), 1, 1);
    assert_eq!(
        misplaced,
        Err(AppError::NoSuchShard {
            chain,
            shard,
            count
        })
    );
    let idle = make(&["a"], |config| {
        (config.roles.ingest, config.roles.query) = (false, false);
        config.roles.lake = false;
    });
    assert_eq!(idle, Err(AppError::NoRole));
    assert_eq!(ApiConfig::default().roles, Roles::ALL);
}
