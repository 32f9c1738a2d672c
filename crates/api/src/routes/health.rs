//! `/health/live` and `/health/ready`

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use utoipa::OpenApi;

use crate::{
    app::App,
    error::{ApiError, ErrorCode},
    params::Params,
    readiness::Readiness,
    roles::{Role, Roles},
};

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
}

#[derive(OpenApi)]
#[openapi(paths(live, ready))]
pub(super) struct Docs;

/// Says that the process answers. It reads nothing, so it is also the bare route that benchmarks
/// compare with.
#[utoipa::path(get, path = "/health/live", tag = "operation", responses((status = 200)))]
async fn live() -> Response {
    let body = Bytes::from_static(br#"{"status":"live"}"#);
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

/// Whether all roles of this process are ready, or the one that is asked for. `query`: every
/// projection can be read, the fold is within 1,000 positions of the log, and neither it nor the log
/// failed. `ingest`: fold and log likewise, the log takes appends, and no source failed. A source that
/// catches up, or whose node does not answer, leaves both ready: what is indexed is right, and its lag
/// is shown. A log that does not answer leaves `query` ready.
#[utoipa::path(
    get, path = "/health/ready", tag = "operation",
    params(("role" = Option<String>, Query, description = "Answers for this role alone: query, ingest or lake")),
    responses(
        (status = 200, body = Readiness), (status = 503, body = Readiness),
        (status = 400, response = super::docs::Failure), (status = 404, response = super::docs::Failure),
    ),
)]
async fn ready(State(app): State<Arc<App>>, uri: Uri) -> Result<Response, ApiError> {
    let roles = asked(app.config.roles, Params::of(&uri).text("role"))?;
    let readiness = Readiness::of(&app, roles);
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let fresh = [(header::CACHE_CONTROL, "no-store")];
    Ok((status, fresh, Json(readiness)).into_response())
}

/// The roles that are asked about: the named one, else all that the process has.
fn asked(own: Roles, named: Option<&str>) -> Result<Roles, ApiError> {
    let Some(word) = named else {
        return Ok(own);
    };
    let role = Role::parse(word)
        .ok_or_else(|| ApiError::parameter("role", "expected query, ingest or lake"))?;
    if own.has(role) {
        return Ok(role.alone());
    }
    let own: Vec<_> = own.each().map(Role::as_str).collect();
    let message = format!(
        "this process does not have the role `{word}`; it has: {}",
        own.join(", ")
    );
    Err(ApiError::new(ErrorCode::NotFound, message))
}
