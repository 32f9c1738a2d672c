//! `/sql`: queries over all datasets, files and what is not final yet.

use std::sync::Arc;

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderValue, Uri, header},
    response::{IntoResponse as _, Response},
    routing::post,
};
use cairn_domain::{Position, events::Tier};
use cairn_lake::sql::{SqlCaller, SqlError, SqlFormat};
use futures_util::{Stream, StreamExt as _, stream};
use serde::Deserialize;
use utoipa::{OpenApi, ToSchema};

use crate::{
    access::Caller,
    answer::POSITION,
    app::App,
    error::{ApiError, ErrorCode},
    params::Params,
    positions::{self, Minimum},
    shard::Shard,
};

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/sql", post(run_query))
}

#[derive(OpenApi)]
#[openapi(paths(run_query), components(schemas(Query)))]
pub(super) struct Docs;

/// A query.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Query {
    /// One statement that reads: `SELECT`, `WITH`, `VALUES`, `EXPLAIN`, `SHOW TABLES`, `DESCRIBE`.
    sql: String,
    /// Cuts the answer behind so many rows. Without it an answer with too many rows is an error.
    limit: Option<u64>,
}

/// Answers a query over the datasets: rows of files and of what is in no file yet, each once, as of the
/// position in `x-cairn-position`. The body is JSON, or the bare statement as `text/plain`. The form of the
/// answer is chosen by `?format=` (json, ndjson, csv, arrow, parquet) or by `Accept`; JSON otherwise. An
/// answer that fails on its way breaks the connection.
#[utoipa::path(
    post, path = "/sql", tag = "sql",
    params(
        ("format" = Option<String>, Query, description = "json, ndjson, csv, arrow or parquet; beats Accept"),
        super::docs::MinFolded,
    ),
    request_body = Query,
    responses((status = 200, description = "The rows"), (status = "default", response = super::docs::Failure)),
)]
async fn run_query(
    State(app): State<Arc<App>>,
    caller: Caller,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    caller.require(&app, Tier::Pro)?;
    let params = Params::of(&uri);
    let format = format(&params, &headers)?;
    let minimum = Minimum::of(&params, app.shards.len())?;
    let query = read(&headers, &body)?;
    let mut caller = self::caller(&caller);
    caller.limit = query
        .limit
        .map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    positions::wait_for_all(&app, &minimum).await?;
    let needed = |shard: &Shard| minimum.of_shard(shard);
    answer(&app, &query.sql, &caller, format, &needed).await
}

/// Who asks, as queries know it.
pub(super) fn caller(caller: &Caller) -> SqlCaller {
    let mut known = SqlCaller::new(caller.sees());
    known.name = Some(caller.name());
    known
}

/// Answers a query, if it sees of each shard what is needed.
pub(super) async fn answer(
    app: &App,
    sql: &str,
    caller: &SqlCaller,
    format: SqlFormat,
    needed: &(dyn Fn(&Shard) -> Position + Sync),
) -> Result<Response, ApiError> {
    let lake = app.lake.as_ref().ok_or_else(|| {
        let message = "this process answers no SQL: ask one with the role `lake`";
        ApiError::new(ErrorCode::UnknownRoute, message)
    })?;
    let answer = lake.sql.query(sql, caller).await?;
    let seen = |shard: &Shard| answer.positions.get(&shard.name).copied();
    let seen = |shard| seen(shard).unwrap_or_default();
    let reflected: Vec<_> = app.shards.iter().map(|shard| seen(shard)).collect();
    for (shard, position) in app.shards.iter().zip(&reflected) {
        positions::check_reflected(app, shard, *position, needed(shard))?;
    }
    let rows = lake.sql.encoded(answer, format);
    respond(rows, format, &reflected).await
}

fn read(headers: &HeaderMap, body: &Bytes) -> Result<Query, ApiError> {
    let fail = |reason: String| ApiError::parameter("body", reason);
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or("");
    if kind.starts_with("text/plain") || kind.starts_with("application/sql") {
        let sql = std::str::from_utf8(body).map_err(|_| fail("it is not UTF-8".into()))?;
        return Ok(Query {
            sql: sql.to_owned(),
            limit: None,
        });
    }
    serde_json::from_slice(body).map_err(|error| {
        fail(format!(
            "expected {{\"sql\": \"SELECT …\"}}, or the statement with content-type text/plain: {error}"
        ))
    })
}

/// The form that is asked for: by name, else the first of those accepted that there is.
pub(super) fn format(params: &Params, headers: &HeaderMap) -> Result<SqlFormat, ApiError> {
    if let Some(name) = params.text("format") {
        let found = SqlFormat::ALL
            .into_iter()
            .find(|format| format.name() == name);
        return found.ok_or_else(|| {
            ApiError::parameter("format", "expected json, ndjson, csv, arrow or parquet")
        });
    }
    let accept = headers
        .get(header::ACCEPT)
        .and_then(|accept| accept.to_str().ok());
    let asked = accept.unwrap_or("").split(',').map(|range| {
        range
            .split(';')
            .next()
            .unwrap_or("")
            .trim()
            .to_ascii_lowercase()
    });
    let known = |media: String| {
        let is_it = |format: &SqlFormat| format.media_type().split(';').next() == Some(&media);
        SqlFormat::ALL.into_iter().find(is_it)
    };
    Ok(asked.into_iter().find_map(known).unwrap_or(SqlFormat::Json))
}

/// The answer, once its first rows are there: until then it may still be an error.
async fn respond(
    rows: impl Stream<Item = Result<Bytes, SqlError>> + Send + 'static,
    format: SqlFormat,
    reflected: &[Position],
) -> Result<Response, ApiError> {
    let mut rows = Box::pin(rows);
    let first = rows.next().await.transpose()?;
    let body = Body::from_stream(stream::iter(first.map(Ok)).chain(rows));
    let mut response = body.into_response();
    let headers = response.headers_mut();
    let media = HeaderValue::from_static(format.media_type());
    headers.insert(header::CONTENT_TYPE, media);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(POSITION, positions::header(reflected));
    Ok(response)
}
