//! `/analytics`

use std::sync::Arc;

use axum::{Router, http::HeaderMap, response::Response, routing::get};
use utoipa::OpenApi;

use super::{docs::ReadParams, sql};
use crate::{
    access::Caller,
    answer::Answer,
    app::App,
    error::ApiError,
    models::{History, NetworkStats},
    queries,
    scope::Scope,
    shard::Shard,
};

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/analytics/network/stats", get(get_network_stats))
        .route("/analytics/historical", get(get_history))
        .route("/analytics/top", get(get_top))
}

#[derive(OpenApi)]
#[openapi(paths(get_network_stats, get_history, get_top))]
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

/// The busiest accounts or tokens of a chain in a window of time, hot blocks included, as of now. Rows come as
/// those of `/sql` do.
#[utoipa::path(
    get, path = "/analytics/top", tag = "analytics",
    params(
        ("of" = String, Query, description = "senders, recipients or tokens"),
        ("by" = Option<String>, Query, description = "transactions, amount, fees or gas_used of senders; transactions, amount or senders of recipients; transfers, senders or recipients of tokens; the first of them without it"),
        ("start" = Option<String>, Query, description = "A date, an RFC 3339 time or Unix seconds; without it 30 days before `end`"),
        ("end" = Option<String>, Query, description = "The same; without it the newest block, included"),
        ("limit" = Option<u64>, Query, description = "How many, 1 to 100; 10 without it"),
        ("chain" = Option<String>, Query, description = "The chain; needed where there are several"),
        ("format" = Option<String>, Query, description = "json, ndjson, csv, arrow or parquet; beats Accept"),
        ("min_position" = Option<String>, Query, description = "Waits until this position of the chain's shard is folded"),
    ),
    responses((status = 200, description = "The rows"), (status = "default", response = super::docs::Failure)),
)]
async fn get_top(scope: Scope, caller: Caller, headers: HeaderMap) -> Result<Response, ApiError> {
    for moment in ["at", "cursor"] {
        if scope.params.text(moment).is_some() {
            return Err(ApiError::parameter(
                moment,
                "a list of the busiest is as of now: leave it out",
            ));
        }
    }
    let query = queries::top::query(&scope)?;
    let format = sql::format(&scope.params, &headers)?;
    let (app, caller) = (&scope.app, sql::caller(&caller));
    let needed = |shard: &Shard| scope.minimum(shard);
    sql::answer(app, &query, &caller, format, &needed).await
}
