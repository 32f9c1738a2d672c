//! Makes exports: those of the shards that this node writes, a few at a time, the callers in turn.

mod failure;
mod open;
mod queue;

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::anyhow;
use async_trait::async_trait;
use cairn_api::{ExportDesk, ExportProgress, ExportRefused, LakeArgs};
use cairn_domain::{
    Event, Position,
    events::{ExportFile, ExportFinished, ExportOutcome, ExportRequested},
    projections::exports::stream,
};
use cairn_engine::{
    clock::now_millis,
    health::{Phase, Reporter},
};
use cairn_lake::{count, export, extension};
use futures_util::FutureExt as _;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    config::Config,
    forward::Peers,
    http::stopped,
    node::{Node, Shard},
    operations::{Inputs, Message, Operation, Output, Request},
    unfinished::Unfinished,
};
use open::Open;
use queue::{Queue, Waiting};

/// Where their files are, from the root of the lake.
const FOLDER: &str = "exports";

/// So many are made at a time.
const AT_ONCE: usize = 2;
/// How often it is looked for exports to begin again.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often it is looked for files that are to go, at most.
const SWEEP_EVERY: Duration = Duration::from_secs(600);
/// Files stay so much longer than they can be asked for: a download may have begun.
const GRACE: Duration = Duration::from_secs(5);

/// Before an outcome that could not be appended is appended again.
const PAUSE: Duration = Duration::from_secs(5);

/// See the module.
pub(crate) struct ExportMaker {
    node: Arc<Node>,
    peers: Peers,
    lake: LakeArgs,
    keep: Duration,
    /// Files of exports may take so many bytes together.
    most_bytes: u64,
    /// So many do, as far as is known.
    bytes: AtomicU64,
    /// So many were added since the start.
    added: AtomicU64,
    queue: Queue,
    /// So many have their outcome.
    ended: AtomicU64,
    reporter: Reporter,
    running: Mutex<BTreeMap<String, Running>>,
}

/// An export that is being made.
#[derive(Debug, Clone)]
struct Running {
    request: ExportRequested,
    progress: ExportProgress,
}

impl ExportMaker {
    /// Starts to make exports.
    pub(crate) fn start(
        node: &Arc<Node>,
        peers: &Peers,
        config: &Config,
        lake: &LakeArgs,
    ) -> Arc<Self> {
        let maker = Arc::new(Self {
            node: Arc::clone(node),
            peers: peers.clone(),
            lake: lake.clone(),
            keep: config.lake.keep_exports,
            most_bytes: config.lake.exports_size,
            bytes: AtomicU64::new(0),
            added: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            reporter: node.shards[0].health.reporter("exports"),
            queue: Queue::default(),
            running: Mutex::default(),
        });
        tokio::spawn(Arc::clone(&maker).run(node.stopping()));
        tokio::spawn(Arc::clone(&maker).sweep(node.stopping()));
        tokio::spawn(Arc::clone(&maker).watch(node.stopping()));
        maker
    }

    async fn run(self: Arc<Self>, stop: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        let working = async {
            loop {
                while tasks.len() >= AT_ONCE {
                    let _ended = tasks.join_next().await;
                }
                if let Some(Waiting { shard, request, .. }) = self.next() {
                    self.begin(&request);
                    // Columns take all of a thread for a while, which must not be one that answers requests.
                    let threads = self.lake.exports.threads();
                    tasks.spawn_on(Arc::clone(&self).make(shard, request), threads);
                    continue;
                }
                tokio::select! {
                    Some(_) = tasks.join_next() => {}
                    () = tokio::time::sleep(LOOK_EVERY) => {}
                }
            }
        };
        tokio::select! {
            () = working => {}
            () = stopped(stop) => {}
        }
    }

    /// Deletes files that have expired, from time to time.
    async fn sweep(self: Arc<Self>, stop: watch::Receiver<bool>) {
        let sweeping = async {
            loop {
                self.forget_expired().await;
                tokio::time::sleep(self.keep.clamp(LOOK_EVERY, SWEEP_EVERY)).await;
            }
        };
        tokio::select! {
            () = sweeping => {}
            () = stopped(stop) => {}
        }
    }

    /// Says how far it is, and why some have to wait, from time to time.
    async fn watch(self: Arc<Self>, stop: watch::Receiver<bool>) {
        let watching = async {
            loop {
                self.look();
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::select! {
            () = watching => {}
            () = stopped(stop) => {}
        }
    }

    fn look(&self) {
        let ended = self.ended.load(Ordering::Relaxed);
        let Open {
            waiting,
            under_way,
            all_read,
        } = self.open();
        let requests = waiting.iter().map(|waiting| &waiting.request);
        let open: BTreeSet<_> = requests
            .chain(&under_way)
            .map(|open| open.id.as_str())
            .collect();
        if all_read {
            self.queue.keep(&open);
        }
        self.reporter.at(ended, ended + open.len() as u64);
        let reason = match self.is_full() && !waiting.is_empty() {
            true => Some(
                "the files of exports take all that they may: see [lake] exports_size".to_owned(),
            ),
            false => self.queue.complaint(),
        };
        match reason {
            Some(reason) => self.reporter.explain(Phase::Waiting, reason),
            None => self.reporter.phase(Phase::Following),
        }
    }

    /// The next export to make.
    fn next(&self) -> Option<Waiting> {
        let Open {
            waiting, under_way, ..
        } = self.open();
        let next = self.queue.turn(waiting, &under_way)?;
        (!self.is_full()).then_some(next)
    }

    fn open(&self) -> Open {
        let running = self.running().clone();
        let under_way = running.into_values().map(|running| running.request);
        Open::read(self.own_shards(), under_way.collect())
    }

    fn is_full(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) >= self.most_bytes
    }

    /// The shards whose exports are this node's business.
    fn own_shards(&self) -> impl Iterator<Item = &Arc<Shard>> {
        let shards = self.node.shards.iter();
        shards.filter(|shard| !shard.is_written_elsewhere())
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Running>> {
        self.running.lock().expect("no panic holds it")
    }

    fn begin(&self, request: &ExportRequested) {
        let running = Running {
            request: request.clone(),
            progress: ExportProgress::default(),
        };
        self.running().insert(request.id.clone(), running);
    }

    fn note(&self, id: &str, progress: ExportProgress) {
        if let Some(running) = self.running().get_mut(id) {
            running.progress = progress;
        }
    }

    /// Makes an export and says what came of it. What a crash interrupts is begun again.
    async fn make(self: Arc<Self>, shard: String, request: ExportRequested) {
        let id = request.id.clone();
        let written = AssertUnwindSafe(self.write(&shard, &request)).catch_unwind();
        let written = written
            .await
            .unwrap_or_else(|_| Err(anyhow!("it panicked")));
        let outcome = match written {
            Ok(file) => ExportOutcome::Ready(file),
            Err(error) => {
                let full = format!("{error:#}");
                let detail = format!("an export has to wait: {full}");
                if self.queue.put_off(&id, failure::patience(&error), detail) {
                    tracing::warn!(id, error = full, "an export has to wait");
                    self.running().remove(&id);
                    return;
                }
                tracing::error!(id, error = full, "an export cannot be made");
                let reason = failure::reason(&error);
                ExportOutcome::Failed { reason }
            }
        };
        let finished = ExportFinished {
            id: id.clone(),
            outcome,
        };
        // It is made, so only this is tried again.
        while let Err(reason) = self.append(&shard, finished.clone().into()).await {
            tracing::warn!(id, reason, "the outcome of an export has to wait");
            let detail = format!("the outcome of an export has to wait: {reason}");
            self.queue.put_off(&id, Duration::MAX, detail);
            tokio::time::sleep(PAUSE).await;
        }
        self.running().remove(&id);
        self.queue.forget(&id);
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    async fn write(&self, shard: &str, request: &ExportRequested) -> anyhow::Result<ExportFile> {
        let id = &request.id;
        // More may be committed meanwhile.
        let of = count(&self.lake.exports, request).await?;
        let progress = |rows| self.note(id, ExportProgress { rows, of });
        let name = format!("{id}.{}", extension(request.format, request.compression));
        let place = self.lake.lake.place();
        let spooled = Unfinished(place.spooled(&name));
        let made = export(&self.lake.exports, request, &spooled.0, &progress).await?;
        let path = format!("{FOLDER}/{name}");
        place.publish(&spooled.0, &path).await?;
        self.added.fetch_add(made.bytes, Ordering::Relaxed);
        self.bytes.fetch_add(made.bytes, Ordering::Relaxed);
        let position = made.positions.get(shard).copied().unwrap_or(Position(0));
        Ok(ExportFile {
            path,
            position: position.0,
            rows: made.rows,
            bytes: made.bytes,
            sha256: made.sha256,
        })
    }

    /// Appends to the log of a shard, here or at the node that writes it, and returns when that is folded here.
    async fn append(&self, shard: &str, event: Event) -> Result<(), String> {
        let operation = Operation {
            shard: Some(shard.to_owned()),
            request: Request::Append {
                stream: stream().as_str().to_owned(),
                events: vec![event],
            },
        };
        let (output, _messages) = Output::channel();
        let done = operation.perform(&self.node, &self.peers, Inputs::default(), &output);
        match done.await {
            Message::Failed { message, .. } => Err(message),
            _ => Ok(()),
        }
    }

    /// Deletes the files of exports that have expired, and those that no event came to name.
    async fn forget_expired(&self) {
        let keep = self.keep.saturating_add(GRACE).as_millis();
        let moment = now_millis().saturating_sub(u64::try_from(keep).unwrap_or(u64::MAX));
        let place = self.lake.lake.place();
        let before = self.added.load(Ordering::Relaxed);
        match place.delete_before(FOLDER, moment).await {
            // A file that was added meanwhile may not be among them, or count twice until the next time.
            Ok(left) => {
                let added = self.added.load(Ordering::Relaxed) - before;
                self.bytes.store(left + added, Ordering::Relaxed);
            }
            Err(error) => tracing::warn!(%error, "the files of expired exports stay"),
        }
    }
}

#[async_trait]
impl ExportDesk for ExportMaker {
    async fn request(
        &self,
        shard: &str,
        request: ExportRequested,
        caller: Option<String>,
    ) -> Result<(), ExportRefused> {
        if self.is_full() {
            let used = self.bytes.load(Ordering::Relaxed);
            let most = self.most_bytes;
            return Err(ExportRefused::Full { used, most });
        }
        let admitted = self.queue.admit(&request.id, caller);
        let admitted = admitted.map_err(|waiting| ExportRefused::TooMany { waiting })?;
        let appended = self.append(shard, request.into()).await;
        appended.map_err(ExportRefused::NotAppended)?;
        admitted.keep();
        Ok(())
    }

    fn makes(&self, shard: &str) -> bool {
        self.own_shards().any(|own| own.name == shard)
    }

    fn progress(&self, id: &str) -> Option<ExportProgress> {
        self.running().get(id).map(|running| running.progress)
    }

    fn expiry(&self, ready_at: u64) -> u64 {
        let keep = u64::try_from(self.keep.as_millis()).unwrap_or(u64::MAX);
        ready_at.saturating_add(keep)
    }
}
