//! `/health/live` and `/health/ready`

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use cairn_engine::health::{Phase, Progress};
use serde::Serialize;
use utoipa::{OpenApi, ToSchema};

use crate::{app::App, models::Time};

/// The component that writes the store, as it reports itself.
const FOLD: &str = "fold";
/// How many positions the fold may lack for its answers to count as current.
const REACH: u64 = 1000;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
}

#[derive(OpenApi)]
#[openapi(paths(live, ready))]
pub(super) struct Docs;

/// Says that the process answers. It reads nothing, so it is also the bare route that benchmarks
/// compare with.
#[utoipa::path(get, path = "/health/live", tag = "operation", responses((status = 200)))]
async fn live() -> Response {
    let body = Bytes::from_static(br#"{"status":"live"}"#);
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], body).into_response()
}

/// How far everything is.
#[derive(Debug, Serialize, ToSchema)]
struct Readiness {
    /// Whether answers are to be relied on.
    ready: bool,
    /// Why not; empty when ready.
    reasons: Vec<String>,
    /// Whether something outside does not answer; what is indexed is served all the same.
    degraded: bool,
    /// The last folded position.
    position: u64,
    /// The components of this process by name.
    components: BTreeMap<String, Component>,
    /// The projections by name.
    projections: BTreeMap<&'static str, ProjectionHealth>,
}

/// How far a component is.
#[derive(Debug, Serialize, ToSchema)]
struct Component {
    /// What it is doing.
    #[schema(value_type = String)]
    phase: Phase,
    /// How far it is, in its own unit.
    at: Option<u64>,
    /// How far it could be.
    target: Option<u64>,
    /// For people: what it waits for, or why it failed and the way out.
    detail: Option<String>,
    /// When `at` last changed.
    #[schema(value_type = String, format = DateTime)]
    moved_at: Time,
    /// Seconds since `at` last changed.
    seconds_since_moved: u64,
}

/// How far a projection is.
#[derive(Debug, Serialize, ToSchema)]
struct ProjectionHealth {
    /// Version of the fold that filled it.
    version: u32,
    /// The last position it holds.
    position: u64,
    /// Whether it can be read.
    readable: bool,
}

/// Whether answers are to be relied on: every projection can be read, the fold is within 1,000
/// positions of the log, and no component failed. A source that catches up, or whose node does not
/// answer, leaves it ready: what is indexed is right, and its lag is shown.
#[utoipa::path(
    get, path = "/health/ready", tag = "operation",
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)),
)]
async fn ready(State(app): State<Arc<App>>) -> Response {
    let readiness = readiness(&app);
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (
        status,
        [(header::CACHE_CONTROL, "no-store")],
        Json(readiness),
    )
        .into_response()
}

impl App {
    /// Whether answers are to be relied on: what `/health/ready` says.
    pub fn is_ready(&self) -> bool {
        readiness(self).ready
    }
}

fn readiness(app: &App) -> Readiness {
    let snapshot = app.health.snapshot();
    let mut reasons: Vec<String> = snapshot
        .iter()
        .filter_map(|(name, (progress, _))| obstacle(name, progress))
        .collect();
    let projections = projections(app, &mut reasons);
    let degraded = snapshot
        .values()
        .any(|(progress, _)| progress.phase == Phase::Waiting);
    let component = |(name, (progress, idle)): (String, (Progress, std::time::Duration))| {
        let Progress {
            phase,
            at,
            target,
            detail,
            moved_at,
        } = progress;
        let (moved_at, seconds_since_moved) = (Time(moved_at / 1000), idle.as_secs());
        (
            name,
            Component {
                phase,
                at,
                target,
                detail,
                moved_at,
                seconds_since_moved,
            },
        )
    };
    Readiness {
        ready: reasons.is_empty(),
        reasons,
        degraded,
        position: app.store.position().borrow().0,
        components: snapshot.into_iter().map(component).collect(),
        projections,
    }
}

/// Why a component keeps this process from being ready, if it does.
fn obstacle(name: &str, progress: &Progress) -> Option<String> {
    let behind = match (progress.at, progress.target) {
        (Some(at), Some(target)) => target.saturating_sub(at),
        _ => 0,
    };
    match progress.phase {
        Phase::Failed => Some(format!("{name} failed")),
        Phase::Starting if name == FOLD => Some(format!("{name} is starting")),
        Phase::CatchingUp | Phase::Following | Phase::Waiting if name == FOLD && behind > REACH => {
            Some(format!("{name} is {behind} positions behind the log"))
        }
        Phase::Starting
        | Phase::CatchingUp
        | Phase::Following
        | Phase::Waiting
        | Phase::Finished => None,
    }
}

fn projections(app: &App, reasons: &mut Vec<String>) -> BTreeMap<&'static str, ProjectionHealth> {
    let health = |(name, state): (&'static str, cairn_engine::store::ProjectionState)| {
        let own = cairn_engine::store::projection(name).map_or(0, |p| p.version());
        let readable = state.failure.is_none() && state.version == own;
        if state.failure.is_some() {
            reasons.push(format!("projection {name} stopped"));
        } else if !readable {
            reasons.push(format!("projection {name} is being rebuilt"));
        }
        let (version, position) = (state.version, state.position.0);
        (
            name,
            ProjectionHealth {
                version,
                position,
                readable,
            },
        )
    };
    app.store.states().into_iter().map(health).collect()
}
