//! What the threads of a log share: where readers are, what appends wait for, how the brokers are.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use cairn_domain::Position;
use tokio::sync::{oneshot, watch};

use super::{acceptor::Acceptor, options::KafkaOptions, record::LogRecord, tail::Tail};
use crate::log::{EpochRecord, LogError, LogId, StoredCommit};

/// An append that is on its way longer than this is one that waits for the brokers.
const SLOW_APPEND: Duration = Duration::from_secs(3);

/// How the log is.
#[derive(Debug, Clone)]
pub(super) enum State {
    /// The brokers answer.
    Well,
    /// They do not; it goes on by itself when they do.
    Away(String),
    /// It cannot be read on until a person helps.
    Broken(LogError),
}

type Done = oneshot::Sender<Result<Position, LogError>>;

/// Appends that wait to be seen accepted, by epoch and the sequence of their last record.
type Waiting = BTreeMap<(u64, u64), (Instant, Done)>;

/// See the module.
pub(super) struct Shared {
    pub(super) options: KafkaOptions,
    pub(super) id: LogId,
    /// Which topic, of those that may hold the log.
    pub(super) topic: LogId,
    pub(super) tail: Tail,
    pub(super) head: watch::Sender<Position>,
    pub(super) epoch: watch::Sender<Option<EpochRecord>>,
    /// Everything below this offset was read.
    pub(super) next: watch::Sender<i64>,
    pub(super) state: watch::Sender<State>,
    /// The offset behind the last record, as the brokers last said.
    pub(super) end: AtomicI64,
    pub(super) epochs: AtomicU64,
    /// Records of fenced writers that were passed over since the start.
    pub(super) passed_over: AtomicU64,
    /// How many brokers must have a record before it counts; 0 where that is not known.
    pub(super) in_sync: AtomicUsize,
    pub(super) closing: AtomicBool,
    waiting: Mutex<Waiting>,
}

impl Shared {
    pub(super) fn new(options: KafkaOptions, log: &LogRecord, start: &Acceptor, end: i64) -> Self {
        Self {
            tail: Tail::new(options.tail_bytes),
            options,
            id: log.id,
            topic: log.topic,
            head: watch::Sender::new(start.position()),
            epoch: watch::Sender::new(start.epoch().cloned()),
            next: watch::Sender::new(start.next()),
            state: watch::Sender::new(State::Well),
            end: AtomicI64::new(end),
            epochs: AtomicU64::new(start.epochs()),
            passed_over: AtomicU64::new(0),
            in_sync: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            waiting: Mutex::default(),
        }
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("no panic holds it")
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Relaxed)
    }

    /// Records that were not read yet.
    pub(super) fn lag(&self) -> u64 {
        let lag = self.end.load(Ordering::Relaxed) - *self.next.borrow();
        u64::try_from(lag).unwrap_or(0)
    }

    /// Why nothing can be read on, if nothing can.
    pub(super) fn broken(&self) -> Option<LogError> {
        match &*self.state.borrow() {
            State::Broken(error) => Some(error.clone()),
            State::Well | State::Away(_) => None,
        }
    }

    /// Says how the brokers are. What is broken stays so.
    pub(super) fn note(&self, state: State) {
        self.state
            .send_if_modified(|current| match (&*current, &state) {
                (State::Broken(_), _) | (State::Well, State::Well) => false,
                _ => {
                    *current = state;
                    true
                }
            });
    }

    /// Nothing can be read on: whoever waits hears why.
    pub(super) fn fail(&self, error: &LogError) {
        tracing::error!(%error, "the log cannot be read on");
        self.note(State::Broken(error.clone()));
        for (_, (_, done)) in std::mem::take(&mut *self.waiting()) {
            let _gone = done.send(Err(error.clone()));
        }
    }

    /// An append waits until the record with this sequence is seen accepted.
    pub(super) fn wait(&self, epoch: u64, sequence: u64, done: Done) {
        self.waiting()
            .insert((epoch, sequence), (Instant::now(), done));
    }

    /// Appends of a writer that failed do not wait any more.
    pub(super) fn give_up(&self, epoch: u64, error: &LogError) {
        let mut waiting = self.waiting();
        let later = waiting.split_off(&(epoch + 1, 0));
        let own = waiting.split_off(&(epoch, 0));
        waiting.extend(later);
        for (_, (_, done)) in own {
            let _gone = done.send(Err(error.clone()));
        }
    }

    /// Readers may see these commits, and who appended them hears so. `sequence` is that of the
    /// record which completed them.
    pub(super) fn commits(&self, acceptor: &Acceptor, commits: Vec<StoredCommit>) {
        let Some(first) = commits.first().map(|commit| commit.position) else {
            return;
        };
        self.tail.push(commits);
        self.head.send_replace(acceptor.position());
        let epoch = acceptor.epoch().map_or(0, |record| record.epoch);
        let key = (epoch, acceptor.sequence() - 1);
        if let Some((_, done)) = self.waiting().remove(&key) {
            let _gone = done.send(Ok(first));
        }
    }

    /// An epoch is in force: what older writers still wait for never comes.
    pub(super) fn epoch(&self, acceptor: &Acceptor) {
        let Some(record) = acceptor.epoch() else {
            return;
        };
        let (epoch, writer) = (record.epoch, &record.writer);
        tracing::debug!(epoch, writer, "an epoch of the log begins");
        let current = record.epoch;
        self.epochs.store(acceptor.epochs(), Ordering::Relaxed);
        self.epoch.send_replace(Some(record.clone()));
        let mut waiting = self.waiting();
        let rest = waiting.split_off(&(current, 0));
        for ((own, _), (_, done)) in std::mem::replace(&mut *waiting, rest) {
            let _gone = done.send(Err(LogError::Fenced { own, current }));
        }
    }

    /// How long the oldest append has waited, if that is long.
    pub(super) fn slow_append(&self) -> Option<Duration> {
        let oldest = self
            .waiting()
            .values()
            .map(|(since, _)| since.elapsed())
            .max();
        oldest.filter(|waited| *waited > SLOW_APPEND)
    }
}
