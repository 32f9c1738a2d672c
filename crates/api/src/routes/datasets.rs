//! `/datasets…`: final rows as Parquet files, to be synchronised step by step.

use std::sync::Arc;

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, HeaderValue, Uri},
    response::Response,
    routing::get,
};
use cairn_domain::events::Tier;
use cairn_lake::{Lake, Manifest};
use utoipa::OpenApi;

use super::send::{PARQUET, Sent, send};
use crate::{
    access::Caller,
    answer::Answer,
    app::App,
    error::{ApiError, ErrorCode},
    models::{Dataset, DatasetFiles, Datasets},
    params::{Params, Segment, Segments},
    positions::{self, Minimum},
    queries::datasets,
};

/// Files on a page, if nothing else is asked for, and at most.
const FILES: u64 = 100;
const MOST_FILES: u64 = 1000;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/datasets", get(list_datasets))
        .route("/datasets/{name}", get(show_dataset))
        .route("/datasets/{name}/files", get(list_files))
        .route("/datasets/{name}/files/{*path}", get(download_file))
}

#[derive(OpenApi)]
#[openapi(paths(list_datasets, show_dataset, list_files, download_file))]
pub(super) struct Docs;

/// The lake, for those who may read files.
fn lake<'a>(app: &'a App, caller: &Caller) -> Result<&'a Arc<Lake>, ApiError> {
    let lake = app.lake.as_ref().ok_or_else(|| {
        let message = "this process keeps no files: ask one with the role `lake`";
        ApiError::new(ErrorCode::UnknownRoute, message)
    })?;
    caller.require(app, Tier::Enterprise)?;
    Ok(&lake.lake)
}

/// The manifest, once the lake has taken in what `?min_position=` says, and the positions that it reflects.
async fn manifest(
    app: &App,
    caller: &Caller,
    params: &Params,
) -> Result<(Arc<Manifest>, HeaderValue), ApiError> {
    let lake = lake(app, caller)?;
    let minimum = Minimum::of(params, app.shards.len())?;
    let taken_in = positions::wait_for_lake(app, lake, &minimum).await?;
    // What is taken in and fills a file was published before.
    Ok((lake.manifest(), positions::header(&taken_in)))
}

/// The datasets, with their columns and how much there is of each.
#[utoipa::path(
    get, path = "/datasets", tag = "datasets",
    params(super::docs::MinTaken),
    responses((status = 200, body = Datasets), (status = "default", response = super::docs::Failure)),
)]
async fn list_datasets(
    State(app): State<Arc<App>>,
    caller: Caller,
    uri: Uri,
) -> Result<Answer, ApiError> {
    let (manifest, reflected) = manifest(&app, &caller, &Params::of(&uri)).await?;
    Answer::of(reflected, &datasets::list(&manifest))
}

/// A dataset.
#[utoipa::path(
    get, path = "/datasets/{name}", tag = "datasets",
    params(
        ("name" = String, Path, description = "The dataset's name"),
        super::docs::MinTaken,
    ),
    responses((status = 200, body = Dataset), (status = "default", response = super::docs::Failure)),
)]
async fn show_dataset(
    State(app): State<Arc<App>>,
    caller: Caller,
    Segment(name): Segment,
    uri: Uri,
) -> Result<Answer, ApiError> {
    let (manifest, reflected) = manifest(&app, &caller, &Params::of(&uri)).await?;
    let def = datasets::find(&name)?;
    Answer::of(reflected, &Dataset::new(def, manifest.files_of(def.name)))
}

/// The files of a dataset in the order in which they were published. To synchronise: begin without
/// `after`, download, go on with `next_after`. A file replaces those of its stream that are not complete and
/// whose heights (or positions, where there are no heights) it covers; of a chain, files with a lower `reset`
/// than `resets` has for it are void. Where `generation` is another one, or 410 says so, the lake was made anew:
/// drop what there is, and begin again without `after`. A file that was replaced can be downloaded for a while.
#[utoipa::path(
    get, path = "/datasets/{name}/files", tag = "datasets",
    params(
        ("name" = String, Path, description = "The dataset's name"),
        ("after" = Option<u64>, Query, description = "Only what was published behind this publication"),
        ("generation" = Option<u64>, Query, description = "The `generation` of the page before: 410 where the lake was made anew since"),
        ("chain" = Option<String>, Query, description = "Only files of this chain"),
        ("limit" = Option<u64>, Query, description = "About how many files, 1000 at most; those of one publication come together"),
        super::docs::MinTaken,
    ),
    responses((status = 200, body = DatasetFiles), (status = "default", response = super::docs::Failure)),
)]
async fn list_files(
    State(app): State<Arc<App>>,
    caller: Caller,
    Segment(name): Segment,
    uri: Uri,
) -> Result<Answer, ApiError> {
    let (params, def) = (Params::of(&uri), datasets::find(&name)?);
    let (manifest, reflected) = manifest(&app, &caller, &params).await?;
    let after = params.number("after")?.unwrap_or(0);
    datasets::check_followed(&manifest, after, params.number("generation")?)?;
    let limit = params
        .number("limit")?
        .unwrap_or(FILES)
        .clamp(1, MOST_FILES);
    let wanted = (after, params.text("chain"));
    let page = datasets::files(&manifest, def.name, wanted, limit as usize, &app.api_url());
    Answer::of(reflected, &page)
}

/// A file, or a range of it.
#[utoipa::path(
    get, path = "/datasets/{name}/files/{path}", tag = "datasets",
    params(
        ("name" = String, Path, description = "The dataset's name"),
        ("path" = String, Path, description = "The file's path, as `/datasets/{name}/files` has it"),
        ("range" = Option<String>, Header, description = "One range of bytes, such as `bytes=0-1023`"),
    ),
    responses(
        (status = 200, content_type = "application/vnd.apache.parquet"),
        (status = 206, content_type = "application/vnd.apache.parquet"),
        (status = "default", response = super::docs::Failure),
    ),
)]
async fn download_file(
    State(app): State<Arc<App>>,
    caller: Caller,
    Segments(captured): Segments<2>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let lake = lake(&app, &caller)?;
    let manifest = lake.manifest();
    let [name, path] = captured;
    let full = format!("{}/{path}", datasets::find(&name)?.name);
    let file = manifest.file(&full).ok_or_else(|| {
        let message = format!(
            "no file `{path}` of {name}: it may have been replaced long ago; list the files again"
        );
        ApiError::new(ErrorCode::NotFound, message)
    })?;
    let sent = Sent {
        path: &file.path,
        bytes: file.bytes,
        sha256: &file.sha256,
        media: PARQUET,
    };
    send(lake, sent, &headers).await
}
