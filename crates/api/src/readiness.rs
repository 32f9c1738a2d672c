//! Whether answers are to be relied on, and whether what happens is taken in: how far everything is,
//! and which roles each thing that is not in order concerns.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use cairn_engine::{
    health::{Phase, Progress},
    store::{ProjectionState, projection},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    app::App,
    models::Time,
    roles::{Role, Roles},
    shard::Shard,
};

/// How many positions the fold or the log may lack for answers to count as current.
const REACH: u64 = 1000;

/// How far everything is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Readiness {
    /// Whether all roles of this process are ready, or the one that was asked for.
    pub(crate) ready: bool,
    /// Why not; empty when ready.
    reasons: Vec<String>,
    /// The roles of this process, or the one that was asked for: `query`, `ingest`, `lake`.
    roles: BTreeMap<&'static str, RoleReadiness>,
    /// Whether something outside does not answer, or the log was moved away; what is indexed is served all
    /// the same.
    degraded: bool,
    /// The last folded position, of the first shard.
    position: u64,
    /// The last folded position of each shard by name; only where there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    shards: Option<BTreeMap<String, u64>>,
    /// The components of this process by name. Where there are several shards, the names of their
    /// components begin with the shard's name and a slash.
    components: BTreeMap<String, Component>,
    /// The projections by name; with several shards as components.
    projections: BTreeMap<String, ProjectionHealth>,
}

/// Whether a role is ready.
#[derive(Debug, Serialize, ToSchema)]
struct RoleReadiness {
    /// Whether it is.
    ready: bool,
    /// Why not; empty when ready.
    reasons: Vec<String>,
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

impl App {
    /// Whether all roles of this process are ready: what `/health/ready` says.
    pub fn is_ready(&self) -> bool {
        self.is_ready_for(self.config.roles)
    }

    /// Whether all of these roles are ready.
    pub(crate) fn is_ready_for(&self, roles: Roles) -> bool {
        Readiness::of(self, roles).ready
    }
}

impl Readiness {
    /// How far everything is, as it concerns these roles.
    pub(crate) fn of(app: &App, roles: Roles) -> Self {
        let parts = parts(app);
        let mut obstacles: Vec<_> = parts
            .iter()
            .filter_map(|(shown, part)| part.obstacle(shown))
            .collect();
        let projections = projections(app, &mut obstacles);
        let reasons = |concerns: &dyn Fn(Roles) -> bool| -> Vec<String> {
            let concerning = obstacles.iter().filter(|obstacle| concerns(obstacle.roles));
            concerning.map(|obstacle| obstacle.reason.clone()).collect()
        };
        let role = |role: Role| {
            let reasons = reasons(&|concerned| concerned.has(role));
            let ready = reasons.is_empty();
            (role.as_str(), RoleReadiness { ready, reasons })
        };
        let all = reasons(&|concerned| roles.each().any(|role| concerned.has(role)));
        let waits = |part: &Part| part.progress.phase == Phase::Waiting;
        let place = |shard: &Arc<Shard>| (shard.name.clone(), shard.position().0);
        Self {
            ready: all.is_empty(),
            reasons: all,
            roles: roles.each().map(role).collect(),
            degraded: parts.values().any(waits),
            position: app.first_shard().position().0,
            shards: app
                .is_sharded()
                .then(|| app.shards.iter().map(place).collect()),
            components: parts
                .into_iter()
                .map(|(shown, part)| (shown, part.into()))
                .collect(),
            projections,
        }
    }
}

/// Something that keeps roles from being ready.
struct Obstacle {
    reason: String,
    roles: Roles,
}

/// What a component is to the roles.
#[derive(Debug, Clone, Copy)]
enum Kind {
    /// Writes the store.
    Fold,
    /// Writes rows anew, beside those that are read.
    Rebuild,
    /// Reads the log where other machines hold it.
    Log,
    /// Has the right to append, or waits for it.
    Leader,
    /// Follows something outside.
    Source,
    /// Keeps final rows as files.
    Lake,
    /// Anything else.
    Other,
}

/// A component with what it says of itself.
struct Part {
    kind: Kind,
    progress: Progress,
    idle: Duration,
}

/// Every component of the process and of its shards, by the name under which it is shown.
fn parts(app: &App) -> BTreeMap<String, Part> {
    let part = |name: &str, (progress, idle)| Part {
        kind: Kind::of(name),
        progress,
        idle,
    };
    let mut parts = BTreeMap::new();
    for (name, said) in app.health.snapshot() {
        let part = part(&name, said);
        parts.insert(name, part);
    }
    for shard in &app.shards {
        for (name, said) in shard.health.snapshot() {
            parts.insert(app.shown(shard, &name), part(&name, said));
        }
    }
    parts
}

impl Kind {
    fn of(component: &str) -> Self {
        match component {
            "fold" => Self::Fold,
            "rebuild" => Self::Rebuild,
            "log" => Self::Log,
            "leader" => Self::Leader,
            "lake" => Self::Lake,
            _ if component.starts_with("source/") => Self::Source,
            _ => Self::Other,
        }
    }

    /// Whom it concerns when it has failed. What nobody has thought of here is not passed over.
    fn concerns(self) -> Roles {
        match self {
            Self::Rebuild => Roles::QUERY,
            Self::Leader | Self::Source => Roles::INGEST,
            Self::Lake => Roles::LAKE,
            Self::Fold | Self::Log | Self::Other => Roles::ALL,
        }
    }
}

impl Part {
    /// Why it keeps roles from being ready, if it does.
    fn obstacle(&self, shown: &str) -> Option<Obstacle> {
        let progress = &self.progress;
        let behind = match (progress.at, progress.target) {
            (Some(at), Some(target)) => target.saturating_sub(at),
            _ => 0,
        };
        let far = behind > REACH;
        let (roles, what) = match (progress.phase, self.kind) {
            (Phase::Failed, kind) => (kind.concerns(), "failed".to_owned()),
            (Phase::Starting, Kind::Fold | Kind::Log | Kind::Leader) => {
                (self.kind.concerns(), "is starting".to_owned())
            }
            (Phase::CatchingUp | Phase::Following | Phase::Waiting, Kind::Fold) if far => {
                (Roles::ALL, format!("is {behind} positions behind the log"))
            }
            (Phase::CatchingUp | Phase::Waiting, Kind::Log) if far => {
                (Roles::ALL, format!("is {behind} behind its end"))
            }
            (Phase::Waiting, Kind::Log | Kind::Leader) => (Roles::INGEST, "is waiting".to_owned()),
            (
                Phase::Starting
                | Phase::CatchingUp
                | Phase::Following
                | Phase::Waiting
                | Phase::Finished,
                _,
            ) => return None,
        };
        let reason = format!("{shown} {what}");
        Some(Obstacle { reason, roles })
    }
}

impl From<Part> for Component {
    fn from(part: Part) -> Self {
        let Progress {
            phase,
            at,
            target,
            detail,
            moved_at,
        } = part.progress;
        Self {
            phase,
            at,
            target,
            detail,
            moved_at: Time(moved_at / 1000),
            seconds_since_moved: part.idle.as_secs(),
        }
    }
}

/// The projections of all shards. One that cannot be read concerns queries.
fn projections(app: &App, obstacles: &mut Vec<Obstacle>) -> BTreeMap<String, ProjectionHealth> {
    let mut found = BTreeMap::new();
    for shard in &app.shards {
        for (name, state) in shard.store.states() {
            let shown = app.shown(shard, name);
            let readable = is_readable(name, &state);
            if !readable {
                let what = match state.failure {
                    Some(_) => "stopped",
                    None => "is being rebuilt",
                };
                obstacles.push(Obstacle {
                    reason: format!("projection {shown} {what}"),
                    roles: Roles::QUERY,
                });
            }
            let health = ProjectionHealth {
                version: state.version,
                position: state.position.0,
                readable,
            };
            found.insert(shown, health);
        }
    }
    found
}

fn is_readable(name: &str, state: &ProjectionState) -> bool {
    let own = projection(name).map_or(0, |projection| projection.version());
    state.failure.is_none() && state.version == own
}
