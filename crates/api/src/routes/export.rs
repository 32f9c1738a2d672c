//! `/export…`: rows of a range of heights as a file.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use cairn_domain::{
    Address, Position,
    events::{ExportFile, ExportOutcome, ExportRequested, Tier},
    projections::exports::ExportRow,
};
use cairn_engine::clock::now_millis;
use serde::Deserialize;
use utoipa::{OpenApi, ToSchema};

use super::send::{Sent, send};
use crate::{
    access::Caller,
    answer::{Answer, POSITION},
    app::{App, LakeArgs},
    chains,
    error::{ApiError, ErrorCode},
    exports::{self, ExportDesk, ExportRefused},
    models::{ExportAccepted, ExportStatus},
    params::{Params, Segment},
    positions::{self, Minimum},
    queries::exports::{download_url, estimate, status},
};

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/export/{name}", post(request_export).get(show_export))
        .route("/export/download/{id}", get(download_export))
}

#[derive(OpenApi)]
#[openapi(
    paths(request_export, show_export, download_export),
    components(schemas(ExportBody))
)]
pub(super) struct Docs;

/// What is wanted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ExportBody {
    /// The first height.
    start_block: u64,
    /// The last height, included.
    end_block: u64,
    /// json (an array), ndjson, csv, parquet or arrow; json if left out.
    #[serde(default)]
    format: Option<String>,
    /// none, gzip or zstd; none if left out. Parquet is compressed inside.
    #[serde(default)]
    compression: Option<String>,
    /// Only what this account sent or received: of transactions and token transfers.
    #[serde(default)]
    address: Option<String>,
    /// Leaves out what is not final yet; otherwise the column `final` tells.
    #[serde(default)]
    final_only: bool,
    /// The chain; may be left out where there is one, or a default.
    #[serde(default)]
    chain: Option<String>,
}

fn desk<'a>(app: &'a App, caller: &Caller) -> Result<(&'a LakeArgs, &'a dyn ExportDesk), ApiError> {
    let (Some(lake), Some(desk)) = (&app.lake, &app.desks.exports) else {
        let message = "this process makes no exports: ask one with the role `lake`";
        return Err(ApiError::new(ErrorCode::UnknownRoute, message));
    };
    caller.require(app, Tier::Enterprise)?;
    Ok((lake, desk.as_ref()))
}

/// Asks for an export of blocks, transactions, logs, token_transfers or withdrawals. It is of what is
/// committed when it is made, at one position, which its status names; a range that holds nothing gives an
/// empty file.
#[utoipa::path(
    post, path = "/export/{name}", tag = "export",
    params(("name" = String, Path, description = "blocks, transactions, logs, token_transfers or withdrawals")),
    request_body = ExportBody,
    responses((status = 202, body = ExportAccepted), (status = "default", response = super::docs::Failure)),
)]
async fn request_export(
    State(app): State<Arc<App>>,
    caller: Caller,
    Segment(name): Segment,
    body: Bytes,
) -> Result<Response, ApiError> {
    let (lake, desk) = desk(&app, &caller)?;
    let body: ExportBody = serde_json::from_slice(&body).map_err(|error| {
        ApiError::parameter(
            "body",
            format!("expected start_block and end_block: {error}"),
        )
    })?;
    let chain = chains::resolve(&app, body.chain.as_deref())?;
    if !desk.makes(&chain.shard.name) {
        let message = "this node does not write the log of that chain: ask the one that does, with the role `lake`";
        return Err(ApiError::new(ErrorCode::Unavailable, message));
    }
    let owner = caller.partner().ok();
    let owner = owner.map(|partner| partner.account.id.clone());
    let name_of_chain = chain.stream.chain_name().unwrap_or_default();
    let request = read(name, name_of_chain, body, owner)?;
    let heights = chain.ends.map(|ends| (ends.first.height, ends.head.height));
    let accepted = ExportAccepted {
        export_id: request.id.clone(),
        estimated_size: estimate(&lake.lake.manifest(), &request, heights),
        download_url: download_url(&app, &request.id),
    };
    let taken = desk.request(&chain.shard.name, request, Some(caller.name()));
    let taken = taken.await;
    taken.map_err(|refused| {
        let code = match refused {
            ExportRefused::TooMany { .. } | ExportRefused::Full { .. } => ErrorCode::Busy,
            ExportRefused::NotAppended(_) => ErrorCode::Unavailable,
        };
        ApiError::new(code, refused.to_string())
    })?;
    let answer = Answer::of(positions::header(&app.positions()), &accepted)?;
    Ok((StatusCode::ACCEPTED, answer).into_response())
}

fn read(
    dataset: String,
    chain: &str,
    body: ExportBody,
    owner: Option<String>,
) -> Result<ExportRequested, ApiError> {
    if body.start_block > body.end_block {
        let reason = "it must not be below `start_block`";
        return Err(ApiError::parameter("end_block", reason));
    }
    let bad = |name: &'static str| move |error| ApiError::parameter(name, error);
    let address = body.address.map(|text| text.parse::<Address>());
    let request = ExportRequested {
        id: const_hex::encode(rand::random::<[u8; 16]>()),
        owner,
        dataset,
        chain: chain.to_owned(),
        from: body.start_block,
        to: body.end_block,
        address: address.transpose().map_err(bad("address"))?,
        final_only: body.final_only,
        format: body
            .format
            .as_deref()
            .unwrap_or("json")
            .parse()
            .map_err(bad("format"))?,
        compression: body
            .compression
            .as_deref()
            .unwrap_or("none")
            .parse()
            .map_err(bad("compression"))?,
    };
    // What cannot be asked for is said now, not when the file is made.
    cairn_lake::queries(&request).map_err(|error| ApiError::parameter("export", error))?;
    Ok(request)
}

/// The export of an id, if it is the caller's, or everybody's who knows its id.
fn found(app: &App, caller: &Caller, id: &str) -> Result<ExportRow, ApiError> {
    let found = exports::find(app, id)?.map(|(row, _)| row);
    let is_shown = |row: &ExportRow| match (caller, &row.request.owner) {
        (Caller::Operator, _) | (_, None) => true,
        (Caller::Partner(partner), Some(owner)) => partner.account.id == *owner,
        (Caller::Anonymous(_), Some(_)) => false,
    };
    found
        .filter(is_shown)
        .ok_or_else(|| ApiError::new(ErrorCode::NotFound, format!("no export `{id}`")))
}

/// How an export is.
#[utoipa::path(
    get, path = "/export/{id}", tag = "export",
    params(
        ("id" = String, Path, description = "The export's id"),
        super::docs::MinFolded,
    ),
    responses((status = 200, body = ExportStatus), (status = "default", response = super::docs::Failure)),
)]
async fn show_export(
    State(app): State<Arc<App>>,
    caller: Caller,
    Segment(id): Segment,
    uri: Uri,
) -> Result<Answer, ApiError> {
    let (_, desk) = desk(&app, &caller)?;
    let minimum = Minimum::of(&Params::of(&uri), app.shards.len())?;
    positions::wait_for_all(&app, &minimum).await?;
    let row = found(&app, &caller, &id)?;
    Answer::of(
        positions::header(&app.positions()),
        &status(&app, desk, row),
    )
}

/// The file of an export, or a range of it: 202 while it is made, 410 when it is gone.
#[utoipa::path(
    get, path = "/export/download/{id}", tag = "export",
    params(("id" = String, Path, description = "The export's id")),
    responses(
        (status = 200, description = "The file"),
        (status = 202, body = ExportStatus),
        (status = 206, description = "A part of the file"),
        (status = "default", response = super::docs::Failure),
    ),
)]
async fn download_export(
    State(app): State<Arc<App>>,
    caller: Caller,
    Segment(id): Segment,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let (lake, desk) = desk(&app, &caller)?;
    let row = found(&app, &caller, &id)?;
    let (file, ready_at) = match &row.outcome {
        None => {
            let answer = Answer::of(
                positions::header(&app.positions()),
                &status(&app, desk, row),
            )?;
            let retry = [(header::RETRY_AFTER, HeaderValue::from_static("2"))];
            return Ok((StatusCode::ACCEPTED, retry, answer).into_response());
        }
        Some((ExportOutcome::Failed { reason }, _)) => {
            return Err(ApiError::new(ErrorCode::ExportFailed, reason.clone()));
        }
        Some((ExportOutcome::Ready(file), ready_at)) => (file.clone(), *ready_at),
    };
    if now_millis() >= desk.expiry(ready_at) {
        let message = format!("export `{id}` has expired: ask for it again");
        return Err(ApiError::new(ErrorCode::ExportExpired, message));
    }
    let ExportFile {
        path,
        bytes,
        sha256,
        position,
        ..
    } = &file;
    let sent = Sent {
        path,
        bytes: *bytes,
        sha256,
        media: media(&row.request),
    };
    let sent = send(&lake.lake, sent, &headers).await;
    let mut response = sent.map_err(|error| match error.code {
        ErrorCode::NotFound => {
            let message = format!("the file of export `{id}` is gone: ask for it again");
            ApiError::new(ErrorCode::ExportExpired, message)
        }
        _ => error,
    })?;
    if !app.is_sharded() {
        let position = positions::header(&[Position(*position)]);
        response.headers_mut().insert(POSITION, position);
    }
    let name = path.rsplit('/').next().unwrap_or(path);
    let disposition = format!("attachment; filename=\"{}-{name}\"", row.request.dataset);
    if let Ok(value) = HeaderValue::from_str(&disposition) {
        response
            .headers_mut()
            .insert(header::CONTENT_DISPOSITION, value);
    }
    Ok(response)
}

/// The type of a file: that of what it is packed into, because what is stored is what is sent.
fn media(request: &ExportRequested) -> &'static str {
    use cairn_domain::events::{ExportCompression as Compression, ExportFormat as Format};
    match (request.format, request.compression) {
        (Format::Parquet, _) => super::send::PARQUET,
        (_, Compression::Gzip) => "application/gzip",
        (_, Compression::Zstd) => "application/zstd",
        (Format::Json, Compression::None) => "application/json",
        (Format::Ndjson, Compression::None) => "application/x-ndjson",
        (Format::Csv, Compression::None) => "text/csv; charset=utf-8",
        (Format::Arrow, Compression::None) => "application/vnd.apache.arrow.stream",
    }
}
