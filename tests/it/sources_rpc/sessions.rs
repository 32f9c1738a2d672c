//! Recorded live sessions, replayed in the order of time.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use cairn_domain::{BlockRef, Event, Hash};
use serde_json::{Value, json};

use super::{number, refuse};
use crate::sources_world::{FakeNode, World, lines, node_config, recordings};

/// A node as a recorded session saw it: what it knows grows as time passes.
struct Session {
    steps: Vec<Value>,
    next: usize,
    known: BTreeMap<Hash, Value>,
    head: Option<Hash>,
}

impl Session {
    fn load(path: &Path) -> Self {
        let steps = lines(path).into_iter().filter_map(|line| {
            let line: Value = serde_json::from_str(&line).unwrap();
            let block = line["response"]["result"].clone();
            block.get("parentHash").is_some().then_some(block)
        });
        let mut session = Self {
            steps: steps.collect(),
            next: 0,
            known: BTreeMap::new(),
            head: None,
        };
        session.step();
        session
    }

    fn is_over(&self) -> bool {
        self.next == self.steps.len()
    }

    fn step(&mut self) {
        let Some(block) = self.steps.get(self.next) else {
            return;
        };
        let hash: Hash = block["hash"].as_str().unwrap().parse().unwrap();
        self.known.insert(hash, block.clone());
        // A block that was asked for while walking back is not a new head.
        let follows = self
            .head
            .is_none_or(|head| number(&self.known[&head]["number"]) <= number(&block["number"]));
        if follows {
            self.head = Some(hash);
        }
        self.next += 1;
    }

    fn canonical(&self) -> BTreeMap<u64, Hash> {
        let mut chain = BTreeMap::new();
        let mut at = self.head;
        while let Some((hash, block)) = at.and_then(|hash| Some((hash, self.known.get(&hash)?))) {
            chain.insert(number(&block["number"]).unwrap(), hash);
            at = block["parentHash"]
                .as_str()
                .and_then(|hash| hash.parse().ok());
        }
        chain
    }

    /// In one block of the recordings a transaction names the other branch: the node was in the
    /// middle of its reorganisation. Asked again, a node names its own.
    fn heal(&mut self, hash: Hash) {
        let Some(Value::Array(transactions)) =
            self.known.get_mut(&hash).map(|b| &mut b["transactions"])
        else {
            return;
        };
        for (index, transaction) in transactions.iter_mut().enumerate() {
            transaction["blockHash"] = json!(hash);
            transaction["transactionIndex"] = json!(format!("0x{index:x}"));
        }
    }

    fn answer(&mut self, method: &str, params: &Value) -> Result<Value, Value> {
        let tag = match (method, params[0].as_str()) {
            ("eth_chainId", _) => return Ok(json!("0x4")),
            ("eth_getBlockByNumber", Some("finalized")) => return refuse(-32602, "unknown tag"),
            ("eth_getBlockByNumber", Some(tag)) => tag,
            _ => return refuse(-32601, "method not found"),
        };
        if tag == "latest" {
            self.step();
            return Ok(self
                .head
                .map(|head| self.known[&head].clone())
                .unwrap_or_default());
        }
        let at = number(&params[0]).and_then(|height| self.canonical().get(&height).copied());
        let Some(hash) = at else {
            return Ok(Value::Null);
        };
        let block = self.known[&hash].clone();
        self.heal(hash);
        Ok(block)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn recorded_live_sessions_end_on_the_right_branch() {
    let Some(data) = recordings() else { return };
    let folder = data.join("evm-live-rpc-sessions-with-reorgs");
    for name in [
        "rinkeby-monitor-13263cf",
        "rinkeby-monitor-e4ca2db",
        "polygon-monitor-watch1-7a9e3b6",
        "polygon-monitor-watch2-e037846",
        "polygon-monitor-watch3-37c5491",
    ] {
        let session = Session::load(&folder.join(format!("{name}.jsonl.zst")));
        let start = *session.canonical().first_key_value().unwrap().0;
        let session = Arc::new(Mutex::new(session));
        let shared = Arc::clone(&session);
        let node = FakeNode::answering(move |method, params| {
            shared.lock().unwrap().answer(method, params)
        })
        .await;
        let world = World::new().await;
        let mut config = node_config(name, node.url.clone());
        config.poll_interval = Duration::from_millis(1);
        config.start = start;
        config.receipts = false;
        let source = world.follow(config);
        let over = async {
            while !session.lock().unwrap().is_over() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(60), over).await;
        assert!(in_time.is_ok(), "{name}: {:?}", world.progress(name));
        let canonical = session.lock().unwrap().canonical();
        let (height, hash) = canonical.last_key_value().unwrap();
        world
            .reach(
                name,
                BlockRef {
                    height: *height,
                    hash: *hash,
                },
            )
            .await;
        source.stop().await;
        let reverts = world
            .events()
            .await
            .into_iter()
            .filter(|e| matches!(e, Event::BlockReverted(_)));
        eprintln!(
            "{name}: {} blocks, {} reverted",
            canonical.len(),
            reverts.count()
        );
        let own: Vec<_> = world
            .canonical(name)
            .await
            .into_iter()
            .map(|block| block.hash)
            .collect();
        let wanted: Vec<_> = canonical.range(start..).map(|(_, hash)| *hash).collect();
        assert_eq!(own, wanted, "{name}");
    }
}
