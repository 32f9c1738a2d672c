//! The OpenAPI text, made from the handlers, and the page that shows it.

use std::sync::{Arc, LazyLock};

use axum::{
    Router,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use serde::Serialize;
use utoipa::{IntoParams, OpenApi, ToResponse, ToSchema};
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::{
    addresses, analytics, blocks, chains, datasets, export, health, metrics, partners, sql, stream,
    transactions,
};
use crate::{answer::entity_tag, app::App, stream::asyncapi_json};

const OPENAPI: &str = "/api/v1/openapi.json";
const ASYNCAPI: &str = "/api/v1/asyncapi.json";
const PAGE: &str = "/api/v1/docs";

pub(super) fn router() -> Router<Arc<App>> {
    // The validator would be asked over the internet.
    let config = Config::from(OPENAPI).validator_url("none");
    let page: Router<Arc<App>> = SwaggerUi::new(PAGE).config(config).into();
    page.route(OPENAPI, get(show_openapi))
        .route(ASYNCAPI, get(show_asyncapi))
}

/// What reads of all shards wait for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(
    dead_code,
    reason = "describes the parameter that `Minimum` reads by name"
)]
pub(super) struct MinFolded {
    /// Waits until this position of the first shard is folded, or these of the shards in their order, joined by
    /// commas.
    min_position: Option<String>,
}

/// What reads of files wait for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(
    dead_code,
    reason = "describes the parameter that `Minimum` reads by name"
)]
pub(super) struct MinTaken {
    /// Waits until the lake has taken in this position of the first shard, or these of the shards in their order,
    /// joined by commas: what is final up to there, and fills a file or was cut, is then in files.
    min_position: Option<String>,
}

/// What reads have in common.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(
    dead_code,
    reason = "describes the parameters that `scope` reads by name"
)]
pub(super) struct ReadParams {
    /// Which chain, as `/chains` names it. May be left out where there is one, or a default.
    chain: Option<String>,
    /// Answers as of then: a cursor, a height, a date, an RFC 3339 time, or Unix seconds. A bare
    /// number is a height; one that is above the head's height and at least 1000000000 is Unix
    /// seconds.
    at: Option<String>,
    /// Waits, at most two seconds, until this position of the chain's shard is folded: read your
    /// writes. Or one position for each shard in their order, joined by commas, as `x-cairn-position`
    /// of `/chains` has them.
    #[param(pattern = "^[0-9]+(,[0-9]+)*$")]
    min_position: Option<String>,
}

/// What lists have in common.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(
    dead_code,
    reason = "describes the parameters that `paging` reads by name"
)]
pub(super) struct ListParams {
    /// The most rows on the page; more than 200 is taken as 200.
    #[param(default = 20, maximum = 200)]
    limit: Option<u32>,
    /// Rows to skip. Over a moving head it may repeat or skip rows; `cursor` does not.
    #[param(default = 0, maximum = 100_000)]
    offset: Option<u32>,
    /// `next_cursor` of the page before; reads as of the same position.
    cursor: Option<String>,
}

/// What single blocks and transactions have in common.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[allow(
    dead_code,
    reason = "describes the parameters that handlers read by name"
)]
pub(super) struct OrphanParams {
    /// Also finds what was reorganised away.
    orphaned: Option<bool>,
}

/// Any error.
#[derive(Serialize, ToSchema, ToResponse)]
#[response(description = "An error")]
#[allow(dead_code, reason = "describes what the partner dialect renders")]
pub(super) struct Failure {
    /// What is wrong.
    error: FailureDetail,
    /// The message once more.
    detail: String,
}

/// What is wrong.
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "describes what the partner dialect renders")]
struct FailureDetail {
    /// The word to match on.
    code: String,
    /// One sentence for people.
    message: String,
    /// More for programs, or null.
    #[schema(value_type = Option<Object>)]
    details: serde_json::Value,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Cairn",
        description = "Blocks, transactions, addresses and tokens, folded from one log. \
            Every route under `/api/v1` answers under `/api`, too. Every answer carries \
            `x-cairn-position`, the log position that it reflects, and `x-request-id`. Where a \
            server has several logs (shards), the position is of the log that the chain is in; an \
            answer that is of no single one has a position for each, joined by commas.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(responses(Failure), schemas(Failure, FailureDetail))
)]
struct Base;

fn openapi() -> utoipa::openapi::OpenApi {
    let mut partner = blocks::Docs::openapi();
    for docs in [
        transactions::Docs::openapi(),
        addresses::Docs::openapi(),
        analytics::Docs::openapi(),
        chains::Docs::openapi(),
        datasets::Docs::openapi(),
        sql::Docs::openapi(),
        export::Docs::openapi(),
        partners::Docs::openapi(),
        stream::Docs::openapi(),
    ] {
        partner.merge(docs);
    }
    let mut all = Base::openapi().nest("/api/v1", partner);
    all.merge(health::Docs::openapi());
    all.merge(metrics::Docs::openapi());
    all
}

/// The OpenAPI 3.1 text of all routes: the same on every call and machine.
pub fn openapi_json() -> String {
    openapi()
        .to_pretty_json()
        .expect("the description is plain data")
}

async fn show_openapi() -> Response {
    static TEXT: LazyLock<Bytes> = LazyLock::new(|| openapi_json().into());
    show(&TEXT)
}

async fn show_asyncapi() -> Response {
    static TEXT: LazyLock<Bytes> = LazyLock::new(|| asyncapi_json().into());
    show(&TEXT)
}

fn show(text: &Bytes) -> Response {
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        ),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        (header::ETAG, entity_tag(text)),
    ];
    (headers, text.clone()).into_response()
}
