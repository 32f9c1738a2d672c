//! `/partners…`: to become a partner, and what one can see and change of itself.

use std::sync::Arc;

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderValue, StatusCode, Uri, header},
    response::{IntoResponse as _, Response},
    routing::{delete, get, post},
};
use cairn_domain::Position;
use cairn_engine::clock::now_millis;
use serde::Deserialize;
use utoipa::{OpenApi, ToSchema};

use super::registration::{Registered, Registration};
use crate::{
    access::{Caller, key_id},
    answer::{Answer, Model},
    app::App,
    error::{ApiError, ErrorCode},
    models::{Credentials, PartnerDetail, Usage},
    params::{Params, Segment},
    partners::{NewKey, PartnerCommand, PartnerDesk},
    positions::{self, Minimum},
    queries,
};

/// How long the keys before hold after a rotation, in seconds: if nothing else is asked for, and at most.
const GRACE: u64 = 24 * 3600;
const LONGEST_GRACE: u64 = 30 * GRACE;

const DAY: u64 = 24 * 3600;
/// Usage of so many days is shown, if nothing else is asked for.
const DAYS: u64 = 30;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/partners/register", post(register_partner))
        .route("/partners/me", get(show_partner))
        .route("/partners/me/usage", get(show_usage))
        .route("/partners/me/rotate", post(rotate_key))
        .route("/partners/me/keys/{key}", delete(revoke_key))
}

#[derive(OpenApi)]
#[openapi(
    paths(register_partner, show_partner, show_usage, rotate_key, revoke_key),
    components(schemas(Registration, Rotation))
)]
pub(super) struct Docs;

fn desk(app: &App) -> Result<&dyn PartnerDesk, ApiError> {
    app.desks.partners.as_deref().ok_or_else(|| {
        let message = "this process takes no commands: ask one that has the role `ingest`";
        ApiError::new(ErrorCode::Unavailable, message)
    })
}

async fn perform(app: &App, command: PartnerCommand) -> Result<Option<NewKey>, ApiError> {
    let performed = desk(app)?.perform(command).await;
    performed.map_err(|reason| {
        tracing::warn!(reason, "a partner has to wait");
        let message = "the log cannot be written just now: try again soon";
        ApiError::new(ErrorCode::Unavailable, message)
    })
}

/// What is of one partner alone, and in no cache.
fn private<T: Model>(position: Position, model: &T) -> Result<Response, ApiError> {
    let answer = Answer::of(position.0.into(), model)?;
    let mut response = answer.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn new_key(app: &App, key: Option<NewKey>, status: StatusCode) -> Result<Response, ApiError> {
    let key = key.ok_or_else(|| {
        tracing::error!("a command that makes a key made none");
        ApiError::new(ErrorCode::Internal, "the server made no key")
    })?;
    let answer = private(app.first_shard().position(), &Credentials::from(key))?;
    Ok((status, answer).into_response())
}

/// Makes the caller a partner, and answers with a key and its secret: they are not shown again. Explorers,
/// analytics and exchanges begin with the tier pro, others with basic.
#[utoipa::path(
    post, path = "/partners/register", tag = "partners",
    request_body = Registration,
    responses((status = 201, body = Credentials), (status = "default", response = super::docs::Failure)),
)]
async fn register_partner(
    State(app): State<Arc<App>>,
    registered: Registered,
) -> Result<Response, ApiError> {
    let Registered {
        profile,
        integration,
    } = registered;
    let command = PartnerCommand::Register {
        profile: Box::new(profile),
        integration,
    };
    let key = perform(&app, command).await?;
    new_key(&app, key, StatusCode::CREATED)
}

/// The partner whose key is shown.
#[utoipa::path(
    get, path = "/partners/me", tag = "partners",
    params(super::docs::MinFolded),
    responses((status = 200, body = PartnerDetail), (status = "default", response = super::docs::Failure)),
)]
async fn show_partner(
    State(app): State<Arc<App>>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, ApiError> {
    let partner = caller.partner()?;
    positions::wait_for_all(&app, &Minimum::of(&Params::of(&uri), app.shards.len())?).await?;
    let (id, row) = (partner.account.id.clone(), &partner.row);
    let desk = app.desks.partners.as_deref();
    let profile = desk.and_then(|desk| desk.profile(&id, row));
    let detail = PartnerDetail::new(id, row, profile, now_millis());
    private(app.first_shard().position(), &detail)
}

/// What the partner asked for, by day and endpoint.
#[utoipa::path(
    get, path = "/partners/me/usage", tag = "partners",
    params(
        ("start" = Option<String>, Query, description = "The first day: a date, an RFC 3339 time or Unix seconds; 30 days back if left out"),
        ("end" = Option<String>, Query, description = "The last day, included; today if left out"),
        super::docs::MinFolded,
    ),
    responses((status = 200, body = Usage), (status = "default", response = super::docs::Failure)),
)]
async fn show_usage(
    State(app): State<Arc<App>>,
    caller: Caller,
    uri: Uri,
) -> Result<Response, ApiError> {
    let partner = caller.partner()?;
    let params = Params::of(&uri);
    positions::wait_for_all(&app, &Minimum::of(&params, app.shards.len())?).await?;
    let day = |seconds: u64| seconds / DAY;
    let last = day(params.time("end")?.unwrap_or(now_millis() / 1000));
    let first = params.time("start")?.map(day);
    let days = (first.unwrap_or(last.saturating_sub(DAYS - 1)), last);
    if days.0 > days.1 {
        return Err(ApiError::parameter("end", "it must not be before `start`"));
    }
    let view = app.first_shard().store.view(None)?;
    let usage = queries::partners::usage(&view, &partner.account.id, days)?;
    private(view.position(), &usage)
}

/// How a key is replaced.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Rotation {
    /// The keys before hold for so many seconds, 30 days at most; a day if left out.
    #[serde(default)]
    grace_seconds: Option<u64>,
}

/// Gives the partner a new key and secret. The ones before hold for a while, so that all its programs can
/// change over.
#[utoipa::path(
    post, path = "/partners/me/rotate", tag = "partners",
    request_body = Rotation,
    responses((status = 200, body = Credentials), (status = "default", response = super::docs::Failure)),
)]
async fn rotate_key(
    State(app): State<Arc<App>>,
    caller: Caller,
    body: Bytes,
) -> Result<Response, ApiError> {
    let partner = caller.partner()?;
    let rotation: Rotation = match body.trim_ascii() {
        b"" => Rotation::default(),
        text => serde_json::from_slice(text)
            .map_err(|error| ApiError::parameter("body", format!("expected {{}}: {error}")))?,
    };
    let grace = rotation.grace_seconds.unwrap_or(GRACE);
    if grace > LONGEST_GRACE {
        let reason = format!("expected at most {LONGEST_GRACE} seconds");
        return Err(ApiError::parameter("grace_seconds", reason));
    }
    let command = PartnerCommand::Rotate {
        id: partner.account.id.clone(),
        grace: grace * 1000,
    };
    let key = perform(&app, command).await?;
    new_key(&app, key, StatusCode::OK)
}

/// Ends a key at once, also the one that is shown.
#[utoipa::path(
    delete, path = "/partners/me/keys/{key}", tag = "partners",
    params(("key" = String, Path, description = "The key's id, as `/partners/me` names it")),
    responses((status = 204, description = "It holds no longer"), (status = "default", response = super::docs::Failure)),
)]
async fn revoke_key(
    State(app): State<Arc<App>>,
    caller: Caller,
    Segment(key): Segment,
) -> Result<StatusCode, ApiError> {
    let partner = caller.partner()?;
    let mut holding = partner.row.holding(now_millis());
    if !holding.any(|own| key_id(&own.pair.hash) == key) {
        let message = format!("no key `{key}` of yours holds");
        return Err(ApiError::new(ErrorCode::NotFound, message));
    }
    let command = PartnerCommand::Revoke {
        id: partner.account.id.clone(),
        key: Some(key),
    };
    perform(&app, command).await?;
    Ok(StatusCode::NO_CONTENT)
}
