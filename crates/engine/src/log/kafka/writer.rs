//! The right to append: a producer of its own, an epoch record, then records in sequence. An append is
//! acknowledged when this node's own reader has seen it accepted.

use std::{
    sync::{Arc, mpsc},
    time::Duration,
};

use async_trait::async_trait;
use cairn_domain::{Position, commit::NewCommit};
use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer as _},
};
use tokio::sync::{oneshot, watch};

use super::{
    client::Context,
    options::KafkaOptions,
    record::{self, NewRecord, TakeOver},
    shared::Shared,
    topic::unanswered,
};
use crate::{
    clock::now_millis,
    log::{EpochRecord, LogError, Writer, fenced},
};

/// How long a full queue of the producer is waited for before it is looked at again.
const PAUSE: Duration = Duration::from_millis(5);
/// How long an epoch record may take.
const EPOCH_PATIENCE: Duration = Duration::from_secs(30);
/// What headers and framing of a record may take.
const OVERHEAD_BYTES: usize = 1024;
/// A commit has at most so many parts, so that a damaged size cannot ask for all memory.
const MOST_PARTS: usize = 1 << 16;

struct Append {
    commits: Vec<NewCommit>,
    done: oneshot::Sender<Result<Position, LogError>>,
}

/// See the module.
pub(super) struct KafkaWriter {
    epoch: u64,
    shared: Arc<Shared>,
    appends: mpsc::Sender<Append>,
    /// Why this writer cannot go on, once it cannot.
    failed: watch::Receiver<Option<LogError>>,
}

/// A producer with its complaints.
pub(super) struct Sender {
    producer: BaseProducer<Context>,
    context: Context,
}

impl Sender {
    /// `record_bytes` is the most that the topic takes at once.
    pub(super) fn new(options: &KafkaOptions, record_bytes: usize) -> Result<Self, LogError> {
        let context = Context::default();
        let producer = options.create(&options.producer(record_bytes), context.clone())?;
        Ok(Self { producer, context })
    }

    /// Puts a record into the producer's queue, in order; while that is full it waits, as long as
    /// `goes_on` says that there is reason to.
    fn send(
        &self,
        options: &KafkaOptions,
        record: NewRecord<'_>,
        goes_on: &dyn Fn() -> Result<(), LogError>,
    ) -> Result<(), LogError> {
        let mut message = BaseRecord::<(), [u8]>::to(&options.topic)
            .partition(options.partition_id())
            .payload(record.payload.as_ref())
            .headers(record.headers);
        loop {
            match self.producer.send(message) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    message = back;
                    self.producer.poll(PAUSE);
                }
                Err((error, _)) => {
                    return Err(options.broken(format!("a record was refused: {error}")));
                }
            }
            self.check(options)?;
            goes_on()?;
        }
    }

    /// Serves the producer, and says if a record could not be delivered.
    fn check(&self, options: &KafkaOptions) -> Result<(), LogError> {
        self.producer.poll(Duration::ZERO);
        match self.context.undelivered() {
            None => Ok(()),
            Some(reason) => Err(options.broken(format!(
                "a record was not delivered ({reason}); what was not acknowledged may or may not be in the log, and a new epoch finds out"
            ))),
        }
    }

    /// Sends a record and waits until the brokers have it.
    pub(super) fn deliver(
        &self,
        options: &KafkaOptions,
        record: NewRecord<'_>,
        patience: Duration,
    ) -> Result<(), LogError> {
        self.send(options, record, &|| Ok(()))?;
        let flushed = self.producer.flush(patience);
        self.check(options)?;
        flushed.map_err(|error| unanswered(options, &self.context, &error))
    }
}

/// Sends an epoch record and returns the writer once it is in force. The log's end must have been
/// read.
pub(super) async fn take_over(
    shared: &Arc<Shared>,
    record: EpochRecord,
    reopens: bool,
    record_bytes: usize,
) -> Result<Arc<dyn Writer>, LogError> {
    let (epoch, instance) = (record.epoch, record.instance.clone());
    let take_over = TakeOver {
        log: shared.id,
        reopens,
        record,
    };
    let options = shared.options.clone();
    let sent = tokio::task::spawn_blocking(move || {
        let sender = Sender::new(&options, record_bytes)?;
        sender.deliver(&options, record::epoch(&take_over), EPOCH_PATIENCE)?;
        Ok(sender)
    });
    let sender = sent.await.map_err(|_| LogError::Closed)??;
    let own = |current: &EpochRecord| current.instance == instance;
    let mut epochs = shared.epoch.subscribe();
    // Ours or a higher one: of two equal ones the first is in force, and ours may be the second.
    let in_force = epochs.wait_for(|current| current.as_ref().is_some_and(|c| c.epoch >= epoch));
    let current = match tokio::time::timeout(EPOCH_PATIENCE, in_force).await {
        Ok(Ok(current)) => current.clone(),
        Ok(Err(_)) => return Err(LogError::Closed),
        Err(_) => return Err(not_in_force(shared, epoch)),
    };
    match current {
        Some(current) if own(&current) => {
            let fits = record_bytes.saturating_sub(OVERHEAD_BYTES).max(1);
            start(
                shared,
                epoch,
                sender,
                fits.min(shared.options.part_bytes.max(1)),
            )
        }
        Some(current) => Err(LogError::Fenced {
            own: epoch,
            current: current.epoch,
        }),
        None => Err(LogError::Closed),
    }
}

/// The brokers have an epoch record, but no reader has taken it: the log was closed meanwhile, or
/// cannot be read.
fn not_in_force(shared: &Shared, epoch: u64) -> LogError {
    let closed = shared
        .epoch
        .borrow()
        .as_ref()
        .and_then(|current| current.closed.clone());
    match (shared.broken(), closed) {
        (Some(broken), _) => broken,
        (None, Some(closed)) => LogError::Sealed(closed),
        (None, None) => LogError::Unavailable(format!(
            "epoch {epoch} was written to {}, but has not come back yet",
            shared.options.place()
        )),
    }
}

fn start(
    shared: &Arc<Shared>,
    epoch: u64,
    sender: Sender,
    part_bytes: usize,
) -> Result<Arc<dyn Writer>, LogError> {
    let (appends, inbox) = mpsc::channel();
    let (fail, failed) = watch::channel(None);
    let work = Work {
        shared: Arc::clone(shared),
        sender,
        epoch,
        sequence: 0,
        part_bytes,
    };
    std::thread::Builder::new()
        .name("cairn-append".into())
        .spawn(move || work.run(&inbox, &fail))
        .map_err(|error| LogError::Storage(error.to_string()))?;
    Ok(Arc::new(KafkaWriter {
        epoch,
        shared: Arc::clone(shared),
        appends,
        failed,
    }))
}

/// The thread that writes.
struct Work {
    shared: Arc<Shared>,
    sender: Sender,
    epoch: u64,
    sequence: u64,
    part_bytes: usize,
}

impl Work {
    fn run(mut self, inbox: &mpsc::Receiver<Append>, fail: &watch::Sender<Option<LogError>>) {
        let result = self.serve(inbox);
        if let Err(error) = result {
            // Whoever writes says what it means; to be fenced is nothing to be warned of.
            tracing::debug!(epoch = self.epoch, %error, "a writer of the log gives up");
            self.shared.give_up(self.epoch, &error);
            fail.send_replace(Some(error));
            // Those that come later hear it from the channel that ends here.
        }
    }

    fn serve(&mut self, inbox: &mpsc::Receiver<Append>) -> Result<(), LogError> {
        loop {
            match inbox.recv_timeout(Duration::from_millis(50)) {
                Ok(append) => self.append(append)?,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(()),
            }
            self.sender.check(&self.shared.options)?;
            self.check_epoch()?;
        }
    }

    fn check_epoch(&self) -> Result<(), LogError> {
        if let Some(broken) = self.shared.broken() {
            return Err(broken);
        }
        if self.shared.is_closing() {
            return Err(LogError::Closed);
        }
        let current = self
            .shared
            .epoch
            .borrow()
            .as_ref()
            .map_or(0, |record| record.epoch);
        match current > self.epoch {
            true => Err(LogError::Fenced {
                own: self.epoch,
                current,
            }),
            false => Ok(()),
        }
    }

    fn append(&mut self, append: Append) -> Result<(), LogError> {
        let Append { commits, done } = append;
        let most = self.part_bytes.saturating_mul(MOST_PARTS);
        let largest = commits.iter().map(NewCommit::size).max();
        let refusal = match largest {
            None => Some(Ok(self.shared.head.borrow().next())),
            Some(bytes) if bytes > most => Some(Err(LogError::TooLarge { bytes, most })),
            Some(_) => None,
        };
        if let Some(refusal) = refusal {
            let _gone = done.send(refusal);
            return Ok(());
        }
        let records: u64 = commits.iter().map(|commit| self.parts(commit)).sum();
        let last_sequence = self.sequence + records - 1;
        self.shared.wait(self.epoch, last_sequence, done);
        let (recorded_time, count) = (now_millis(), commits.len());
        for (number, commit) in commits.into_iter().enumerate() {
            let parts = self.parts(&commit);
            let stored = commit.seal(self.epoch, recorded_time);
            let last = number + 1 == count;
            for record in record::parts(&stored, self.part_bytes, self.epoch, self.sequence, last) {
                let goes_on = || self.check_epoch();
                self.sender.send(&self.shared.options, record, &goes_on)?;
            }
            self.sequence += parts;
        }
        Ok(())
    }

    fn parts(&self, commit: &NewCommit) -> u64 {
        commit.size().div_ceil(self.part_bytes).max(1) as u64
    }
}

impl KafkaWriter {
    fn reason(&self) -> LogError {
        self.failed.borrow().clone().unwrap_or(LogError::Closed)
    }
}

#[async_trait]
impl Writer for KafkaWriter {
    fn epoch(&self) -> u64 {
        self.epoch
    }

    async fn append(&self, commits: Vec<NewCommit>) -> Result<Position, LogError> {
        let (done, position) = oneshot::channel();
        let append = Append { commits, done };
        self.appends.send(append).map_err(|_| self.reason())?;
        position.await.map_err(|_| self.reason())?
    }

    async fn lost(&self) -> LogError {
        let mut failed = self.failed.clone();
        tokio::select! {
            reason = failed.wait_for(Option::is_some) => match reason {
                Ok(reason) => reason.clone().unwrap_or(LogError::Closed),
                Err(_) => LogError::Closed,
            },
            reason = fenced(self.shared.epoch.subscribe(), self.epoch) => reason,
        }
    }
}
