//! `/metrics`

use std::sync::Arc;

use axum::{Router, extract::State, http::header, response::IntoResponse, routing::get};
use utoipa::OpenApi;

use crate::app::App;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/metrics", get(show_metrics))
}

#[derive(OpenApi)]
#[openapi(paths(show_metrics))]
pub(super) struct Docs;

/// Metrics of this process as Prometheus text.
#[utoipa::path(
    get, path = "/metrics", tag = "operation",
    responses((status = 200, body = String, content_type = "text/plain")),
)]
async fn show_metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let kind = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    (kind, app.telemetry.render(&app))
}
