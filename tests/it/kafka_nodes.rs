//! Nodes of the real binary around one topic: who writes, who reads, who takes over.

use std::{
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    sources_world::{FakeNode, block_json, receipts_json},
    support::{
        deployment::{Deployment, leads, reach, ready},
        http::get,
        kafka,
        process::{SAMPLE_BLOCKS, SAMPLES, Server},
        rounds,
    },
};

mod faults;

const ALL: &str = r#"["ingest", "query"]"#;
const INGEST: &str = r#"["ingest"]"#;
const QUERY: &str = r#"["query"]"#;
/// What a takeover may take; longer, a real one would not have been within seconds.
const TAKEOVER: Duration = Duration::from_secs(30);

/// A node of a chain that grows by itself.
struct Growing {
    _node: FakeNode,
    url: String,
    started: Instant,
    stopped: Arc<Mutex<Option<u64>>>,
}

/// Blocks a second.
const PACE: u64 = 50;

fn height(started: Instant, stopped: &Mutex<Option<u64>>) -> u64 {
    let grown = u64::try_from(started.elapsed().as_millis()).expect("small") * PACE / 1000;
    stopped.lock().expect("no panic").unwrap_or(grown)
}

impl Growing {
    async fn new() -> Self {
        let (started, stopped) = (Instant::now(), Arc::default());
        let held = Arc::clone(&stopped);
        let node = FakeNode::answering(move |method, params| {
            answer(method, params, height(started, &held))
        })
        .await;
        Self {
            url: node.url.clone(),
            _node: node,
            started,
            stopped,
        }
    }

    fn source(&self) -> String {
        format!(
            "[[source]]\nname = \"eth\"\nkind = \"evm-rpc\"\nurl = \"{}\"\npoll_interval = \"50ms\"\nfinality_depth = 20\n",
            self.url
        )
    }

    /// No more blocks from now on; gives the height of the last.
    fn stop(&self) -> u64 {
        let height = height(self.started, &self.stopped);
        *self.stopped.lock().expect("no panic") = Some(height);
        height
    }
}

fn answer(method: &str, params: &Value, head: u64) -> Result<Value, Value> {
    let number = |tag: &Value| u64::from_str_radix(tag.as_str()?.strip_prefix("0x")?, 16).ok();
    let at = |tag: &Value| match tag.as_str() {
        Some("latest") => Some(head),
        _ => number(tag).filter(|height| *height <= head),
    };
    let block = |tag: &Value| at(tag).map(|height| block_json(0, u64::MAX, height, 2));
    match method {
        "eth_chainId" => Ok(json!("0x1")),
        "eth_getBlockByNumber" if params[0] == "finalized" => {
            Err(json!({"code": -32602, "message": "unknown tag"}))
        }
        "eth_getBlockByNumber" => Ok(block(&params[0]).unwrap_or_default()),
        "eth_getBlockReceipts" => Ok(block(&params[0])
            .map(|block| receipts_json(&block))
            .unwrap_or_default()),
        _ => Err(json!({"code": -32601, "message": "method not found"})),
    }
}

/// Waits until a node serves a block.
fn wait_for_block(server: &Server, height: u64) {
    server.wait_until("/api/explorer/blocks?limit=1&chain=eth", |list| {
        list["blocks"][0]["height"]
            .as_u64()
            .is_some_and(|head| head >= height)
    });
}

/// The heights that a node serves are all there, once.
fn assert_whole(server: &Server, last: u64) {
    let list = get(&server.address, "/api/explorer/blocks?limit=1&chain=eth").body;
    let list: Value = serde_json::from_slice(&list).expect("JSON");
    assert_eq!(list["total"], last + 1, "{list}");
    assert_eq!(list["blocks"][0]["height"], last);
}

fn signal(server: &Server, name: &str) {
    let sent = Command::new("kill")
        .args([name, &server.pid().to_string()])
        .status();
    assert!(sent.expect("kill runs").success());
}

fn wait_for(what: &str, holds: impl Fn() -> bool) -> Duration {
    let started = Instant::now();
    while !holds() {
        assert!(
            started.elapsed() < TAKEOVER,
            "it takes too long until {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn query_nodes_serve_what_another_node_appends_and_hand_commands_to_it() {
    let deployment = Deployment::new(&kafka::single(), "");
    let leader = deployment.serve("one", ALL);
    let query = deployment.serve("two", QUERY);
    assert_eq!(
        deployment.leader(&[("one", &leader), ("two", &query)]),
        "one"
    );
    let report = deployment.cairn("two", SAMPLES).ok().json();
    assert_eq!(report["blocks"], SAMPLE_BLOCKS);
    // It was answered when this node had folded it.
    let list = get(&query.address, "/api/explorer/blocks?limit=1").body;
    let list: Value = serde_json::from_slice(&list).expect("JSON");
    assert_eq!(list["total"], SAMPLE_BLOCKS);
    reach(&leader, report["position"].as_u64().expect("a position"));
    assert_eq!(deployment.verified("one"), deployment.verified("two"));
    let again = deployment.cairn("two", SAMPLES).ok().json();
    assert_eq!(again["duplicates"], SAMPLE_BLOCKS);
    // A joining node with an empty disk is ready when it has caught up, not before.
    let fresh = deployment.serve("three", QUERY);
    let first = fresh.wait_until("/health/ready", |health| health["ready"] == true);
    assert_eq!(first["position"], report["position"], "{first}");
    assert_eq!(deployment.verified("three"), deployment.verified("one"));
    assert!(!leads(&fresh) && !leads(&query));
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_need_the_key_of_the_deployment_and_a_node_that_writes() {
    let deployment = Deployment::new(&kafka::single(), "");
    let leader = deployment.serve("one", INGEST);
    deployment.leader(&[("one", &leader)]);
    let path = deployment.config("two", QUERY, "kafka");
    let text = std::fs::read_to_string(&path).expect("a config");
    std::fs::write(&path, text.replace("the-key-of", "another-key-than")).expect("a config");
    let query = Server::start(&mut deployment.command("two", "serve"));
    deployment
        .cairn("two", SAMPLES)
        .refused(1, &["operator_key"]);
    drop((leader, query));
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_the_node_that_writes_loses_and_doubles_nothing() {
    let cluster = kafka::three().await;
    for round in 0..rounds(10) {
        let chain = Growing::new().await;
        let deployment = Deployment::new(&cluster.brokers, &chain.source());
        let mut nodes = vec![("one", deployment.serve("one", INGEST))];
        deployment.leader(&[("one", &nodes[0].1)]);
        nodes.push(("two", deployment.serve("two", INGEST)));
        let query = deployment.serve("three", QUERY);
        wait_for_block(&query, 100);
        let (_, killed) = nodes.swap_remove(0);
        killed.kill();
        let took = wait_for("the other one writes", || leads(&nodes[0].1));
        eprintln!("round {round}: takeover after {took:?}");
        let seen = chain.stop();
        wait_for_block(&query, seen);
        assert_whole(&query, seen);
        // The one that was killed stands by when it is back.
        let back = deployment.serve("one", INGEST);
        let position = deployment.stat("three")["head"].as_u64().expect("a head");
        reach(&back, position);
        reach(&nodes[0].1, position);
        reach(&query, position);
        assert!(!leads(&back));
        let digests = deployment.verified("three");
        for node in ["one", "two"] {
            assert_eq!(deployment.verified(node), digests, "{node}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_slept_through_a_takeover_changes_nothing_when_it_wakes_up() {
    let cluster = kafka::three().await;
    for round in 0..rounds(10) {
        let chain = Growing::new().await;
        let deployment = Deployment::new(&cluster.brokers, &chain.source());
        let sleeper = deployment.serve("one", INGEST);
        deployment.leader(&[("one", &sleeper)]);
        let other = deployment.serve("two", ALL);
        wait_for_block(&other, 50);
        signal(&sleeper, "-STOP");
        let took = wait_for("the other one writes", || leads(&other));
        eprintln!("round {round}: takeover after {took:?}");
        wait_for_block(&other, height(chain.started, &chain.stopped));
        let epoch = deployment.stat("two")["epoch"]["epoch"].clone();
        signal(&sleeper, "-CONT");
        wait_for("the sleeper gives up", || !leads(&sleeper));
        let seen = chain.stop();
        wait_for_block(&other, seen);
        assert_whole(&other, seen);
        let position = deployment.stat("two")["head"].as_u64().expect("a head");
        reach(&sleeper, position);
        assert_eq!(deployment.verified("one"), deployment.verified("two"));
        let now = deployment.stat("two")["epoch"]["epoch"].clone();
        assert_eq!(now, epoch, "the sleeper took nothing over");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_a_query_node_under_load_leaves_a_store_that_goes_on() {
    let chain = Growing::new().await;
    let deployment = Deployment::new(&kafka::single(), &chain.source());
    let writer = deployment.serve("one", ALL);
    for _ in 0..rounds(10) + 1 {
        let query = deployment.serve("two", QUERY);
        let seen = height(chain.started, &chain.stopped);
        wait_for_block(&query, seen + 20);
        query.kill();
    }
    let query = deployment.serve("two", QUERY);
    let seen = chain.stop();
    wait_for_block(&query, seen);
    wait_for_block(&writer, seen);
    assert_whole(&query, seen);
    let position = deployment.stat("one")["head"].as_u64().expect("a head");
    reach(&query, position);
    reach(&writer, position);
    assert_eq!(deployment.verified("one"), deployment.verified("two"));
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_broker_is_away_reads_go_on_and_every_role_says_how_it_is() {
    let cluster = kafka::Cluster::start(&["--nodes", "1"]);
    let chain = Growing::new().await;
    let deployment = Deployment::new(&cluster.brokers, &chain.source());
    let node = deployment.serve("one", ALL);
    wait_for_block(&node, 50);
    node.wait_until("/health/ready", |health| health["ready"] == true);
    cluster.kill(1);
    let health = node.wait_until("/health/ready", |health| {
        health["roles"]["ingest"]["ready"] == false
    });
    assert_eq!(health["roles"]["query"]["ready"], true, "{health}");
    assert_eq!(health["degraded"], true, "{health}");
    let reasons = health["roles"]["ingest"]["reasons"].to_string();
    assert!(
        reasons.contains("log") || reasons.contains("leader"),
        "{health}"
    );
    assert_eq!(get(&node.address, "/health/ready?role=query").status, 200);
    assert_eq!(get(&node.address, "/health/ready?role=ingest").status, 503);
    assert_eq!(
        get(&node.address, "/api/explorer/blocks?limit=1&chain=eth").status,
        200
    );
    let stat = deployment.stat("one");
    assert_ne!(stat["health"], "ok", "{stat}");
    // A node that starts meanwhile serves what it has.
    drop(node);
    let node = deployment.serve("one", ALL);
    assert_eq!(
        get(&node.address, "/api/explorer/blocks?limit=1&chain=eth").status,
        200
    );
    cluster.restart(1);
    node.wait_until("/health/ready", |health| health["ready"] == true);
    let seen = chain.stop();
    wait_for_block(&node, seen);
    assert_whole(&node, seen);
    deployment.verified("one");
    assert!(!ready(&node)["degraded"].as_bool().unwrap_or(true));
}

/// Blocks of a chain, as its pages give them one behind the other.
fn walk(server: &Server, chain: &str) -> u64 {
    let first = format!("/api/explorer/blocks?limit=1000&chain={chain}");
    let mut path = first.clone();
    let mut blocks = 0;
    loop {
        let page: Value = serde_json::from_slice(&get(&server.address, &path).body).expect("JSON");
        blocks += page["blocks"].as_array().map_or(0, Vec::len) as u64;
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("{first}&cursor={cursor}"),
            None => return blocks,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_shards_on_one_node_are_one_list_and_each_has_its_writer() {
    let sources = "[[source]]\nname = \"a\"\nkind = \"file\"\npath = \"samples/blocks.jsonl.zst\"\nreceipts_path = \"samples/receipts.jsonl.zst\"\n\
                   [[source]]\nname = \"b\"\nshard = \"second\"\nkind = \"file\"\npath = \"samples/blocks.jsonl.zst\"\nreceipts_path = \"samples/receipts.jsonl.zst\"\n";
    let shards = r#"["main", "second"]"#;
    let deployment = Deployment::new(&kafka::single(), sources).with_shards(shards);
    let server = deployment.serve("one", ALL);
    let whole = |list: &Value| list["total"] == SAMPLE_BLOCKS;
    for chain in ["a", "b"] {
        server.wait_until(
            &format!("/api/explorer/blocks?limit=1&chain={chain}"),
            whole,
        );
    }
    let chains = server.wait_until("/api/chains", |list| {
        list["chains"].as_array().map_or(0, Vec::len) == 2
    });
    let names: Vec<_> = chains["chains"]
        .as_array()
        .expect("chains")
        .iter()
        .map(|c| c["name"].clone())
        .collect();
    assert_eq!(names, ["a", "b"], "{chains}");
    assert_eq!(walk(&server, "b"), SAMPLE_BLOCKS);
    deployment
        .cairn("one", "verify")
        .refused(2, &["--shard", "main, second"]);
    for shard in ["main", "second"] {
        deployment
            .cairn("one", &format!("verify --shard {shard}"))
            .ok();
        let stat = deployment
            .cairn("one", &format!("log stat --json --shard {shard}"))
            .ok()
            .json();
        assert_eq!(stat["head"], SAMPLE_BLOCKS, "{stat}");
    }
    // An ingest goes to the shard that it names.
    let other = "ingest samples/blocks.jsonl.zst --chain c --final --json --shard second";
    deployment.cairn("one", other).ok();
    let stat = deployment
        .cairn("one", "log stat --json --shard main")
        .ok()
        .json();
    assert_eq!(stat["head"], SAMPLE_BLOCKS, "{stat}");
    server.wait_until("/api/explorer/blocks?limit=1&chain=c", whole);
    let wrong = "ingest samples/blocks.jsonl.zst --chain a --shard second";
    deployment
        .cairn("one", wrong)
        .refused(2, &["in shard main"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_shards_in_one_data_directory_work_without_kafka() {
    let deployment = Deployment::new("127.0.0.1:1", "").with_shards(r#"["main", "second"]"#);
    deployment.config("one", ALL, "embedded");
    let second = SAMPLES.replace("--chain sample", "--chain b --shard second");
    for line in [SAMPLES, &second] {
        assert_eq!(
            deployment.cairn("one", line).ok().json()["blocks"],
            SAMPLE_BLOCKS
        );
    }
    let server = Server::start(&mut deployment.command("one", "serve"));
    for chain in ["sample", "b"] {
        let list = get(
            &server.address,
            &format!("/api/explorer/blocks?limit=1&chain={chain}"),
        );
        let list: Value = serde_json::from_slice(&list.body).expect("JSON");
        assert_eq!(list["total"], SAMPLE_BLOCKS, "{chain}");
    }
    for shard in ["main", "second"] {
        deployment
            .cairn("one", &format!("verify --shard {shard}"))
            .ok();
    }
}
