//! The log in a topic of Kafka, or of any broker that speaks its protocol: one partition, records in
//! the order of their offsets, positions of our own.
//!
//! Which records count is a rule that every reader applies alike ([`acceptor`]); so nothing rests on
//! transactions, and hardly anything on the idempotent producer. One thread follows the topic, moves
//! the head and acknowledges appends ([`follower`]); the newest commits stay in memory ([`tail`]), and
//! what is older is read again from the last mark before it ([`index`], [`reader`]).

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use cairn_domain::Position;
use tokio::sync::watch;

mod acceptor;
mod client;
mod feed;
mod follower;
mod index;
mod leadership;
mod naming;
mod options;
mod probe;
mod reader;
mod record;
mod shared;
mod tail;
#[cfg(test)]
mod tests;
mod topic;
mod verify;
mod writer;

pub use leadership::Leadership;
pub use options::KafkaOptions;

use acceptor::{Acceptor, Mark};
use index::Index;
use naming::Found;
use probe::Probe;
use reader::{Pass, Readers};
use record::LogRecord;
use shared::{Shared, State};

use super::{
    Claim, Condition, EpochRecord, Log, LogError, LogId, LogReport, LogStat, StoredCommit, Writer,
};
use crate::rocks;

/// How long opening waits for brokers where the log is known already.
const KNOWN_PATIENCE: Duration = Duration::from_secs(3);
/// How long a question about the topic may take.
const ASK_PATIENCE: Duration = Duration::from_secs(5);

/// See the module.
pub struct KafkaLog {
    shared: Arc<Shared>,
    index: Arc<Index>,
    readers: Arc<Readers>,
    probe: Arc<Probe>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl KafkaLog {
    /// Opens the log, and makes the topic where it is missing. A node that knows the log already
    /// opens it without the brokers, too, and goes on when they answer.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] where brokers do not answer in time, [`LogError::Broken`] for a topic
    /// that is no log, loses records, or is of another deployment, [`LogError::InUse`] beside another
    /// process with the same index.
    pub async fn open(options: KafkaOptions) -> Result<Self, LogError> {
        let path = options.index.clone();
        let opened = tokio::task::spawn_blocking(move || Index::open(&path));
        let index = opened.await.map_err(|_| LogError::Closed)??;
        let known = index.log()?;
        let (log, end, in_sync) = match (found(&options, known.as_ref()).await, known) {
            (Ok(Found { log, end, topic }), _) => (log, end, topic.in_sync),
            (Err(error), Some(log)) if error.is_passing() => {
                tracing::warn!(%error, "the log opens as far as it is known");
                (log, 0, 0)
            }
            (Err(error), _) => return Err(error),
        };
        let log = Self::start(options, index, log, end)?;
        log.shared.in_sync.store(in_sync, Ordering::Relaxed);
        Ok(log)
    }

    /// Begins to follow a topic that holds this log, which ended at an offset.
    fn start(
        options: KafkaOptions,
        index: Index,
        log: LogRecord,
        end: i64,
    ) -> Result<Self, LogError> {
        index.set_log(&log)?;
        let mark = index.newest()?;
        let start = Acceptor::new(log.id, mark.clone());
        let probe = Arc::new(Probe::new(&options)?);
        let shared = Shared::new(options, &log, &start, end.max(start.next()));
        let log = Self {
            probe,
            shared: Arc::new(shared),
            index: Arc::new(index),
            readers: Arc::default(),
            threads: Mutex::default(),
        };
        log.spawn(mark)?;
        Ok(log)
    }

    fn spawn(&self, mark: Mark) -> Result<(), LogError> {
        let (shared, index) = (Arc::clone(&self.shared), Arc::clone(&self.index));
        let follow = move || follower::follow(&shared, &index, mark);
        let (shared, readers) = (Arc::clone(&self.shared), Arc::clone(&self.readers));
        let probe = Arc::clone(&self.probe);
        let watch = move || probe::watch(&shared, &probe, &readers);
        let start = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let thread = std::thread::Builder::new().name(name.into()).spawn(work);
            thread.map_err(|error| LogError::Storage(error.to_string()))
        };
        let mut threads = self.threads.lock().expect("no panic holds it");
        threads.push(start("cairn-log", Box::new(follow))?);
        threads.push(start("cairn-probe", Box::new(watch))?);
        Ok(())
    }

    /// Takes over a topic that takes records of so many bytes.
    async fn begin_epoch(
        &self,
        claim: &Claim,
        record_bytes: usize,
    ) -> Result<Arc<dyn Writer>, LogError> {
        self.caught_up().await?;
        let current = self.shared.epoch.borrow().clone();
        let record = claim.record(current.as_ref(), *self.shared.head.borrow())?;
        writer::take_over(&self.shared, record, claim.reopens, record_bytes).await
    }

    /// Waits until everything below an offset was read.
    async fn read_up_to(&self, offset: i64) -> Result<(), LogError> {
        let (mut next, mut state) = (self.shared.next.subscribe(), self.shared.state.subscribe());
        tokio::select! {
            reached = next.wait_for(|next| *next >= offset) => {
                reached.map(|_| ()).map_err(|_| LogError::Closed)
            }
            broken = state.wait_for(|state| matches!(state, State::Broken(_))) => {
                drop(broken);
                Err(self.shared.broken().unwrap_or(LogError::Closed))
            }
        }
    }
}

/// Looks for the topic until the brokers answer, or patience ends.
async fn found(options: &KafkaOptions, known: Option<&LogRecord>) -> Result<Found, LogError> {
    let patience = match known {
        Some(_) => KNOWN_PATIENCE.min(options.patience),
        None => options.patience,
    };
    let started = Instant::now();
    loop {
        match naming::find(options, known.map(|log| log.id)).await {
            Err(error) if error.is_passing() && started.elapsed() < patience => {
                tracing::warn!(%error, "waiting for the log");
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            found => return found,
        }
    }
}

impl Drop for KafkaLog {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Relaxed);
        let mut threads = self.threads.lock().expect("no panic holds it");
        for thread in threads.drain(..) {
            // What it failed with is in the state already.
            let _joined = thread.join();
        }
    }
}

#[async_trait]
impl Log for KafkaLog {
    fn id(&self) -> LogId {
        self.shared.id
    }

    fn is_local(&self) -> bool {
        false
    }

    async fn take_over(&self, claim: Claim) -> Result<Arc<dyn Writer>, LogError> {
        let found = naming::find(&self.shared.options, Some(self.shared.id)).await?;
        if found.log.topic != self.shared.topic {
            return Err(self.shared.options.broken(
                "the topic is another one than when this node started: restart the node, and it is read from its beginning",
            ));
        }
        self.shared
            .in_sync
            .store(found.topic.in_sync, Ordering::Relaxed);
        self.begin_epoch(&claim, found.topic.record_bytes).await
    }

    fn epoch(&self) -> watch::Receiver<Option<EpochRecord>> {
        self.shared.epoch.subscribe()
    }

    async fn caught_up(&self) -> Result<(), LogError> {
        let probe = Arc::clone(&self.probe);
        let asked = tokio::task::spawn_blocking(move || probe.ends(ASK_PATIENCE));
        let (_, end) = asked.await.map_err(|_| LogError::Closed)??;
        self.read_up_to(end).await
    }

    fn condition(&self) -> Condition {
        let lag = self.shared.lag();
        match &*self.shared.state.borrow() {
            State::Well => Condition::Well { lag },
            State::Away(reason) => Condition::Waiting {
                lag,
                reason: reason.clone(),
            },
            State::Broken(error) => Condition::Broken(error.to_string()),
        }
    }

    fn head(&self) -> watch::Receiver<Position> {
        self.shared.head.subscribe()
    }

    async fn read(&self, from: Position, max_bytes: usize) -> Result<Vec<StoredCommit>, LogError> {
        // What is in memory needs no other thread.
        if let Some(commits) = self.shared.tail.read(from.max(Position(1)), max_bytes) {
            return Ok(commits);
        }
        let (from, last) = (from.max(Position(1)), *self.shared.head.borrow());
        if from > last {
            return Ok(Vec::new());
        }
        let (shared, index) = (Arc::clone(&self.shared), Arc::clone(&self.index));
        let readers = Arc::clone(&self.readers);
        let read = tokio::task::spawn_blocking(move || {
            readers.read((&shared, &index), (from, last), max_bytes)
        });
        read.await.map_err(|_| LogError::Closed)?
    }

    async fn locate(&self, position: Position) -> Option<String> {
        let (shared, index) = (Arc::clone(&self.shared), Arc::clone(&self.index));
        let found = tokio::task::spawn_blocking(move || {
            let mut pass = Pass::new(&shared, index.before(position)?)?;
            while pass.next()?.position < position {}
            Ok::<_, LogError>(format!(
                "{} offset {}",
                shared.options.place(),
                pass.offset()
            ))
        });
        found.await.ok()?.ok()
    }

    async fn stat(&self) -> Result<LogStat, LogError> {
        let shared = &self.shared;
        let (admin, context) = topic::admin(&shared.options)?;
        let described = topic::describe(&shared.options, &admin, &context);
        let described = tokio::time::timeout(ASK_PATIENCE, described).await;
        let retention = match described {
            Ok(Ok(topic)) => topic.retention,
            Ok(Err(error)) => format!("unknown: {error}"),
            Err(_) => "unknown: the brokers do not answer".into(),
        };
        let epoch = shared.epoch.borrow().clone();
        let closed = epoch.as_ref().and_then(|record| record.closed.as_ref());
        let health = match (self.condition(), closed) {
            (Condition::Well { .. }, None) => "ok".into(),
            (Condition::Well { .. }, Some(reason)) => format!("closed: {reason}"),
            (Condition::Waiting { reason, .. } | Condition::Broken(reason), _) => reason,
        };
        Ok(LogStat {
            id: shared.id,
            kind: "kafka".into(),
            head: *shared.head.borrow(),
            epochs: shared.epochs.load(Ordering::Relaxed),
            bytes: rocks::directory_bytes(&shared.options.index),
            lag: shared.lag(),
            place: shared.options.place(),
            passed_over: shared.passed_over.load(Ordering::Relaxed),
            retention,
            health,
            epoch,
        })
    }

    async fn verify(&self, progress: &(dyn Fn(Position) + Sync)) -> Result<LogReport, LogError> {
        verify::verify(&self.shared, progress).await
    }
}
