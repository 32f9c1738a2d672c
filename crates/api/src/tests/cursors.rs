//! What a cursor is good for, and where.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use cairn_domain::Position;

use super::fixture::{Server, block};
use crate::{ApiConfig, cursor::Cursor};

async fn server() -> Server {
    let config = ApiConfig {
        position_patience: std::time::Duration::from_millis(50),
        ..ApiConfig::default()
    };
    let server = Server::start(config, BTreeMap::new()).await;
    for height in 0..3 {
        server.append("eth", block(1, 1, height, &[height])).await;
    }
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_of_another_deployment_is_refused_even_where_the_same_chain_is_indexed() {
    let (here, there) = (server().await, server().await);
    let page = there.get("/api/explorer/blocks?limit=1").await.json;
    let cursor = page["next_cursor"].as_str().unwrap();
    for path in [
        format!("/api/explorer/blocks?limit=1&cursor={cursor}"),
        format!("/api/explorer/blocks?at={cursor}"),
    ] {
        assert_eq!(there.get(&path).await.status, StatusCode::OK, "{path}");
        let refused = here.get(&path).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{path}");
    }
    let path = format!("/api/explorer/blocks?cursor={cursor}");
    let refused = here.get(&path).await.json;
    assert_eq!(refused["error"]["code"], "invalid_cursor");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_a_little_ahead_is_waited_for_and_one_far_beyond_the_log_is_refused() {
    let server = server().await;
    for (position, status, code) in [
        (4, StatusCode::SERVICE_UNAVAILABLE, "position_not_reached"),
        (1_000_000, StatusCode::BAD_REQUEST, "invalid_cursor"),
        (u64::MAX, StatusCode::BAD_REQUEST, "invalid_cursor"),
    ] {
        let cursor = Cursor::at(vec![Position(position)]).encode(&server.app.cursor_keys);
        let reply = server
            .get(&format!("/api/explorer/blocks?at={cursor}"))
            .await;
        assert_eq!(reply.status, status, "{position}: {}", reply.json);
        assert_eq!(reply.json["error"]["code"], code);
    }
    let minimum = "/api/explorer/blocks?min_position=1000000";
    let reply = server.get(minimum).await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
}
