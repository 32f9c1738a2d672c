//! `/analytics`

use std::sync::Arc;

use axum::{Router, routing::get};
use utoipa::OpenApi;

use super::docs::ReadParams;
use crate::{
    answer::Answer,
    app::App,
    error::ApiError,
    models::{History, NetworkStats},
    queries,
    scope::Scope,
};

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/analytics/network/stats", get(get_network_stats))
        .route("/analytics/historical", get(get_history))
}

#[derive(OpenApi)]
#[openapi(paths(get_network_stats, get_history))]
pub(super) struct Docs;

/// Figures of a whole chain. Windows end at the head's timestamp.
#[utoipa::path(
    get, path = "/analytics/network/stats", tag = "analytics",
    params(ReadParams),
    responses((status = 200, body = NetworkStats), (status = "default", response = super::docs::Failure)),
)]
async fn get_network_stats(scope: Scope) -> Result<Answer, ApiError> {
    scope.respond(false, queries::stats::network).await
}

/// A figure of a chain over time, hot blocks included. Buckets are UTC, weeks begin on Monday; the first one
/// is that of `start`, the last one that of the second before `end`; there are 1000 at most.
#[utoipa::path(
    get, path = "/analytics/historical", tag = "analytics",
    params(
        ("metric" = String, Query, description = "block_count, transaction_count, failed_transaction_count, active_addresses, new_addresses, token_transfers, gas_used, fees, gas_price, average_block_time or marketplace_volume"),
        ("period" = String, Query, description = "1h, 1d, 1w, or 1m for a month"),
        ("start" = Option<String>, Query, description = "A date, an RFC 3339 time or Unix seconds; without it 30 buckets"),
        ("end" = Option<String>, Query, description = "The same; without it the end of the head's bucket"),
        ReadParams,
    ),
    responses((status = 200, body = History), (status = "default", response = super::docs::Failure)),
)]
async fn get_history(scope: Scope) -> Result<Answer, ApiError> {
    scope.respond(false, queries::history::history).await
}
