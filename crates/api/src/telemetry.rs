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
use metrics::{Counter, Histogram, counter, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::app::App;

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
        show_store(app);
        show_components(app);
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

fn show_store(app: &App) {
    let store = &app.store;
    gauge!("cairn_store_position").set(store.position().borrow().0 as f64);
    gauge!("cairn_store_oldest_position").set(store.oldest().0 as f64);
    gauge!("cairn_store_disk_bytes").set(store.bytes() as f64);
    gauge!("cairn_store_memory_bytes").set(store.memory_bytes() as f64);
    for (name, state) in store.states() {
        gauge!("cairn_projection_position", "projection" => name).set(state.position.0 as f64);
        let failed = f64::from(u8::from(state.failure.is_some()));
        gauge!("cairn_projection_failed", "projection" => name).set(failed);
    }
}

fn show_components(app: &App) {
    for (name, (progress, idle)) in app.health.snapshot() {
        let name = || name.clone();
        if let Some(at) = progress.at {
            gauge!("cairn_component_at", "component" => name()).set(at as f64);
        }
        if let Some(target) = progress.target {
            gauge!("cairn_component_target", "component" => name()).set(target as f64);
        }
        gauge!("cairn_component_idle_seconds", "component" => name()).set(idle.as_secs_f64());
        let failed = progress.phase == cairn_engine::health::Phase::Failed;
        gauge!("cairn_component_failed", "component" => name()).set(f64::from(u8::from(failed)));
    }
}
