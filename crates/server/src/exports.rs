//! Makes exports: those of the shards that this node writes, a few at a time, the callers in turn.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use async_trait::async_trait;
use cairn_api::{ExportDesk, ExportProgress, LakeArgs};
use cairn_domain::{
    Event, Position,
    events::{ExportFile, ExportFinished, ExportOutcome, ExportRequested, Visibility},
    projections::exports::{Exports, stream},
};
use cairn_engine::store::StoreError;
use cairn_lake::{
    ExportError, counted, export, extension, queries,
    sql::{SqlCaller, SqlError},
};
use futures_util::StreamExt as _;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    config::Config,
    forward::Peers,
    http::stopped,
    node::{Node, Shard},
    operations::{Inputs, Message, Operation, Output, Request},
};

/// So many are made at a time.
const AT_ONCE: usize = 2;
/// How often it is looked for exports to begin again, and for files that are to go.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Before an outcome that could not be appended is appended again.
const PAUSE: Duration = Duration::from_secs(5);

/// See the module.
pub(crate) struct ExportMaker {
    node: Arc<Node>,
    peers: Peers,
    lake: LakeArgs,
    keep: Duration,
    running: Mutex<BTreeMap<String, ExportProgress>>,
    /// Up to when expired files were deleted, in milliseconds since 1970.
    swept: AtomicU64,
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
            running: Mutex::default(),
            swept: AtomicU64::default(),
        });
        tokio::spawn(Arc::clone(&maker).run(node.stopping()));
        maker
    }

    async fn run(self: Arc<Self>, stop: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        let working = async {
            loop {
                while tasks.len() >= AT_ONCE {
                    let _ended = tasks.join_next().await;
                }
                if let Some((shard, request)) = self.next() {
                    self.note(&request.id, Some(ExportProgress::default()));
                    tasks.spawn(Arc::clone(&self).make(shard, request));
                    continue;
                }
                tokio::select! {
                    Some(_) = tasks.join_next() => {}
                    () = tokio::time::sleep(LOOK_EVERY) => self.forget_expired().await,
                }
            }
        };
        tokio::select! {
            () = working => {}
            () = stopped(stop) => {}
        }
    }

    /// The next export to make: of the caller who has the fewest under way, the oldest.
    fn next(&self) -> Option<(String, ExportRequested)> {
        let running: BTreeSet<String> = self.running().keys().cloned().collect();
        let (mut waiting, mut busy) = (Vec::new(), BTreeMap::<_, u32>::new());
        for shard in self.own_shards() {
            let (found, at_work) = unfinished(shard, &running).ok()?;
            waiting.extend(
                found
                    .into_iter()
                    .map(|(time, request)| (time, shard.name.clone(), request)),
            );
            for owner in at_work {
                *busy.entry(owner).or_default() += 1;
            }
        }
        let under_way = |request: &ExportRequested| busy.get(&request.owner).copied().unwrap_or(0);
        let turn =
            |(time, _, request): &(u64, String, ExportRequested)| (under_way(request), *time);
        let (_, shard, request) = waiting.into_iter().min_by_key(turn)?;
        Some((shard, request))
    }

    /// The shards whose exports are this node's business.
    fn own_shards(&self) -> impl Iterator<Item = &Arc<Shard>> {
        let shards = self.node.shards.iter();
        shards.filter(|shard| !shard.is_written_elsewhere())
    }

    fn running(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, ExportProgress>> {
        self.running.lock().expect("no panic holds it")
    }

    fn note(&self, id: &str, progress: Option<ExportProgress>) {
        match progress {
            Some(progress) => drop(self.running().insert(id.to_owned(), progress)),
            None => drop(self.running().remove(id)),
        }
    }

    /// Makes an export and says what came of it. What a crash interrupts is begun again.
    async fn make(self: Arc<Self>, shard: String, request: ExportRequested) {
        let id = request.id.clone();
        let outcome = match self.write(&shard, &request).await {
            Ok(file) => ExportOutcome::Ready(file),
            Err(error) if is_passing(&error) => {
                tracing::warn!(id, error = %format!("{error:#}"), "an export has to wait");
                tokio::time::sleep(LOOK_EVERY).await;
                return self.note(&id, None);
            }
            Err(error) => ExportOutcome::Failed {
                reason: format!("{error:#}"),
            },
        };
        let finished = ExportFinished {
            id: id.clone(),
            outcome,
        };
        let stream = stream();
        // It is made, so only this is tried again.
        let events = || vec![Event::from(finished.clone())];
        while let Err(reason) = self.append(&shard, stream.as_str(), events()).await {
            tracing::warn!(id, reason, "the outcome of an export has to wait");
            tokio::time::sleep(PAUSE).await;
        }
        self.note(&id, None);
    }

    async fn write(&self, shard: &str, request: &ExportRequested) -> anyhow::Result<ExportFile> {
        let id = &request.id;
        let of = self.count(request).await?;
        let progress = |rows| self.note(id, Some(ExportProgress { rows, of }));
        let name = format!("{id}.{}", extension(request.format, request.compression));
        let spooled = self.lake.lake.place().spooled(&name);
        let made = match export(&self.lake.exports, request, &spooled, &progress).await {
            Ok(made) => made,
            Err(error) => {
                // What there is of it is of no use.
                let _gone = std::fs::remove_file(&spooled);
                return Err(error.into());
            }
        };
        let path = format!("exports/{name}");
        self.lake.lake.place().publish(&spooled, &path).await?;
        let position = made.positions.get(shard).copied().unwrap_or(Position(0));
        Ok(ExportFile {
            path,
            position: position.0,
            rows: made.rows,
            bytes: made.bytes,
            sha256: made.sha256,
        })
    }

    /// How many rows there will be, about: more may be committed meanwhile.
    async fn count(&self, request: &ExportRequested) -> anyhow::Result<u64> {
        let (_, count) = queries(request)?;
        let caller = SqlCaller::new(Visibility::Public);
        let mut answer = self.lake.exports.query(&count, &caller).await?;
        let rows = answer.next().await.context("a count has a row")??;
        Ok(counted(&rows))
    }

    /// Deletes the files of exports that have expired.
    async fn forget_expired(&self) {
        let now = now_millis();
        let before = self.swept.swap(now, Ordering::Relaxed);
        for shard in self.own_shards() {
            let Ok(files) = files(shard) else { continue };
            for (path, ready_at) in files {
                // Those that expired since the last time, or before this process began.
                if (before..now).contains(&self.expiry(ready_at))
                    && let Err(error) = self.lake.lake.place().delete(&path).await
                {
                    tracing::warn!(%error, path, "the file of an expired export stays");
                }
            }
        }
    }
}

/// Milliseconds since 1970.
fn now_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// Whether the same may do better in a while.
fn is_passing(error: &anyhow::Error) -> bool {
    let sql = match error.downcast_ref::<ExportError>() {
        Some(ExportError::Sql(error)) => Some(error),
        _ => error.downcast_ref::<SqlError>(),
    };
    matches!(
        sql,
        Some(SqlError::Busy { .. } | SqlError::Moved | SqlError::Behind { .. })
    )
}

type Waiting = Vec<(u64, ExportRequested)>;

/// Exports of a shard that have no outcome: those that wait, and the owners of those under way.
fn unfinished(
    shard: &Shard,
    running: &BTreeSet<String>,
) -> anyhow::Result<(Waiting, Vec<Option<String>>)> {
    let (mut waiting, mut busy) = (Vec::new(), Vec::new());
    each(shard, |row| {
        if row.outcome.is_none() {
            match running.contains(&row.request.id) {
                true => busy.push(row.request.owner),
                false => waiting.push((row.requested_at, row.request)),
            }
        }
    })?;
    Ok((waiting, busy))
}

/// The files of exports of a shard, and when they were ready.
fn files(shard: &Shard) -> anyhow::Result<Vec<(String, u64)>> {
    let mut files = Vec::new();
    each(shard, |row| {
        if let Some((ExportOutcome::Ready(file), ready_at)) = row.outcome {
            files.push((file.path, ready_at));
        }
    })?;
    Ok(files)
}

fn each(
    shard: &Shard,
    mut visit: impl FnMut(cairn_domain::projections::exports::ExportRow),
) -> anyhow::Result<()> {
    let view = shard.store()?.view(None)?;
    let scanned = view.scan::<Exports>(&stream(), &(), None, |row| {
        visit(row.value);
        Ok(ControlFlow::Continue(()))
    });
    Ok(scanned.map_err(|error: StoreError| error)?)
}

#[async_trait]
impl ExportDesk for ExportMaker {
    async fn append(&self, shard: &str, stream: &str, events: Vec<Event>) -> Result<(), String> {
        let operation = Operation {
            shard: Some(shard.to_owned()),
            request: Request::Append {
                stream: stream.to_owned(),
                events,
            },
        };
        let (output, _messages) = Output::channel();
        let done = operation.perform(&self.node, &self.peers, Inputs::default(), &output);
        match done.await {
            Message::Failed { message, .. } => Err(message),
            _ => Ok(()),
        }
    }

    fn makes(&self, shard: &str) -> bool {
        self.own_shards().any(|own| own.name == shard)
    }

    fn progress(&self, id: &str) -> Option<ExportProgress> {
        self.running().get(id).copied()
    }

    fn expiry(&self, ready_at: u64) -> u64 {
        let keep = u64::try_from(self.keep.as_millis()).unwrap_or(u64::MAX);
        ready_at.saturating_add(keep)
    }
}
