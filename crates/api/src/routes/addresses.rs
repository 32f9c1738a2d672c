//! `/explorer/addresses`

use std::sync::Arc;

use axum::{Router, routing::get};
use utoipa::OpenApi;

use super::docs::{ListParams, ReadParams};
use crate::{
    answer::Answer,
    app::App,
    error::ApiError,
    models::{AddressBalance, AddressDetail, TokenPage, TokenTransferPage, TransactionPage},
    params::Segment,
    queries::{address_lists, addresses, tokens},
    scope::Scope,
};

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/explorer/addresses/{address}", get(get_address))
        .route("/explorer/addresses/{address}/balance", get(get_balance))
        .route(
            "/explorer/addresses/{address}/transactions",
            get(list_transactions),
        )
        .route("/explorer/addresses/{address}/tokens", get(list_tokens))
        .route(
            "/explorer/addresses/{address}/token-transfers",
            get(list_token_transfers),
        )
}

#[derive(OpenApi)]
#[openapi(paths(
    get_address,
    get_balance,
    list_transactions,
    list_tokens,
    list_token_transfers
))]
pub(super) struct Docs;

/// What is known of an address. One that was never seen has zeros.
#[utoipa::path(
    get, path = "/explorer/addresses/{address}", tag = "explorer",
    params(
        ("address" = String, Path),
        ("transactions" = Option<bool>, Query, description = "Adds its 20 latest transactions"),
        ReadParams,
    ),
    responses((status = 200, body = AddressDetail), (status = "default", response = super::docs::Failure)),
)]
async fn get_address(Segment(address): Segment, scope: Scope) -> Result<Answer, ApiError> {
    scope.answer(&addresses::detail(&scope, &address).await?)
}

/// What an address holds.
#[utoipa::path(
    get, path = "/explorer/addresses/{address}/balance", tag = "explorer",
    params(("address" = String, Path), ReadParams),
    responses((status = 200, body = AddressBalance), (status = "default", response = super::docs::Failure)),
)]
async fn get_balance(Segment(address): Segment, scope: Scope) -> Result<Answer, ApiError> {
    scope.answer(&addresses::balance(&scope, &address).await?)
}

/// Transactions that an address sent or received, newest first.
#[utoipa::path(
    get, path = "/explorer/addresses/{address}/transactions", tag = "explorer",
    params(("address" = String, Path), ListParams, ReadParams),
    responses((status = 200, body = TransactionPage), (status = "default", response = super::docs::Failure)),
)]
async fn list_transactions(Segment(address): Segment, scope: Scope) -> Result<Answer, ApiError> {
    let (address, paging) = (addresses::parse(&scope, &address)?, scope.paging()?);
    let long = paging.is_long();
    scope
        .respond(long, move |scope| {
            address_lists::transactions(scope, &address, &paging)
        })
        .await
}

/// Tokens that an address holds, by contract and number.
#[utoipa::path(
    get, path = "/explorer/addresses/{address}/tokens", tag = "explorer",
    params(("address" = String, Path), ListParams, ReadParams),
    responses((status = 200, body = TokenPage), (status = "default", response = super::docs::Failure)),
)]
async fn list_tokens(Segment(address): Segment, scope: Scope) -> Result<Answer, ApiError> {
    let (address, paging) = (addresses::parse(&scope, &address)?, scope.paging()?);
    scope
        .respond(true, move |scope| tokens::page(scope, &address, &paging))
        .await
}

/// Token transfers that an address gave or got, newest first.
#[utoipa::path(
    get, path = "/explorer/addresses/{address}/token-transfers", tag = "explorer",
    params(("address" = String, Path), ListParams, ReadParams),
    responses((status = 200, body = TokenTransferPage), (status = "default", response = super::docs::Failure)),
)]
async fn list_token_transfers(Segment(address): Segment, scope: Scope) -> Result<Answer, ApiError> {
    let (address, paging) = (addresses::parse(&scope, &address)?, scope.paging()?);
    let long = paging.is_long();
    scope
        .respond(long, move |scope| {
            address_lists::token_transfers(scope, &address, &paging)
        })
        .await
}
