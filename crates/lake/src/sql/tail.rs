//! Reading the tail of a dataset: rows that are in no file yet.

use std::{any::Any, fmt, sync::Arc};

use arrow::{datatypes::SchemaRef, record_batch::RecordBatch};
use datafusion::{
    common::{Statistics, stats::Precision},
    error::Result,
    execution::{SendableRecordBatchStream, TaskContext},
    physical_expr::{EquivalenceProperties, LexOrdering, Partitioning},
    physical_plan::{
        DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties,
        execution_plan::{Boundedness, EmissionType},
        memory::MemoryStream,
        projection::ProjectionExprs,
        stream::RecordBatchReceiverStreamBuilder,
    },
};

use super::{SqlError, tail_rows::BlockTail};

/// Batches that are made before they are asked for.
const BATCHES_AHEAD: usize = 2;

/// Rows that are in no file.
pub(super) enum Tail {
    /// Those of blocks, made when they are asked for.
    Blocks(Arc<BlockTail>),
    /// Those of events, as the table has them.
    Rows(Vec<RecordBatch>),
}

impl Tail {
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Self::Blocks(blocks) => blocks.partitions() == 0,
            Self::Rows(rows) => rows.is_empty(),
        }
    }

    fn partitions(&self) -> usize {
        match self {
            Self::Blocks(blocks) => blocks.partitions(),
            Self::Rows(_) => 1,
        }
    }

    fn row_count(&self) -> Precision<usize> {
        match self {
            Self::Blocks(blocks) => blocks.row_count(),
            Self::Rows(rows) => Precision::Exact(rows.iter().map(RecordBatch::num_rows).sum()),
        }
    }
}

/// See the module.
pub(super) struct TailExec {
    dataset: &'static str,
    tail: Tail,
    /// Which of the table's columns; none means all.
    projection: Option<Vec<usize>>,
    properties: Arc<PlanProperties>,
}

impl fmt::Debug for TailExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_as(DisplayFormatType::Default, f)
    }
}

impl TailExec {
    /// `schema` is the table's; `orderings` are in its terms.
    pub(super) fn new(
        tail: Tail,
        schema: SchemaRef,
        projection: Option<&Vec<usize>>,
        orderings: Vec<LexOrdering>,
        dataset: &'static str,
    ) -> Result<Self> {
        let ordered = EquivalenceProperties::new_with_orderings(Arc::clone(&schema), orderings);
        let equivalence = match projection {
            None => ordered,
            Some(columns) => {
                let projected = Arc::new(schema.project(columns)?);
                let kept = ProjectionExprs::from_indices(columns, &schema);
                ordered.project(&kept.projection_mapping(&schema)?, projected)
            }
        };
        let properties = PlanProperties::new(
            equivalence,
            Partitioning::UnknownPartitioning(tail.partitions()),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Self {
            dataset,
            tail,
            projection: projection.cloned(),
            properties: Arc::new(properties),
        })
    }
}

impl DisplayAs for TailExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TailExec: dataset={}", self.dataset)?;
        match &self.tail {
            Tail::Blocks(blocks) => write!(f, ", blocks={}", blocks.block_count()),
            Tail::Rows(rows) => write!(f, ", batches={}", rows.len()),
        }
    }
}

impl ExecutionPlan for TailExec {
    fn name(&self) -> &'static str {
        "TailExec"
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let schema = self.schema();
        let blocks = match &self.tail {
            Tail::Blocks(blocks) => Arc::clone(blocks),
            Tail::Rows(rows) => {
                let stream = MemoryStream::try_new(rows.clone(), schema, self.projection.clone())?;
                return Ok(Box::pin(stream));
            }
        };
        let projection = self.projection.clone();
        let mut builder = RecordBatchReceiverStreamBuilder::new(Arc::clone(&schema), BATCHES_AHEAD);
        let rows = builder.tx();
        builder.spawn_blocking(move || {
            let made = blocks.make(partition, &schema, projection.as_deref(), |batch| {
                // Whoever asked is gone when this fails.
                match batch {
                    Some(batch) => rows.blocking_send(Ok(batch)).is_ok(),
                    None => !rows.is_closed(),
                }
            });
            made.map_err(SqlError::into_external)
        });
        Ok(builder.build())
    }

    fn partition_statistics(&self, partition: Option<usize>) -> Result<Statistics> {
        let mut statistics = Statistics::new_unknown(&self.schema());
        if partition.is_none() || self.tail.partitions() == 1 {
            statistics.num_rows = self.tail.row_count();
        }
        Ok(statistics)
    }
}
