//! No silent stall (promise P10): every component says how far it is and when it last moved.

use std::{
    collections::BTreeMap,
    sync::{Arc, RwLock},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::clock::now_millis;

/// What a component is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Not at work yet.
    Starting,
    /// Far behind and catching up.
    CatchingUp,
    /// At the head, waiting for the next thing to happen.
    Following,
    /// Something outside does not answer; trying again.
    Waiting,
    /// Stopped; only a person can help. The detail says how.
    Failed,
    /// Done: a source that has an end.
    Finished,
}

/// How far a component is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// What it is doing.
    pub phase: Phase,
    /// How far it is, in its own unit (heights for chains, positions for the fold).
    pub at: Option<u64>,
    /// How far it could be.
    pub target: Option<u64>,
    /// One sentence for people: what it waits for, why it failed and the way out.
    pub detail: Option<String>,
    /// When `at` last changed, milliseconds since 1970.
    pub moved_at: u64,
}

/// The progress of all components of this process.
#[derive(Debug, Default)]
pub struct Health {
    components: RwLock<BTreeMap<String, (Progress, Instant)>>,
}

/// The pen with which one component writes its progress.
#[derive(Debug, Clone)]
pub struct Reporter {
    health: Arc<Health>,
    name: String,
}

impl Health {
    /// A pen for the component called `name` (such as `source/mainnet`, `fold`, `log`), which is
    /// shown as starting from now on.
    pub fn reporter(self: &Arc<Self>, name: impl Into<String>) -> Reporter {
        let reporter = Reporter {
            health: Arc::clone(self),
            name: name.into(),
        };
        reporter.phase(Phase::Starting);
        reporter
    }

    /// Every component's progress with the time since it moved, by name.
    pub fn snapshot(&self) -> BTreeMap<String, (Progress, Duration)> {
        let components = self.components.read().expect("no panic holds it");
        let entry = |(name, (progress, moved)): (&String, &(Progress, Instant))| {
            (name.clone(), (progress.clone(), moved.elapsed()))
        };
        components.iter().map(entry).collect()
    }
}

impl Reporter {
    fn update(&self, change: impl FnOnce(&mut Progress)) {
        let mut components = self.health.components.write().expect("no panic holds it");
        let empty = Progress {
            phase: Phase::Starting,
            at: None,
            target: None,
            detail: None,
            moved_at: now_millis(),
        };
        let entry = components
            .entry(self.name.clone())
            .or_insert((empty, Instant::now()));
        let before = entry.0.at;
        change(&mut entry.0);
        if entry.0.at != before {
            entry.0.moved_at = now_millis();
            entry.1 = Instant::now();
        }
    }

    /// Changes what it is doing; clears the detail.
    pub fn phase(&self, phase: Phase) {
        self.update(|progress| {
            progress.phase = phase;
            progress.detail = None;
        });
    }

    /// Says where it is and where it could be.
    pub fn at(&self, at: u64, target: u64) {
        self.update(|progress| {
            progress.at = Some(at);
            progress.target = Some(target.max(at));
        });
    }

    /// Says where it could be.
    pub fn target(&self, target: u64) {
        self.update(|progress| progress.target = Some(target.max(progress.at.unwrap_or(0))));
    }

    /// Changes what it is doing and says why, for people.
    pub fn explain(&self, phase: Phase, detail: impl Into<String>) {
        self.update(|progress| {
            progress.phase = phase;
            progress.detail = Some(detail.into());
        });
    }
}
