//! The routes, one file per resource, each with its `router()` and its part of the OpenAPI text.
//!
//! To add an endpoint: a handler in `routes/<resource>.rs`, a line in that file's `router()` and
//! `Docs`, one query, one case file.

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::{HeaderName, Method, header},
    middleware,
};
use tower_http::{
    CompressionLevel,
    compression::{
        CompressionLayer, Predicate as _,
        predicate::{NotForContentType, SizeAbove},
    },
    cors::{Any, CorsLayer},
};

use crate::{
    access::{HEADERS, admit},
    answer::POSITION,
    app::App,
    error::{ApiError, ErrorCode},
    observe::{BODY_LIMIT, REQUEST_ID, observe},
};

mod addresses;
mod analytics;
mod blocks;
mod chains;
mod datasets;
mod docs;
mod export;
mod following;
mod health;
mod metrics;
mod partners;
mod registration;
mod send;
mod socket;
mod sql;
mod stream;
mod transactions;

pub use docs::openapi_json;

/// Smaller bodies are not worth compressing.
const COMPRESSED_FROM: u16 = 1024;

/// The prefixes under which the partner dialect answers.
const PREFIXES: [&str; 2] = ["/api", "/api/v1"];

/// Everything that this server answers: without the roles query and lake health and metrics alone.
pub fn router(app: Arc<App>) -> Router {
    let mut router = Router::new()
        .merge(health::router())
        .merge(metrics::router());
    if app.serves_partner() {
        for prefix in PREFIXES {
            router = router.nest(prefix, partner(&app));
        }
        let socket =
            socket::router().route_layer(middleware::from_fn_with_state(Arc::clone(&app), admit));
        router = router.merge(docs::router()).merge(socket);
    }
    let compression = CompressionLayer::new()
        .quality(CompressionLevel::Fastest)
        // Events are not to wait for each other.
        .compress_when(SizeAbove::new(COMPRESSED_FROM.into()).and(NotForContentType::SSE));
    router
        .fallback(unknown_route)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_LIMIT as usize))
        .layer(compression)
        .layer(cors())
        .layer(middleware::from_fn_with_state(Arc::clone(&app), observe))
        .with_state(app)
}

/// What the store answers where this process has the query role, and what the lake does.
fn partner(app: &Arc<App>) -> Router<Arc<App>> {
    let mut router = Router::new();
    if app.config.roles.query {
        router = router
            .merge(blocks::router())
            .merge(transactions::router())
            .merge(addresses::router())
            .merge(analytics::router())
            .merge(chains::router());
    }
    router
        .merge(datasets::router())
        .merge(sql::router())
        .merge(export::router())
        .merge(partners::router())
        .merge(stream::router())
        .route_layer(middleware::from_fn_with_state(Arc::clone(app), admit))
}

/// Any page may read, and see the headers that are ours.
fn cors() -> CorsLayer {
    let exposed: [HeaderName; 4] = [POSITION, REQUEST_ID, header::ETAG, header::RETRY_AFTER];
    let exposed: Vec<_> = exposed.into_iter().chain(HEADERS).collect();
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::DELETE,
            Method::OPTIONS,
        ])
        .allow_headers(Any)
        .expose_headers(exposed)
        .vary([])
}

async fn unknown_route(State(app): State<Arc<App>>) -> ApiError {
    let message = if app.serves_partner() {
        "no such route; `/api/v1/docs` lists them all"
    } else if app.config.roles.query {
        "no such route; there are `/health/live`, `/health/ready` and `/metrics`"
    } else {
        "no such route: this process does not have the query role; ask one that has it"
    };
    ApiError::new(ErrorCode::UnknownRoute, message)
}

async fn wrong_method() -> ApiError {
    ApiError::new(
        ErrorCode::MethodNotAllowed,
        "this route has another method; see `allow`",
    )
}
