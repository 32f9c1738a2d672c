//! Clients that say what cannot be, or do not listen.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::{Client, PATIENCE, heights};
use crate::{
    partners::{register, registration},
    support::{
        http::get,
        process::{DataDir, SAMPLE_BLOCKS, SAMPLES, Server, run},
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn bad_messages_are_answered_or_end_the_connection_with_the_right_code() {
    let data = DataDir::new();
    let server = data.serve();
    let partner = register(&server, &registration());
    let mut client = Client::of(&server, &partner).await;
    let mut answers = Vec::new();
    for bad in [
        json!("hello"),
        json!({"type": "dance"}),
        json!({"type": "subscribe"}),
        json!({"type": "subscribe", "channel": "weather"}),
        json!({"type": "subscribe", "channel": "blocks", "filters": {"colour": "red"}}),
        json!({"type": "subscribe", "channel": "blocks", "filters": {"chain": []}}),
        json!({"type": "subscribe", "channel": "blocks", "from_cursor": "AQEAAAAAAAAABQ"}),
        json!({"type": "unsubscribe", "subscription_id": "sub-77"}),
    ] {
        client.say(&bad).await;
        let answer = client.hear().await;
        assert_eq!(answer["type"], "error", "{bad}: {answer}");
        answers.push(answer["code"].as_str().expect("a code").to_owned());
    }
    let expected = [
        "invalid_message",
        "invalid_message",
        "invalid_message",
        "unknown_channel",
        "unknown_filter",
        "unknown_filter",
        "invalid_cursor",
        "not_found",
    ];
    assert_eq!(answers, expected);
    for _ in 0..64 {
        client
            .subscribe(json!({"type": "subscribe", "channel": "governance"}))
            .await;
    }
    client
        .say(&json!({"type": "subscribe", "channel": "governance"}))
        .await;
    assert_eq!(client.hear().await["code"], "too_many");
    client
        .0
        .send(Message::Text("{".into()))
        .await
        .expect("it goes out");
    assert_eq!(client.hear().await["code"], "invalid_message");
    client
        .0
        .send(Message::Binary(Bytes::from_static(b"{}")))
        .await
        .expect("it goes out");
    assert_eq!(client.end().await, 1003);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_follow_is_sent_away_with_the_right_code() {
    let data = DataDir::new();
    let server = data.serve();
    let partner = register(&server, &registration());
    let mut large = Client::of(&server, &partner).await;
    // The server may be done before all of it is sent.
    let _sent = large.0.send(Message::text("x".repeat(10 << 20))).await;
    let told = tokio::time::timeout(PATIENCE, large.0.next())
        .await
        .expect("an end");
    assert!(!matches!(told, Some(Ok(Message::Text(_)))), "{told:?}");
    let mut wrong = Client::connect(&server).await;
    wrong
        .say(&json!({"type": "auth", "api_key": "aitbc_wrong"}))
        .await;
    assert_eq!(wrong.hear().await["code"], "unauthorized");
    assert_eq!(wrong.end().await, 4401);
    let mut body = registration();
    body["integration_type"] = json!("wallet");
    let basic = register(&server, &body);
    let mut poor = Client::connect(&server).await;
    poor.say(&json!({"type": "auth", "api_key": basic.key}))
        .await;
    assert_eq!(poor.hear().await["code"], "pro_tier_required");
    assert_eq!(poor.end().await, 4403);
    let mut silent = Client::connect(&server).await;
    silent
        .say(&json!({"type": "subscribe", "channel": "blocks"}))
        .await;
    assert_eq!(
        silent.end().await,
        4401,
        "nobody shows a key for ten seconds"
    );
    let status = get(&server.address, "/health/live").status;
    assert_eq!(status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_reads_slows_nobody_and_a_partner_has_so_many_connections() {
    let data = DataDir::new();
    let file = data.file(
        "streams.toml",
        "[streams]\nconnections_of_a_partner = 3\nmemory = \"1MiB\"\n",
    );
    let mut command = data.command("serve --listen 127.0.0.1:0");
    let server = Server::start(command.arg("-c").arg(file));
    let partner = register(&server, &registration());
    let subscribe = json!({"type": "subscribe", "channel": "blocks"});
    let mut deaf = Client::of(&server, &partner).await;
    deaf.subscribe(json!({"type": "subscribe", "channel": "transactions"}))
        .await;
    let mut heeds = Client::of(&server, &partner).await;
    heeds.subscribe(subscribe.clone()).await;
    let _third = Client::of(&server, &partner).await;
    let mut fourth = Client::connect(&server).await;
    fourth
        .say(&json!({"type": "auth", "api_key": partner.key}))
        .await;
    assert_eq!(fourth.hear().await["code"], "too_many");
    assert_eq!(fourth.end().await, 4429);
    let ingest = {
        let mut command = data.command(SAMPLES);
        tokio::task::spawn_blocking(move || run(&mut command))
    };
    let count = usize::try_from(SAMPLE_BLOCKS).expect("a count");
    let mut told: Vec<Value> = Vec::new();
    // It may be told to be too slow itself, with so little memory, and goes on.
    while told.len() < count {
        let heard = heeds.hear().await;
        match heard["type"].as_str() {
            Some("event") => told.push(heard),
            Some("lagged") => {
                let cursor = heard["cursor"].clone();
                heeds
                    .say(&json!({"type": "subscribe", "channel": "blocks", "from_cursor": cursor}))
                    .await;
            }
            _ => assert_eq!(heard["type"], "subscription", "{heard}"),
        }
    }
    ingest.await.expect("it ends").ok();
    let told = heights(&told);
    assert!(
        told.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "without gap and repeat"
    );
}
