//! The rows of an answer, as they come.

use std::{
    collections::{BTreeMap, HashMap},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use arrow::{
    compute::cast,
    datatypes::{Schema, SchemaRef},
    record_batch::RecordBatch,
};
use cairn_domain::Position;
use datafusion::execution::SendableRecordBatchStream;
use futures_util::{Stream, StreamExt as _};
use tokio::{
    runtime::Handle,
    sync::mpsc,
    task::JoinHandle,
    time::{Instant, Sleep},
};

use super::{SqlError, names::answer_schema, room::Room};
use crate::{LakeError, schema::POSITIONS};

/// What a query may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) timeout: Duration,
    pub(super) deadline: Instant,
    pub(super) max_rows: usize,
    /// In bytes.
    pub(super) memory: usize,
}

/// A query that has begun.
pub(super) struct Running {
    pub(super) stream: SendableRecordBatchStream,
    pub(super) positions: BTreeMap<String, Position>,
}

/// A task that ends with what waits for it.
pub(super) struct AbortOnDrop<T>(pub(super) JoinHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An answer: its columns, and a stream of its rows. A stream that ends without an error is complete.
/// Dropping it ends the query.
pub struct SqlAnswer {
    /// The columns. Texts are `Utf8`, bytes `Binary` or `FixedSizeBinary`; no name comes twice. Its metadata
    /// has the positions, too, as JSON under `cairn.positions`.
    pub schema: SchemaRef,
    /// As of which position of each shard it is, by the shard's name.
    pub positions: BTreeMap<String, Position>,
    rows: mpsc::Receiver<Sent>,
    late: Pin<Box<Sleep>>,
    limit: Duration,
    is_over: bool,
    taken: Arc<AtomicU64>,
    _task: AbortOnDrop<()>,
}

/// Rows, or nothing where the answer is complete.
type Sent = Result<Option<RecordBatch>, SqlError>;

impl std::fmt::Debug for SqlAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "an answer as of {:?}", self.positions)
    }
}

impl SqlAnswer {
    /// The names of the columns, in order.
    pub fn columns(&self) -> impl Iterator<Item = &str> {
        self.schema
            .fields()
            .iter()
            .map(|field| field.name().as_str())
    }

    /// Without the positions in its metadata, so that the same rows become the same bytes.
    pub(crate) fn unmarked(mut self) -> Self {
        self.schema = Arc::new(Schema::new(self.schema.fields().clone()));
        self
    }

    /// Counts the rows that were taken out of the answer.
    pub fn counter(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.taken)
    }

    /// Lets a query run on; `room` is given back when it has ended.
    pub(super) fn run(running: Running, limits: Limits, room: Room, runtime: &Handle) -> Self {
        let Running { stream, positions } = running;
        let columns = answer_schema(&stream.schema());
        let noted = HashMap::from([(POSITIONS.to_owned(), positions_json(&positions))]);
        let schema = Arc::new(columns.as_ref().clone().with_metadata(noted));
        let (sender, rows) = mpsc::channel(1);
        let columns = SchemaRef::clone(&schema);
        let task = runtime.spawn(async move {
            let sent = send(stream, &columns, limits, &sender);
            let end = match tokio::time::timeout_at(limits.deadline, sent).await {
                Ok(end) => end,
                Err(_) => Err(SqlError::TooSlow {
                    limit: limits.timeout,
                }),
            };
            // There is room again before the caller hears that this is over.
            drop(room);
            // A caller who is gone needs no end.
            let _gone = sender.send(end.map(|()| None)).await;
        });
        Self {
            schema,
            positions,
            rows,
            late: Box::pin(tokio::time::sleep_until(limits.deadline)),
            limit: limits.timeout,
            is_over: false,
            taken: Arc::default(),
            _task: AbortOnDrop(task),
        }
    }
}

/// Positions as metadata has them.
pub(super) fn positions_json(positions: &BTreeMap<String, Position>) -> String {
    let of_shard = |(shard, at): (&String, &Position)| (shard.clone(), at.0.into());
    serde_json::Value::Object(positions.iter().map(of_shard).collect()).to_string()
}

async fn send(
    mut stream: SendableRecordBatchStream,
    columns: &SchemaRef,
    limits: Limits,
    sender: &mpsc::Sender<Sent>,
) -> Result<(), SqlError> {
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(|error| SqlError::from_engine(&error, limits.memory))?;
        rows += batch.num_rows();
        if rows > limits.max_rows {
            return Err(SqlError::TooManyRows {
                limit: limits.max_rows,
            });
        }
        if batch.num_rows() > 0
            && sender
                .send(Ok(Some(plain(&batch, columns)?)))
                .await
                .is_err()
        {
            return Ok(());
        }
    }
    Ok(())
}

/// Rows in the types of the answer.
fn plain(batch: &RecordBatch, columns: &SchemaRef) -> Result<RecordBatch, SqlError> {
    let fields = columns.fields().iter().zip(batch.columns());
    let arrays = fields.map(|(field, array)| cast(array, field.data_type()));
    let arrays = arrays.collect::<Result<_, _>>().map_err(LakeError::from)?;
    let options =
        arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let plain = RecordBatch::try_new_with_options(SchemaRef::clone(columns), arrays, &options);
    Ok(plain.map_err(LakeError::from)?)
}

impl Stream for SqlAnswer {
    type Item = Result<RecordBatch, SqlError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let end = match self.rows.poll_recv(cx) {
            Poll::Ready(Some(Ok(Some(batch)))) => {
                self.taken
                    .fetch_add(batch.num_rows() as u64, Ordering::Relaxed);
                return Poll::Ready(Some(Ok(batch)));
            }
            Poll::Ready(Some(Ok(None))) => None,
            Poll::Ready(Some(Err(error))) => Some(error),
            Poll::Ready(None) => Some(SqlError::Internal("it panicked or was stopped".into())),
            // A query that computes without a pause does not look at the clock itself.
            Poll::Pending => match self.late.as_mut().poll(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(()) => Some(SqlError::TooSlow { limit: self.limit }),
            },
        };
        self.is_over = true;
        Poll::Ready(end.map(Err))
    }
}
