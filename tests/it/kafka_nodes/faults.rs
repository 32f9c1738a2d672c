//! The same nodes while brokers die, a network is cut, and a record comes that they cannot know.

use cairn_domain::{Stream, commit::NewCommit, events::ChainReset};
use cairn_engine::log::{KafkaLog, Log as _};

use super::{ALL, Growing, INGEST, QUERY, assert_whole, height, wait_for, wait_for_block};
use crate::support::{
    deployment::{Deployment, leads, reach},
    disk::SmallDisk,
    kafka::{self, Cluster},
    process::Server,
    proxy::proxied,
    rounds,
};

/// The chain stops; every node comes to the same rows, which equal a fresh fold.
fn assert_all_equal(deployment: &Deployment, chain: &Growing, nodes: &[(&str, &Server)]) {
    let seen = chain.stop();
    let (first, _) = nodes[0];
    let reader = nodes
        .iter()
        .find(|(name, _)| *name == "reader")
        .expect("a reader")
        .1;
    wait_for_block(reader, seen);
    assert_whole(reader, seen);
    let position = deployment.stat("reader")["head"].as_u64().expect("a head");
    for (_, server) in nodes {
        reach(server, position);
    }
    let digests = deployment.verified(first);
    for (name, _) in &nodes[1..] {
        assert_eq!(deployment.verified(name), digests, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_go_on_when_one_broker_is_killed_and_wait_when_two_are() {
    let cluster = kafka::three().await;
    for round in 0..rounds(10) {
        let chain = Growing::new().await;
        let deployment = Deployment::new(&cluster.brokers, &chain.source());
        let writer = deployment.serve("writer", INGEST);
        let reader = deployment.serve("reader", QUERY);
        wait_for_block(&reader, 50);
        let first = 1 + u32::try_from(round % 3).expect("small");
        let second = 1 + first % 3;
        cluster.kill(first);
        wait_for_block(&reader, height(chain.started, &chain.stopped) + 10);
        cluster.kill(second);
        writer.wait_until("/health/ready", |health| {
            health["roles"]["ingest"]["ready"] == false
        });
        let answer =
            crate::support::http::get(&reader.address, "/api/explorer/blocks?limit=1&chain=eth");
        assert_eq!(answer.status, 200, "reads go on");
        cluster.restart(second);
        wait_for_block(&reader, height(chain.started, &chain.stopped) + 10);
        cluster.restart(first);
        writer.wait_until("/health/ready", |health| health["ready"] == true);
        let nodes = [("writer", &writer), ("reader", &reader)];
        assert_all_equal(&deployment, &chain, &nodes);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_writes_behind_a_cut_network_is_replaced_and_stands_by_afterwards() {
    let cluster = kafka::three().await;
    let (network, through) = proxied(&cluster).await;
    for round in 0..rounds(10) {
        let chain = Growing::new().await;
        let mut deployment = Deployment::new(&through, &chain.source());
        let cut = deployment.serve("cut", INGEST);
        wait_for("it writes", || leads(&cut));
        deployment.reach_brokers_by(&cluster.brokers);
        let reader = deployment.serve("reader", ALL);
        wait_for_block(&reader, 50);
        network.cut();
        let took = wait_for("the other one writes", || leads(&reader));
        eprintln!("round {round}: takeover after {took:?}");
        wait_for_block(&reader, height(chain.started, &chain.stopped) + 10);
        network.mend();
        wait_for("the one that was cut off gives up", || !leads(&cut));
        assert_all_equal(&deployment, &chain, &[("reader", &reader), ("cut", &cut)]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_of_a_newer_cairn_halts_the_fold_and_says_where_it_is() {
    let deployment = Deployment::new(&kafka::single(), "");
    let directory = tempfile::tempdir().expect("a directory");
    let options = cairn_engine::log::KafkaOptions::new(
        &kafka::single(),
        &deployment.topic(),
        directory.path().join("index"),
    );
    let log = KafkaLog::open(options).await.expect("a log");
    let reader = deployment.serve("reader", QUERY);
    reader.wait_until("/health/ready", |health| health["ready"] == true);
    let writer = log.acquire("a newer one", None).await.expect("the writer");
    let stream = Stream::chain("eth").expect("a name");
    let reset = ChainReset { reason: "x".into() };
    let mut stored = NewCommit::new(&stream, 1, &[reset.into()]).seal(1, 1);
    let kind = stored.windows(2).position(|two| two == 6u16.to_le_bytes());
    let kind = kind.expect("its kind");
    stored[kind..kind + 2].copy_from_slice(&999u16.to_le_bytes());
    writer
        .append(vec![NewCommit::copy_of(stored)])
        .await
        .expect("an append");
    let health = reader.wait_until("/health/ready", |health| {
        health["components"]["fold"]["phase"] == "failed"
    });
    assert_eq!(health["ready"], false, "{health}");
    let detail = health["components"]["fold"]["detail"]
        .as_str()
        .unwrap_or_default();
    let place = format!("topic {} partition 0 offset 2", deployment.topic());
    for part in ["commit 1", "kind 999", "upgrade", &place] {
        assert!(detail.contains(part), "{part} is not in {health}");
    }
    let line = deployment.cairn("reader", "log cat --from 1").ok().stdout;
    assert!(
        line.contains("\"kind\":999"),
        "it can still be looked at: {line}"
    );
}

/// A dead letter of a block that decodes by now.
fn letter(chain: &str, block: &serde_json::Value) -> String {
    serde_json::json!({
        "id": format!("{chain}1"), "source": chain, "chain": chain, "height": 0, "hash": null,
        "reason": "it was too new", "time": 1, "block": block.to_string(), "receipts": null,
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn mended_letters_go_to_the_shard_of_their_chain_from_any_node() {
    let source = "[[source]]\nname = \"b\"\nshard = \"second\"\nkind = \"evm-rpc\"\nurl = \"http://127.0.0.1:1\"\n";
    let deployment = Deployment::new(&kafka::single(), source).with_shards(r#"["main", "second"]"#);
    let writer = deployment.serve("writer", INGEST);
    let reader = deployment.serve("reader", QUERY);
    let leads_both = || {
        let health = crate::support::deployment::ready(&writer);
        ["main/leader", "second/leader"].iter().all(|name| {
            let detail = health["components"][name]["detail"].as_str();
            detail.is_some_and(|detail| detail.starts_with("writes the log"))
        })
    };
    wait_for("it writes both shards", leads_both);
    let letters = deployment.data("reader").join("dead-letters");
    std::fs::create_dir_all(&letters).expect("a directory");
    for chain in ["a", "b"] {
        let block = crate::sources_world::block_json(0, u64::MAX, 0, 2);
        let path = letters.join(format!("{chain}1.json"));
        std::fs::write(path, letter(chain, &block)).expect("a letter");
    }
    let listed = deployment
        .cairn("reader", "dead-letter list --json")
        .ok()
        .json();
    assert_eq!(listed.as_array().map(Vec::len), Some(2), "{listed}");
    let ended = deployment.cairn("reader", "dead-letter retry --all --json");
    let outcomes = ended.ok().json();
    // That of b went to its source, which waits for its node.
    for outcome in outcomes.as_array().expect("outcomes") {
        assert_eq!(outcome["done"], true, "{outcomes}");
    }
    let stat = |shard: &str| {
        let line = format!("log stat --json --shard {shard}");
        deployment.cairn("writer", &line).ok().json()["head"].clone()
    };
    assert_eq!((stat("main"), stat("second")), (1.into(), 1.into()));
    reach(&reader, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_wait_while_the_disk_of_the_broker_is_full_and_lose_nothing() {
    let parent = tempfile::tempdir().expect("a directory");
    let Some(disk) = SmallDisk::mount(parent.path().join("disk"), 64) else {
        eprintln!("SKIPPED: this user may not mount a small disk");
        return;
    };
    let cluster = Cluster::start_in(disk.path(), &["--nodes", "1"]);
    let chain = Growing::new().await;
    let deployment = Deployment::new(&cluster.brokers, &chain.source());
    let writer = deployment.serve("writer", INGEST);
    wait_for("it writes", || leads(&writer));
    let reader = deployment.serve("reader", QUERY);
    wait_for_block(&reader, 50);
    let filler = disk.path().join("filler");
    let full = std::fs::write(&filler, vec![1; 64 << 20]);
    assert!(full.is_err(), "the disk takes more than it has room for");
    writer.wait_until("/health/ready", |health| {
        health["roles"]["ingest"]["ready"] == false
    });
    let path = "/api/explorer/blocks?limit=1&chain=eth";
    assert_eq!(crate::support::http::get(&reader.address, path).status, 200);
    std::fs::remove_file(&filler).expect("it can be removed");
    // Kafka ends by itself when its only disk fails; else it is told to start anew.
    cluster.kill_if_alive(1);
    cluster.restart(1);
    wait_for_block(&reader, height(chain.started, &chain.stopped) + 10);
    writer.wait_until("/health/ready", |health| health["ready"] == true);
    assert_all_equal(
        &deployment,
        &chain,
        &[("writer", &writer), ("reader", &reader)],
    );
}
