//! `/chains`

use std::sync::Arc;

use axum::{Router, extract::State, http::Uri, routing::get};
use utoipa::OpenApi;

use crate::{
    answer::Answer, app::App, error::ApiError, models::Chains, params::Params, queries,
    scope::wait_for_position,
};

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/chains", get(list_chains))
}

#[derive(OpenApi)]
#[openapi(paths(list_chains))]
pub(super) struct Docs;

/// The chains that are indexed, and a cursor that names this moment for `?at=`.
#[utoipa::path(
    get, path = "/chains", tag = "chains",
    params(("min_position" = Option<u64>, Query, description = "Waits until this position is folded")),
    responses((status = 200, body = Chains), (status = "default", response = super::docs::Failure)),
)]
async fn list_chains(State(app): State<Arc<App>>, uri: Uri) -> Result<Answer, ApiError> {
    wait_for_position(&app, &Params::of(&uri), None, None).await?;
    let view = app.store.view(None)?;
    Answer::of(view.position(), &queries::chains::list(&app, &view)?)
}
