//! Events over real connections: WebSockets and server-sent events.

mod bad_clients;
mod other_clients;
mod sse;

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite::Message};

use crate::{
    partners::{Partner, json_of, register, registration},
    support::{
        http::get,
        process::{DataDir, SAMPLE_BLOCKS, SAMPLES, Server, run},
    },
};

/// Longer than anything here may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A client of the WebSocket.
pub(super) struct Client(WebSocketStream<MaybeTlsStream<tokio::net::TcpStream>>);

impl Client {
    pub(super) async fn connect(server: &Server) -> Self {
        let url = format!("ws://{}/ws", server.address);
        let (socket, _) = tokio_tungstenite::connect_async(url)
            .await
            .expect("a WebSocket");
        Self(socket)
    }

    /// One that has shown a key.
    pub(super) async fn of(server: &Server, partner: &Partner) -> Self {
        let mut client = Self::connect(server).await;
        client
            .say(&json!({"type": "auth", "api_key": partner.key}))
            .await;
        assert_eq!(client.hear().await, json!({"type": "auth", "status": "ok"}));
        client
    }

    pub(super) async fn say(&mut self, message: &Value) {
        let text = Message::text(message.to_string());
        self.0.send(text).await.expect("it goes out");
    }

    async fn receive(&mut self) -> Message {
        loop {
            let next = tokio::time::timeout(PATIENCE, self.0.next()).await;
            let next = next.expect("something comes").expect("it is open");
            match next.expect("a message") {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    pub(super) async fn hear(&mut self) -> Value {
        match self.receive().await {
            Message::Text(text) => serde_json::from_str(&text).expect("JSON"),
            other => panic!("{other:?}"),
        }
    }

    /// The code with which the server ends the connection, whatever it says before.
    pub(super) async fn end(&mut self) -> u16 {
        loop {
            if let Message::Close(frame) = self.receive().await {
                return frame.map_or(1005, |frame| frame.code.into());
            }
        }
    }

    pub(super) async fn subscribe(&mut self, asked: Value) -> Value {
        self.say(&asked).await;
        let told = self.hear().await;
        assert_eq!(told["status"], "confirmed", "{told}");
        told
    }

    /// So many events.
    async fn events(&mut self, count: usize) -> Vec<Value> {
        let mut events = Vec::with_capacity(count);
        while events.len() < count {
            let event = self.hear().await;
            assert_eq!(event["type"], "event", "{event}");
            events.push(event);
        }
        events
    }
}

fn heights(events: &[Value]) -> Vec<u64> {
    let height = |event: &Value| event["data"]["height"].as_u64().expect("a height");
    events.iter().map(height).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_told_as_they_come_and_again_from_any_cursor() {
    let data = DataDir::new();
    let server = data.serve();
    let partner = register(&server, &registration());
    let mut client = Client::connect(&server).await;
    // The guide's client sends all of this at once.
    client
        .say(&json!({"type": "subscribe", "channel": "blocks"}))
        .await;
    client
        .say(&json!({"type": "auth", "api_key": partner.key}))
        .await;
    assert_eq!(client.hear().await, json!({"type": "auth", "status": "ok"}));
    let told = client.hear().await;
    assert_eq!(
        (&told["type"], &told["channel"]),
        (&json!("subscription"), &json!("blocks"))
    );
    let ingest = {
        let mut command = data.command(SAMPLES);
        tokio::task::spawn_blocking(move || run(&mut command))
    };
    let count = usize::try_from(SAMPLE_BLOCKS).expect("a count");
    let live = client.events(count).await;
    ingest.await.expect("it ends").ok();
    let told = heights(&live);
    assert!(
        told.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "without gap and repeat"
    );
    for event in [&live[0], &live[count - 1]] {
        let hash = event["data"]["hash"].as_str().expect("a hash");
        let block = json_of(&get(
            &server.address,
            &format!("/api/v1/explorer/blocks/{hash}"),
        ));
        for (name, value) in event["data"].as_object().expect("a block") {
            assert_eq!(block[name], *value, "{name}");
        }
    }
    for behind in [0, 1, count / 2, count - 2] {
        let mut again = Client::of(&server, &partner).await;
        let cursor = &live[behind]["cursor"];
        again
            .subscribe(json!({"type": "subscribe", "channel": "blocks", "from_cursor": cursor}))
            .await;
        assert_eq!(again.events(count - behind - 1).await, live[behind + 1..]);
    }
    after_a_restart(&data, server, client, (&partner, &live[count - 11..])).await;
}

/// Goes on behind the first of these events, which are the last.
async fn after_a_restart(
    data: &DataDir,
    server: Server,
    mut client: Client,
    (partner, last): (&Partner, &[Value]),
) {
    let (status, _) = server.terminate();
    assert!(status.success());
    assert_eq!(client.end().await, 1012);
    let server = data.serve();
    let mut again = Client::of(&server, partner).await;
    let cursor = &last[0]["cursor"];
    again
        .subscribe(json!({"type": "subscribe", "channel": "blocks", "from_cursor": cursor}))
        .await;
    assert_eq!(
        again.events(last.len() - 1).await,
        last[1..],
        "a restart changes nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn filters_choose_transactions_and_unsubscribed_channels_are_silent() {
    let data = DataDir::with_samples();
    let server = data.serve();
    let partner = register(&server, &registration());
    let latest = json_of(&get(
        &server.address,
        "/api/v1/explorer/transactions?limit=1",
    ));
    let to = latest["transactions"][0]["to_address"]
        .as_str()
        .expect("an address")
        .to_owned();
    let listed = json_of(&get(
        &server.address,
        &format!("/api/v1/explorer/addresses/{to}/transactions?limit=200"),
    ));
    let mut expected: Vec<_> = listed["transactions"]
        .as_array()
        .expect("a list")
        .iter()
        .filter(|sent| sent["to_address"] == to.as_str())
        .map(|sent| sent["hash"].clone())
        .collect();
    expected.reverse();
    let whole = listed["next_cursor"].is_null();
    let mut client = Client::of(&server, &partner).await;
    let upper = to.to_uppercase().replace("0X", "0x");
    let told = client
        .subscribe(json!({"type": "subscribe", "channel": "transactions", "filters": {"to_address": upper}, "from_cursor": "start"}))
        .await;
    let events = client.events(expected.len()).await;
    let sent: Vec<_> = events
        .iter()
        .map(|event| event["data"]["hash"].clone())
        .collect();
    if whole {
        assert_eq!(sent, expected);
    }
    assert!(
        events
            .iter()
            .all(|event| event["event"] == "transaction.confirmed")
    );
    client
        .say(&json!({"type": "unsubscribe", "subscription_id": told["subscription_id"]}))
        .await;
    loop {
        let heard = client.hear().await;
        if heard["type"] == "subscription" {
            assert_eq!(heard["status"], "ended");
            break;
        }
    }
    client.say(&json!({"type": "ping"})).await;
    assert_eq!(client.hear().await, json!({"type": "pong"}));
}
