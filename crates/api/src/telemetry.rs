//! Metrics of this process, as Prometheus text.

use std::{
    collections::HashMap,
    sync::{
        OnceLock, RwLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::http::{Method, StatusCode};
use cairn_engine::health::{Health, Phase};
use metrics::{Counter, Histogram, counter, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::{app::App, shard::Shard};

const DURATION: &str = "cairn_http_request_duration_seconds";
const BUCKETS: [f64; 14] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];
/// Durations wait in memory until a scrape or this many requests sort them into buckets.
const UPKEEP: u64 = 8192;

static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();

fn install() -> PrometheusHandle {
    let buckets = Matcher::Full(DURATION.into());
    let builder = PrometheusBuilder::new().set_buckets_for_metric(buckets, &BUCKETS);
    let recorder = builder.expect("there are buckets").build_recorder();
    let handle = recorder.handle();
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::warn!("another metrics recorder is installed; /metrics shows nothing");
    }
    handle
}

struct Recorded {
    count: Counter,
    duration: Histogram,
}

type Outcome = (&'static str, StatusCode);

/// The handles of this process's metrics.
pub(crate) struct Telemetry {
    recorder: PrometheusHandle,
    recorded: RwLock<HashMap<Outcome, HashMap<String, Recorded>>>,
    requests: AtomicU64,
}

impl Telemetry {
    /// The process's recorder; the first call installs it.
    pub(crate) fn install() -> Self {
        let recorder = RECORDER.get_or_init(install).clone();
        Self {
            recorder,
            recorded: RwLock::default(),
            requests: AtomicU64::new(0),
        }
    }

    /// Counts an answered request. `route` is the template, not the path.
    pub(crate) fn record(&self, method: &Method, route: &str, status: StatusCode, took: Duration) {
        if self.requests.fetch_add(1, Ordering::Relaxed) % UPKEEP == UPKEEP - 1 {
            self.recorder.run_upkeep();
        }
        let outcome = (method_name(method), status);
        let known = self.recorded.read().expect("no panic holds it");
        if let Some(recorded) = known.get(&outcome).and_then(|routes| routes.get(route)) {
            return recorded.add(took);
        }
        drop(known);
        let mut known = self.recorded.write().expect("no panic holds it");
        let routes = known.entry(outcome).or_default();
        routes
            .entry(route.to_owned())
            .or_insert_with(|| Recorded::new(outcome, route))
            .add(took);
    }

    /// All metrics as Prometheus text.
    pub(crate) fn render(&self, app: &App) -> String {
        show_roles(app);
        show_components(&app.health, None);
        for shard in &app.shards {
            show_store(shard);
            show_log(shard);
            show_components(&shard.health, Some(&shard.name));
        }
        self.recorder.render()
    }
}

impl Recorded {
    fn new((method, status): Outcome, route: &str) -> Self {
        let labels = [
            ("method", method.to_owned()),
            ("route", route.to_owned()),
            ("status", status.as_str().to_owned()),
        ];
        Self {
            count: counter!("cairn_http_requests_total", &labels),
            duration: histogram!(DURATION, &labels),
        }
    }

    fn add(&self, took: Duration) {
        self.count.increment(1);
        self.duration.record(took.as_secs_f64());
    }
}

/// Names of methods, closed so that clients cannot make up labels.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        _ => "other",
    }
}

fn switch(on: bool) -> f64 {
    f64::from(u8::from(on))
}

fn show_roles(app: &App) {
    for role in app.config.roles.each() {
        let ready = switch(app.is_ready_for(role.alone()));
        gauge!("cairn_ready", "role" => role.as_str()).set(ready);
    }
    if let Some(lake) = &app.lake {
        gauge!("cairn_sql_memory_bytes").set(lake.sql.memory_used() as f64);
        gauge!("cairn_sql_queries").set(lake.sql.running() as f64);
    }
}

fn show_store(shard: &Shard) {
    let (store, labels) = (&shard.store, [("shard", shard.name.clone())]);
    gauge!("cairn_store_position", &labels).set(shard.position().0 as f64);
    gauge!("cairn_store_oldest_position", &labels).set(store.oldest().0 as f64);
    gauge!("cairn_store_disk_bytes", &labels).set(store.bytes() as f64);
    gauge!("cairn_store_memory_bytes", &labels).set(store.memory_bytes() as f64);
    for (name, state) in store.states() {
        let labels = [
            ("shard", shard.name.clone()),
            ("projection", name.to_owned()),
        ];
        gauge!("cairn_projection_position", &labels).set(state.position.0 as f64);
        gauge!("cairn_projection_failed", &labels).set(switch(state.failure.is_some()));
    }
}

/// How far the log goes, and how much of it this process has not read yet: nothing where it holds the
/// log itself, so that no component reads it.
fn show_log(shard: &Shard) {
    let labels = [("shard", shard.name.clone())];
    gauge!("cairn_log_head", &labels).set(shard.log.head().borrow().0 as f64);
    let lag = match shard.health.snapshot().get("log") {
        Some((progress, _)) => progress
            .target
            .zip(progress.at)
            .map(|(target, at)| target.saturating_sub(at)),
        None => Some(0),
    };
    if let Some(lag) = lag {
        gauge!("cairn_log_lag", &labels).set(lag as f64);
    }
}

/// The components of a shard, or, without one, of the process itself.
fn show_components(health: &Health, shard: Option<&str>) {
    for (name, (progress, idle)) in health.snapshot() {
        let shard = shard.map(|shard| ("shard", shard.to_owned()));
        let labels: Vec<_> = shard.into_iter().chain([("component", name)]).collect();
        if let Some(at) = progress.at {
            gauge!("cairn_component_at", &labels).set(at as f64);
        }
        if let Some(target) = progress.target {
            gauge!("cairn_component_target", &labels).set(target as f64);
        }
        gauge!("cairn_component_idle_seconds", &labels).set(idle.as_secs_f64());
        let is = |phase| switch(progress.phase == phase);
        gauge!("cairn_component_failed", &labels).set(is(Phase::Failed));
        gauge!("cairn_component_waiting", &labels).set(is(Phase::Waiting));
    }
}
