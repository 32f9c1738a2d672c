//! `/analytics`

use std::sync::Arc;

use axum::{Router, routing::get};
use utoipa::OpenApi;

use super::docs::ReadParams;
use crate::{
    answer::Answer, app::App, error::ApiError, models::NetworkStats, queries, scope::Scope,
};

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/analytics/network/stats", get(get_network_stats))
}

#[derive(OpenApi)]
#[openapi(paths(get_network_stats))]
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
