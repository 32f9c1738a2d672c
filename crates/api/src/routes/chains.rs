//! `/chains`

use std::sync::Arc;

use axum::{Router, extract::State, http::Uri, routing::get};
use utoipa::OpenApi;

use crate::{
    answer::Answer,
    app::App,
    chains,
    error::ApiError,
    models::Chains,
    params::Params,
    positions::{self, Minimum},
    queries,
};

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/chains", get(list_chains))
}

#[derive(OpenApi)]
#[openapi(paths(list_chains))]
pub(super) struct Docs;

/// The chains that are indexed, of all shards, and a cursor that names this moment for `?at=`.
#[utoipa::path(
    get, path = "/chains", tag = "chains",
    params(super::docs::MinFolded),
    responses((status = 200, body = Chains), (status = "default", response = super::docs::Failure)),
)]
async fn list_chains(State(app): State<Arc<App>>, uri: Uri) -> Result<Answer, ApiError> {
    let minimum = Minimum::of(&Params::of(&uri), app.shards.len())?;
    positions::wait_for_all(&app, &minimum).await?;
    let merged = chains::merge(&app)?;
    let reflected = positions::header(&merged.positions);
    Answer::of(reflected, &queries::chains::list(&app, &merged))
}
