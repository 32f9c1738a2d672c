//! `/explorer/blocks`

use std::sync::Arc;

use axum::{Router, routing::get};
use utoipa::OpenApi;

use super::docs::{ListParams, OrphanParams, ReadParams};
use crate::{
    answer::Answer,
    app::App,
    error::ApiError,
    models::{BlockDetail, BlockPage},
    params::Segment,
    queries,
    scope::Scope,
};

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/explorer/blocks", get(list_blocks))
        .route("/explorer/blocks/{block}", get(get_block))
}

#[derive(OpenApi)]
#[openapi(paths(list_blocks, get_block))]
pub(super) struct Docs;

/// The latest blocks, newest first.
#[utoipa::path(
    get, path = "/explorer/blocks", tag = "explorer",
    params(ListParams, ReadParams),
    responses((status = 200, body = BlockPage), (status = "default", response = super::docs::Failure)),
)]
async fn list_blocks(scope: Scope) -> Result<Answer, ApiError> {
    let paging = scope.paging()?;
    scope
        .respond(false, move |scope| queries::blocks::page(scope, &paging))
        .await
}

/// A block with its transactions.
#[utoipa::path(
    get, path = "/explorer/blocks/{block}", tag = "explorer",
    params(
        ("block" = String, Path, description = "Hash, with or without 0x and in any case, or height in decimal"),
        OrphanParams, ReadParams,
    ),
    responses((status = 200, body = BlockDetail), (status = "default", response = super::docs::Failure)),
)]
async fn get_block(Segment(name): Segment, scope: Scope) -> Result<Answer, ApiError> {
    let orphaned = scope.params.flag("orphaned")?;
    let found = queries::blocks::find(&scope, &name, orphaned)?;
    scope
        .respond(found.is_long(), move |scope| {
            queries::blocks::detail(scope, found)
        })
        .await
}
