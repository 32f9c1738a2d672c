//! Which roles are ready, and what keeps them from it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use cairn_engine::health::{Health, Phase};
use serde_json::{Value, json};

use super::fixture::{Reply, Server, TestShard, block};
use crate::{ApiConfig, Roles, ShardArgs};

/// A server whose components are those that the test makes up.
fn server(shard: &Arc<TestShard>) -> (Server, Arc<Health>) {
    let health = Arc::new(Health::default());
    let args = ShardArgs {
        health: Arc::clone(&health),
        ..shard.args("main")
    };
    let shards = [Arc::clone(shard)];
    let server = Server::with_args(&shards, vec![args], ApiConfig::default(), BTreeMap::new());
    (server, health)
}

/// Waits until `/health/ready` is as it should be.
async fn until(server: &Server, holds: impl Fn(&Value) -> bool) {
    for _ in 0..1000 {
        if holds(&server.get("/health/ready").await.json) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("{}", server.get("/health/ready").await.json);
}

async fn settled(server: &Server) {
    until(server, |health| health["ready"] == true).await;
}

/// Appends a block that stands on none: the projection of blocks stops.
async fn stop_blocks(shard: &TestShard) {
    shard.append("eth", block(1, 1, 0, &[])).await;
    shard.append("eth", block(9, 9, 5, &[])).await;
}

fn ready(reply: &Reply) -> [Option<bool>; 2] {
    ["query", "ingest"].map(|role| reply.json["roles"][role]["ready"].as_bool())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_component_says_keeps_only_the_roles_from_being_ready_that_need_it() {
    use Phase::{CatchingUp, Failed, Following, Starting, Waiting};
    let far = Some((0, 1001));
    let shard = TestShard::open().await;
    for (component, phase, at, query, ingest) in [
        ("fold", Failed, None, false, false),
        ("fold", Starting, None, false, false),
        ("fold", CatchingUp, far, false, false),
        ("fold", Following, far, false, false),
        ("fold", CatchingUp, Some((0, 1000)), true, true),
        ("rebuild", Failed, None, false, true),
        ("rebuild", CatchingUp, far, true, true),
        ("log", Starting, None, false, false),
        ("log", Failed, None, false, false),
        ("log", CatchingUp, far, false, false),
        ("log", CatchingUp, Some((0, 1000)), true, true),
        ("log", Following, far, true, true),
        ("log", Waiting, far, false, false),
        ("log", Waiting, Some((0, 1000)), true, false),
        ("leader", Starting, None, true, false),
        ("leader", Waiting, None, true, false),
        ("leader", Failed, None, true, false),
        ("leader", Following, None, true, true),
        ("source/eth", Starting, None, true, true),
        ("source/eth", CatchingUp, far, true, true),
        ("source/eth", Waiting, None, true, true),
        ("source/eth", Failed, None, true, false),
        ("something", Waiting, None, true, true),
        ("something", Failed, None, false, false),
    ] {
        let (server, health) = server(&shard);
        let reporter = health.reporter(component);
        if let Some((at, target)) = at {
            reporter.at(at, target);
        }
        reporter.phase(phase);
        let name = format!("{component} {phase:?} {at:?}");
        let reply = server.get("/health/ready").await;
        assert_eq!(ready(&reply), [Some(query), Some(ingest)], "{name}");
        assert_eq!(reply.json["ready"], query && ingest, "{name}");
        assert_eq!(server.app.is_ready(), query && ingest, "{name}");
        assert_eq!(reply.status.is_success(), query && ingest, "{name}");
        assert_eq!(reply.json["degraded"], phase == Waiting, "{name}");
        let reasons = reply.json["reasons"].as_array().unwrap();
        let named = |reason: &Value| reason.as_str().unwrap().starts_with(component);
        assert!(reasons.iter().all(named), "{reasons:?}");
        assert_eq!(reasons.len(), usize::from(!(query && ingest)), "{name}");
        for (role, expected) in [("query", query), ("ingest", ingest)] {
            let alone = server.get(&format!("/health/ready?role={role}")).await;
            assert_eq!(alone.status.is_success(), expected, "{name} {role}");
            assert_eq!(alone.json["ready"], expected, "{name} {role}");
            assert_eq!(alone.json["roles"].as_object().unwrap().len(), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_projection_that_stopped_keeps_queries_from_being_ready_and_no_ingestion() {
    let (server, _) = server(&TestShard::open().await);
    stop_blocks(&server.shards[0]).await;
    let reply = server.get("/health/ready").await;
    assert_eq!(ready(&reply), [Some(false), Some(true)]);
    assert_eq!(reply.json["reasons"], json!(["projection blocks stopped"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_answers_for_the_roles_that_it_has_and_no_others() {
    for (roles, own, other) in [
        (Roles::QUERY, "query", "ingest"),
        (Roles::INGEST, "ingest", "query"),
    ] {
        let config = ApiConfig {
            roles,
            ..ApiConfig::default()
        };
        let server = Server::start(config, BTreeMap::new()).await;
        settled(&server).await;
        let reply = server.get("/health/ready").await.json;
        assert_eq!(reply["roles"], json!({own: {"ready": true, "reasons": []}}));
        let alone = server.get(&format!("/health/ready?role={own}")).await;
        assert_eq!(alone.json["ready"], true);
        let reply = server.get(&format!("/health/ready?role={other}")).await;
        assert_eq!(reply.status, 404);
        let message = reply.json["error"]["message"].as_str().unwrap();
        assert!(message.ends_with(&format!("it has: {own}")), "{message}");
        let reply = server.get("/health/ready?role=writer").await;
        assert_eq!(reply.status, 400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_without_the_query_role_serves_health_and_metrics_alone() {
    let config = ApiConfig {
        roles: Roles::INGEST,
        ..ApiConfig::default()
    };
    let server = Server::start(config, BTreeMap::new()).await;
    settled(&server).await;
    for path in ["/health/live", "/health/ready", "/metrics"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
    for path in [
        "/api/chains",
        "/api/v1/explorer/blocks",
        "/api/v1/docs/",
        "/api/v1/openapi.json",
    ] {
        let reply = server.get(path).await;
        assert_eq!(reply.status, 404, "{path}");
        let message = reply.json["error"]["message"].as_str().unwrap();
        assert!(message.contains("query role"), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_several_shards_every_name_says_of_which_one_it_is() {
    let server = Server::sharded(ApiConfig::default()).await;
    server.append("eth", block(1, 1, 0, &[])).await;
    settled(&server).await;
    let say = |health: &Arc<Health>, name: &str, phase| {
        health.reporter(name).phase(phase);
    };
    say(&server.shards[1].health, "source/base", Phase::Failed);
    say(&server.health, "leader", Phase::Waiting);
    stop_blocks(&server.shards[1]).await;
    until(&server, |health| {
        health["components"]["shard-1/fold"]["phase"] == "failed"
    })
    .await;
    let reply = server.get("/health/ready").await.json;
    let names = |of: &str| -> Vec<String> {
        let of = reply[of].as_object().unwrap();
        of.keys().cloned().collect()
    };
    let components = [
        "leader",
        "main/fold",
        "shard-1/fold",
        "shard-1/source/base",
        "streams",
    ];
    assert_eq!(names("components"), components);
    assert!(names("projections").contains(&"shard-1/blocks".to_owned()));
    assert_eq!(reply["position"], 1);
    assert_eq!(reply["shards"], json!({"main": 1, "shard-1": 2}));
    let fold = "shard-1/fold failed";
    let (leader, source) = ("leader is waiting", "shard-1/source/base failed");
    let projection = "projection shard-1/blocks stopped";
    for (of, reasons) in [
        (&reply["roles"]["query"], json!([fold, projection])),
        (&reply["roles"]["ingest"], json!([leader, fold, source])),
        (&reply, json!([leader, fold, source, projection])),
    ] {
        assert_eq!(of["reasons"], reasons);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_name_the_shard_and_tell_what_waits() {
    let shards = [TestShard::open().await, TestShard::open().await];
    // Other tests of this process have the same recorder.
    let args = vec![shards[0].args("counted-0"), shards[1].args("counted-1")];
    let server = Server::with_args(&shards, args, ApiConfig::default(), BTreeMap::new());
    server.append("eth", block(1, 1, 0, &[])).await;
    settled(&server).await;
    let log = server.shards[1].health.reporter("log");
    log.at(3, 10);
    log.phase(Phase::Waiting);
    let text = server.get("/metrics").await.text;
    for line in [
        "cairn_store_position{shard=\"counted-0\"} 1",
        "cairn_store_position{shard=\"counted-1\"} 0",
        "cairn_projection_position{shard=\"counted-0\",projection=\"blocks\"} 1",
        "cairn_component_failed{shard=\"counted-0\",component=\"fold\"} 0",
        "cairn_component_waiting{shard=\"counted-1\",component=\"log\"} 1",
        "cairn_log_head{shard=\"counted-0\"} 1",
        "cairn_log_lag{shard=\"counted-0\"} 0",
        "cairn_log_lag{shard=\"counted-1\"} 7",
    ] {
        assert!(text.lines().any(|own| own == line), "no {line} in\n{text}");
    }
    assert!(text.contains("cairn_ready{role=\"query\"}"), "{text}");
}
