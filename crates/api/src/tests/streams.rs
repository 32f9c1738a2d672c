//! Who follows a channel is told what the log says: each event once, in its order, however often the connection
//! breaks.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use serde_json::Value;

use super::fixture::{Server, TestShard, block, hash, revert};
use crate::{
    ApiConfig,
    app::StreamLimits,
    stream::{self, Filters, Frame, Next, Subscription},
};

/// What is said of an event here: its name and what it is of.
fn said(frame: &Frame) -> String {
    let data: Value = serde_json::from_str(frame.message.data.get()).unwrap();
    format!("{} {}", frame.message.event, data["hash"].as_str().unwrap())
}

fn subscribe(server: &Server, channel: &str, from: Option<&str>) -> Subscription {
    let channel = stream::find(channel).unwrap();
    Subscription::new(&server.app, channel, Filters::default(), from).unwrap()
}

/// Takes what there is until so many events came.
async fn take(subscription: &mut Subscription, count: usize) -> Vec<Arc<Frame>> {
    let mut taken = Vec::new();
    let taking = async {
        while taken.len() < count {
            match subscription.next().await.unwrap() {
                Next::Frames(frames) => taken.extend(frames),
                Next::Nothing => subscription.wait().await,
                Next::Lagged(cursor) => panic!("it lagged at {cursor}"),
            }
        }
    };
    let done = tokio::time::timeout(Duration::from_secs(30), taking).await;
    assert!(done.is_ok(), "{} of {count} events came", taken.len());
    taken
}

/// A chain that forks, and what is to be told of it.
struct Chain {
    shard: Arc<TestShard>,
    /// The branches of the canonical blocks.
    branches: Vec<u8>,
    nonce: u64,
    next_branch: u8,
    /// What a follower of blocks is told, and one of transactions.
    told: BTreeMap<&'static str, Vec<String>>,
    /// The nonces of each block.
    nonces: BTreeMap<(u8, u64), Vec<u64>>,
}

impl Chain {
    fn new(shard: &Arc<TestShard>) -> Self {
        Self {
            shard: Arc::clone(shard),
            branches: Vec::new(),
            nonce: 0,
            next_branch: 1,
            told: [("blocks", Vec::new()), ("transactions", Vec::new())].into(),
            nonces: BTreeMap::new(),
        }
    }

    fn tell(&mut self, channel: &'static str, text: String) {
        self.told.entry(channel).or_default().push(text);
    }

    async fn append(&mut self, transactions: u64) {
        let height = self.branches.len() as u64;
        let parent = self.branches.last().copied().unwrap_or(1);
        let branch = self.next_branch;
        let nonces: Vec<_> = (self.nonce..self.nonce + transactions).collect();
        self.nonce += transactions;
        let events = block(branch, parent, height, &nonces);
        self.shard.append("eth", events).await;
        self.branches.push(branch);
        self.tell("blocks", format!("block.created {}", hash(branch, height)));
        for nonce in &nonces {
            let of = super::fixture::transaction(*nonce);
            self.tell("transactions", format!("transaction.confirmed {of}"));
        }
        self.nonces.insert((branch, height), nonces);
    }

    /// Takes the last blocks back; what follows is of another branch.
    async fn fork(&mut self, depth: usize) {
        let keep = self.branches.len().saturating_sub(depth);
        let gone = self.branches.split_off(keep);
        let mut events = Vec::new();
        for (offset, branch) in gone.iter().enumerate().rev() {
            let height = (keep + offset) as u64;
            events.extend(revert(*branch, std::iter::once(height)));
            self.tell(
                "blocks",
                format!("block.reverted {}", hash(*branch, height)),
            );
            for nonce in self.nonces[&(*branch, height)].clone() {
                let of = super::fixture::transaction(nonce);
                self.tell("transactions", format!("transaction.dropped {of}"));
            }
        }
        self.next_branch += 1;
        if !events.is_empty() {
            self.shard.append("eth", events).await;
        }
    }
}

/// Somebody who follows a channel, with breaks.
struct Client {
    channel: &'static str,
    /// What was told before it began.
    from: usize,
    subscription: Option<Subscription>,
    /// Behind what it has.
    cursor: String,
    has: Vec<String>,
}

impl Client {
    fn new(server: &Server, chain: &Chain, channel: &'static str) -> Self {
        let subscription = subscribe(server, channel, None);
        Self {
            channel,
            from: chain.told[channel].len(),
            cursor: subscription.cursor(),
            subscription: Some(subscription),
            has: Vec::new(),
        }
    }

    /// Takes some of what there is, and may lose the connection in the midst of it.
    async fn take(&mut self, server: &Server, random: &mut StdRng) {
        let subscription = self
            .subscription
            .get_or_insert_with(|| subscribe(server, self.channel, Some(&self.cursor)));
        let mut breaks = false;
        if let Next::Frames(frames) = subscription.next().await.unwrap() {
            for frame in frames {
                self.has.push(said(&frame));
                self.cursor.clone_from(&frame.cursor);
                breaks = random.random_bool(0.05);
                if breaks {
                    break;
                }
            }
        }
        if breaks || random.random_bool(0.02) {
            self.subscription = None;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn any_interleaving_of_breaks_forks_and_restarts_tells_each_client_what_the_log_says() {
    let seed: u64 =
        std::env::var("CAIRN_SEED").map_or_else(|_| rand::random(), |seed| seed.parse().unwrap());
    println!("CAIRN_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let shard = TestShard::open().await;
    let over = || {
        Server::over(
            std::slice::from_ref(&shard),
            ApiConfig::default(),
            BTreeMap::new(),
        )
    };
    let (mut server, mut chain) = (over(), Chain::new(&shard));
    let mut clients: Vec<Client> = Vec::new();
    for _ in 0..400 {
        match random.random_range(0..100) {
            0..35 => chain.append(random.random_range(0..4)).await,
            35..42 => chain.fork(random.random_range(1..4)).await,
            42..47 if clients.len() < 12 => {
                let channel = ["blocks", "transactions"][random.random_range(0..2)];
                clients.push(Client::new(&server, &chain, channel));
            }
            47..50 => {
                for client in &mut clients {
                    client.subscription = None;
                }
                server.app.stop_streams();
                server = over();
            }
            _ if !clients.is_empty() => {
                let index = random.random_range(0..clients.len());
                clients[index].take(&server, &mut random).await;
            }
            _ => {}
        }
    }
    for client in &mut clients {
        let expected = chain.told[client.channel][client.from..].to_vec();
        let mut subscription = subscribe(&server, client.channel, Some(&client.cursor));
        let missing = expected.len().checked_sub(client.has.len());
        let missing = missing.expect("no event came twice");
        let rest = take(&mut subscription, missing).await;
        client.has.extend(rest.iter().map(|frame| said(frame)));
        assert_eq!(client.has, expected, "{}", client.channel);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_a_page_or_of_another_channel_goes_on_behind_its_moment() {
    let shard = TestShard::open().await;
    let server = Server::over(
        std::slice::from_ref(&shard),
        ApiConfig::default(),
        BTreeMap::new(),
    );
    let mut chain = Chain::new(&shard);
    for _ in 0..4 {
        chain.append(2).await;
    }
    let page = server.get("/api/v1/explorer/blocks?limit=1").await.json;
    let page = page["next_cursor"].as_str().unwrap();
    chain.append(2).await;
    let behind = take(&mut subscribe(&server, "transactions", Some(page)), 2).await;
    assert_eq!(said(&behind[0]), chain.told["transactions"][8]);
    let all = take(&mut subscribe(&server, "blocks", Some("start")), 5).await;
    let third = &all[2].cursor;
    let others = take(&mut subscribe(&server, "transactions", Some(third)), 6).await;
    assert_eq!(
        said(&others[0]),
        chain.told["transactions"][4],
        "its commit is told anew"
    );
    let at = server
        .get(&format!("/api/v1/explorer/blocks?at={third}"))
        .await;
    assert_eq!(at.json["total"], 3, "{}", at.text);
    let mut forged = third.clone().into_bytes();
    forged[10] = if forged[10] == b'A' { b'B' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    let channel = stream::find("blocks").unwrap();
    let refused = Subscription::new(&server.app, channel, Filters::default(), Some(&forged));
    assert!(refused.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_is_the_rest_object_of_that_moment() {
    let shard = TestShard::open().await;
    let server = Server::over(
        std::slice::from_ref(&shard),
        ApiConfig::default(),
        BTreeMap::new(),
    );
    let mut chain = Chain::new(&shard);
    let mut blocks = subscribe(&server, "blocks", None);
    let mut transactions = subscribe(&server, "transactions", None);
    for _ in 0..3 {
        chain.append(1).await;
    }
    for (frame, sent) in take(&mut blocks, 3)
        .await
        .iter()
        .zip(take(&mut transactions, 3).await)
    {
        let data: Value = serde_json::from_str(frame.message.data.get()).unwrap();
        let path = format!("/api/v1/explorer/blocks?at={}", frame.cursor);
        assert_eq!(server.get(&path).await.json["blocks"][0], data);
        let sent: Value = serde_json::from_str(sent.message.data.get()).unwrap();
        let path = format!(
            "/api/v1/explorer/transactions/{}?at={}",
            sent["hash"].as_str().unwrap(),
            frame.cursor
        );
        assert_eq!(server.get(&path).await.json, sent);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_too_slow_is_told_and_goes_on_from_the_cursor() {
    let config = ApiConfig {
        streams: StreamLimits {
            memory_bytes: 8 << 10,
            ..StreamLimits::default()
        },
        ..ApiConfig::default()
    };
    let shard = TestShard::open().await;
    let server = Server::over(std::slice::from_ref(&shard), config, BTreeMap::new());
    let mut chain = Chain::new(&shard);
    let (mut slow, mut quick) = (
        subscribe(&server, "blocks", None),
        subscribe(&server, "blocks", None),
    );
    chain.append(0).await;
    take(&mut slow, 1).await;
    take(&mut quick, 1).await;
    for _ in 0..60 {
        chain.append(0).await;
        take(&mut quick, 1).await;
    }
    let Next::Lagged(cursor) = slow.next().await.unwrap() else {
        panic!("nothing was missing");
    };
    let rest = take(&mut subscribe(&server, "blocks", Some(&cursor)), 60).await;
    let rest: Vec<_> = rest.iter().map(|frame| said(frame)).collect();
    assert_eq!(rest, chain.told["blocks"][1..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_several_shards_are_told_once_each_and_their_cursors_go_on_in_all() {
    let server = Server::sharded(ApiConfig::default()).await;
    let mut chains: Vec<_> = server.shards.iter().map(Chain::new).collect();
    let mut live = subscribe(&server, "blocks", None);
    let mut told = Vec::new();
    for round in 0..12_usize {
        chains[round % 3 / 2].append(1).await;
        told.extend(take(&mut live, 1).await);
    }
    for (index, frame) in told.iter().enumerate() {
        let rest = told.len() - index - 1;
        let mut resumed = subscribe(&server, "blocks", Some(&frame.cursor));
        let mut got: Vec<_> = take(&mut resumed, rest)
            .await
            .iter()
            .map(|frame| said(frame))
            .collect();
        let mut expected: Vec<_> = told[index + 1..].iter().map(|frame| said(frame)).collect();
        got.sort();
        expected.sort();
        assert_eq!(got, expected, "behind event {index}");
    }
}
