//! `/explorer/transactions`

use std::sync::Arc;

use axum::{Router, routing::get};
use utoipa::OpenApi;

use super::docs::{ListParams, OrphanParams, ReadParams};
use crate::{
    answer::Answer,
    app::App,
    error::ApiError,
    models::{EventList, Transaction, TransactionPage},
    params::Segment,
    queries,
    scope::Scope,
};

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/explorer/transactions", get(list_transactions))
        .route("/explorer/transactions/{hash}", get(get_transaction))
        .route("/explorer/transactions/{hash}/events", get(list_events))
}

#[derive(OpenApi)]
#[openapi(paths(list_transactions, get_transaction, list_events))]
pub(super) struct Docs;

/// The latest transactions of the chain, newest first.
#[utoipa::path(
    get, path = "/explorer/transactions", tag = "explorer",
    params(ListParams, ReadParams),
    responses((status = 200, body = TransactionPage), (status = "default", response = super::docs::Failure)),
)]
async fn list_transactions(scope: Scope) -> Result<Answer, ApiError> {
    let paging = scope.paging()?;
    scope
        .respond(false, move |scope| {
            queries::transaction_list::page(scope, &paging)
        })
        .await
}

/// A transaction.
#[utoipa::path(
    get, path = "/explorer/transactions/{hash}", tag = "explorer",
    params(("hash" = String, Path, description = "Hash, with or without 0x"), OrphanParams, ReadParams),
    responses((status = 200, body = Transaction), (status = "default", response = super::docs::Failure)),
)]
async fn get_transaction(Segment(hash): Segment, scope: Scope) -> Result<Answer, ApiError> {
    let orphaned = scope.params.flag("orphaned")?;
    scope
        .respond(false, move |scope| {
            queries::transactions::detail(scope, &hash, orphaned)
        })
        .await
}

/// What contracts reported while a transaction was executed. ERC-20, ERC-721 and ERC-1155 events
/// are decoded.
#[utoipa::path(
    get, path = "/explorer/transactions/{hash}/events", tag = "explorer",
    params(("hash" = String, Path, description = "Hash, with or without 0x"), OrphanParams, ReadParams),
    responses((status = 200, body = EventList), (status = "default", response = super::docs::Failure)),
)]
async fn list_events(Segment(hash): Segment, scope: Scope) -> Result<Answer, ApiError> {
    let orphaned = scope.params.flag("orphaned")?;
    scope
        .respond(false, move |scope| {
            queries::events::list(scope, &hash, orphaned)
        })
        .await
}
