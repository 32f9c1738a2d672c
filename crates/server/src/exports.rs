//! Makes exports: those of the shards that this node writes, a few at a time, the callers in turn.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::ControlFlow,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use cairn_api::{ExportDesk, ExportProgress, LakeArgs};
use cairn_domain::{
    Event, Position,
    events::{ExportFile, ExportFinished, ExportOutcome, ExportRequested},
    projections::exports::{Exports, stream},
};
use cairn_engine::{clock::now_millis, store::StoreError};
use cairn_lake::{ExportError, LakeError, count, export, extension, sql::SqlError};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    config::Config,
    forward::Peers,
    http::stopped,
    node::{Node, Shard},
    operations::{Inputs, Message, Operation, Output, Request},
};

/// Where their files are, from the root of the lake.
const FOLDER: &str = "exports";

/// So many are made at a time.
const AT_ONCE: usize = 2;
/// So many of them for the same caller, so that others find a place.
const OF_A_CALLER: usize = 1;
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
    running: Mutex<BTreeMap<String, ExportProgress>>,
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
        });
        tokio::spawn(Arc::clone(&maker).run(node.stopping()));
        maker
    }

    async fn run(self: Arc<Self>, stop: watch::Receiver<bool>) {
        let mut tasks = JoinSet::new();
        let mut swept = None::<Instant>;
        let working = async {
            loop {
                while tasks.len() >= AT_ONCE {
                    let _ended = tasks.join_next().await;
                }
                if let Some((shard, request)) = self.next() {
                    self.note(&request.id, Some(ExportProgress::default()));
                    // Columns take all of a thread for a while, which must not be one that answers requests.
                    let threads = self.lake.exports.threads();
                    tasks.spawn_on(Arc::clone(&self).make(shard, request), threads);
                    continue;
                }
                if swept.is_none_or(|swept| swept.elapsed() >= self.keep.min(SWEEP_EVERY)) {
                    swept = Some(Instant::now());
                    self.forget_expired().await;
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

    /// The next export to make: of the caller who has the fewest under way, the oldest. A shard that cannot be
    /// read does not hold up the others; its health says why.
    fn next(&self) -> Option<(String, ExportRequested)> {
        let running: BTreeSet<String> = self.running().keys().cloned().collect();
        let (mut waiting, mut at_work) = (Vec::new(), Vec::new());
        for shard in self.own_shards() {
            let Ok((found, owners)) = unfinished(shard, &running) else {
                continue;
            };
            let found = found.into_iter();
            waiting.extend(found.map(|(time, request)| (time, shard.name.clone(), request)));
            at_work.extend(owners);
        }
        let (_, shard, request) = turn(waiting, &at_work)?;
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
        // More may be committed meanwhile.
        let of = count(&self.lake.exports, request).await?;
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
        let path = format!("{FOLDER}/{name}");
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

    /// Deletes the files of exports that have expired, and those that no event came to name.
    async fn forget_expired(&self) {
        let keep = self.keep.saturating_add(GRACE).as_millis();
        let moment = now_millis().saturating_sub(u64::try_from(keep).unwrap_or(u64::MAX));
        let place = self.lake.lake.place();
        if let Err(error) = place.delete_before(FOLDER, moment).await {
            tracing::warn!(%error, "the files of expired exports stay");
        }
    }
}

/// Whose turn it is: the export of the caller who has the fewest under way, and of those the oldest.
fn turn<T>(
    waiting: Vec<(u64, T, ExportRequested)>,
    at_work: &[Option<String>],
) -> Option<(u64, T, ExportRequested)> {
    let under_way = |request: &ExportRequested| {
        let same = at_work.iter().filter(|owner| **owner == request.owner);
        same.count()
    };
    // Without keys it is not known who asks.
    let may =
        |request: &ExportRequested| request.owner.is_none() || under_way(request) < OF_A_CALLER;
    let waiting = waiting.into_iter().filter(|(_, _, request)| may(request));
    waiting.min_by_key(|(time, _, request)| (under_way(request), *time))
}

/// Whether the same may do better in a while.
fn is_passing(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<ExportError>() {
        // A file was replaced, and is deleted by now.
        Some(ExportError::Lake(LakeError::Gone { .. })) => true,
        Some(ExportError::Sql(error)) => matches!(
            error,
            SqlError::Busy { .. }
                | SqlError::CallerBusy { .. }
                | SqlError::Crowded { .. }
                | SqlError::Moved
                | SqlError::Behind { .. }
        ),
        _ => false,
    }
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

#[cfg(test)]
mod tests {
    use cairn_domain::events::{ExportCompression, ExportFormat};

    use super::*;

    fn waits(time: u64, owner: Option<&str>) -> (u64, (), ExportRequested) {
        let request = ExportRequested {
            id: time.to_string(),
            owner: owner.map(str::to_owned),
            dataset: "blocks".into(),
            chain: "eth".into(),
            from: 0,
            to: 0,
            address: None,
            final_only: false,
            format: ExportFormat::Csv,
            compression: ExportCompression::None,
        };
        (time, (), request)
    }

    #[test]
    fn callers_take_turns_and_nobody_takes_all_places() {
        let (ann, bob) = (Some("ann"), Some("bob"));
        let waiting = || vec![waits(3, bob), waits(1, ann), waits(2, ann)];
        let next = |at_work: &[Option<&str>]| {
            let at_work: Vec<_> = at_work
                .iter()
                .map(|owner| owner.map(str::to_owned))
                .collect();
            turn(waiting(), &at_work).map(|(time, ..)| time)
        };
        assert_eq!(next(&[]), Some(1));
        assert_eq!(next(&[ann]), Some(3));
        assert_eq!(next(&[ann, bob]), None);
        let nobody = turn(vec![waits(1, None)], &[None]);
        assert!(nobody.is_some(), "it is not known whose it is");
    }
}
