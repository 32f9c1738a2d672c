//! A dataset as a table: its files and its tail, or the few blocks that a filter names.

use std::{any::Any, sync::Arc};

use arrow::{array::BooleanArray, datatypes::SchemaRef, record_batch::RecordBatch};
use async_trait::async_trait;
use cairn_domain::datasets::{DatasetDef, RowSource};
use datafusion::{
    catalog::{Session, TableProvider},
    common::DFSchema,
    datasource::table_schema::TableSchema,
    error::Result,
    logical_expr::{Expr, TableProviderFilterPushDown, TableType, utils::conjunction},
    physical_expr::{LexOrdering, PhysicalSortExpr, expressions::col},
    physical_optimizer::pruning::PruningPredicate,
    physical_plan::{ExecutionPlan, empty::EmptyExec, union::UnionExec},
};
use object_store::ObjectStore;

use super::{
    SqlError,
    files::FileScan,
    located::Locator,
    names::{ORDER_IN_BLOCK, table_schema},
    ranges::{self, FindBy, Piece},
    snapshot::Snapshot,
    tail::{Tail, TailExec},
    tail_rows::{BlockTail, fit},
};
use crate::manifest::FileEntry;

/// See the module.
pub(super) struct DatasetTable {
    dataset: &'static DatasetDef,
    schema: TableSchema,
    find_by: FindBy,
    snapshot: Arc<Snapshot>,
    objects: Arc<dyn ObjectStore>,
}

impl std::fmt::Debug for DatasetTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {:?}", self.dataset.name, self.snapshot)
    }
}

impl DatasetTable {
    pub(super) fn new(
        dataset: &'static DatasetDef,
        snapshot: Arc<Snapshot>,
        objects: Arc<dyn ObjectStore>,
    ) -> Self {
        Self {
            dataset,
            schema: table_schema(dataset),
            find_by: FindBy::of(dataset),
            snapshot,
            objects,
        }
    }

    /// What decides which files and heights can have rows that match.
    fn predicate(&self, session: &dyn Session, filters: &[Expr]) -> Option<PruningPredicate> {
        let filter = conjunction(filters.iter().cloned())?;
        let schema = DFSchema::try_from(self.schema()).ok()?;
        let filter = session.create_physical_expr(filter, &schema).ok()?;
        PruningPredicate::try_new(filter, self.schema()).ok()
    }

    /// Files whose rows can match, in the order of chains and heights.
    fn files(&self, predicate: Option<&PruningPredicate>) -> Vec<&FileEntry> {
        let shards = self.snapshot.shards.iter();
        let all = shards
            .flat_map(|shard| shard.files(self.dataset.name))
            .collect();
        let mut files = ranges::files(all, self.find_by, predicate);
        files.sort_by_key(|file| (file.stream.as_str(), file.heights, file.positions));
        files
    }

    /// Rows of blocks stand in the order of heights and of their places in the block, of one chain after
    /// the other. Where there is one chain, its name need not be asked for.
    fn orderings(&self) -> Result<Vec<LexOrdering>> {
        let RowSource::Blocks(_) = self.dataset.source else {
            return Ok(Vec::new());
        };
        let schema = self.schema();
        let places = ORDER_IN_BLOCK.iter().copied();
        let places = places.filter(|name| schema.column_with_name(name).is_some());
        let columns: Vec<_> = ["chain", self.find_by.order]
            .into_iter()
            .chain(places)
            .collect();
        let by = |name: &&str| Ok(PhysicalSortExpr::new_default(col(name, &schema)?));
        let by: Vec<_> = columns.iter().map(by).collect::<Result<_>>()?;
        let inside = self.snapshot.has_one_chain().then(|| by[1..].to_vec());
        Ok([Some(by), inside]
            .into_iter()
            .flatten()
            .filter_map(LexOrdering::new)
            .collect())
    }

    fn tail(
        &self,
        partitions: usize,
        predicate: Option<&PruningPredicate>,
    ) -> Result<Tail, SqlError> {
        match self.dataset.source {
            RowSource::Events { .. } => Ok(Tail::Rows(self.event_rows()?)),
            RowSource::Blocks(rows) => {
                let mut chains = Vec::new();
                for shard in &self.snapshot.shards {
                    chains.extend(ranges::tail_chains(shard, self.dataset.name)?);
                }
                chains.sort_by(|one, other| one.stream.as_str().cmp(other.stream.as_str()));
                let pieces = ranges::pieces(&chains, self.find_by, predicate);
                let tail = BlockTail::new(self.dataset, rows, chains, pieces, partitions)?;
                Ok(Tail::Blocks(Arc::new(tail)))
            }
        }
    }

    /// Where the blocks are known that can hold matching rows: all of those rows.
    fn located(
        &self,
        partitions: usize,
        filters: &[Expr],
        predicate: Option<&PruningPredicate>,
    ) -> Result<Option<Tail>, SqlError> {
        let RowSource::Blocks(rows) = self.dataset.source else {
            return Ok(None);
        };
        let shards = self.snapshot.shards.iter();
        let mut chains: Vec<_> = shards.flat_map(ranges::whole_chains).collect();
        chains.sort_by(|one, other| one.stream.as_str().cmp(other.stream.as_str()));
        let locator = Locator {
            dataset: self.dataset,
            chains: &chains,
        };
        let Some(blocks) = locator.all_of(filters)? else {
            return Ok(None);
        };
        let piece = |(chain, height)| Piece {
            chain,
            heights: height..=height,
        };
        let pieces = blocks.into_iter().map(piece).collect();
        let pieces = ranges::matching(&chains, pieces, self.find_by, predicate);
        let tail = BlockTail::new(self.dataset, rows, chains, pieces, partitions)?;
        Ok(Some(Tail::Blocks(Arc::new(tail))))
    }

    /// Rows of events that are in no file.
    fn event_rows(&self) -> Result<Vec<RecordBatch>, SqlError> {
        let shards = self.snapshot.shards.iter();
        let rows = shards.flat_map(|shard| shard.events(self.dataset.name));
        let whole = |rows: RecordBatch| {
            let finals = BooleanArray::from(vec![true; rows.num_rows()]);
            fit(&rows, finals, &self.schema(), None)
        };
        rows.map(whole).collect()
    }

    fn plan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let predicate = self.predicate(session, filters);
        let orderings = self.orderings()?;
        let partitions = session.config_options().execution.target_partitions;
        let mut plans: Vec<Arc<dyn ExecutionPlan>> = Vec::new();
        let located = self.located(partitions, filters, predicate.as_ref());
        let tail = match located.map_err(SqlError::into_external)? {
            Some(located) => located,
            None => {
                let scan = FileScan {
                    schema: &self.schema,
                    find_by: self.find_by,
                    objects: &self.objects,
                    files: self.files(predicate.as_ref()),
                    orderings: orderings.clone(),
                    projection,
                    limit,
                };
                plans.extend(scan.plan(session)?);
                let tail = self.tail(partitions, predicate.as_ref());
                tail.map_err(SqlError::into_external)?
            }
        };
        if !tail.is_empty() {
            let exec = TailExec::new(
                tail,
                self.schema(),
                projection,
                orderings,
                self.dataset.name,
            )?;
            plans.push(Arc::new(exec));
        }
        match plans.len() {
            0 => {
                let schema = self.schema();
                let projected = match projection {
                    Some(columns) => Arc::new(schema.project(columns)?),
                    None => schema,
                };
                Ok(Arc::new(EmptyExec::new(projected)))
            }
            1 => Ok(plans.remove(0)),
            _ => UnionExec::try_new(plans),
        }
    }
}

#[async_trait]
impl TableProvider for DatasetTable {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn schema(&self) -> SchemaRef {
        Arc::clone(self.schema.table_schema())
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.plan(session, projection, filters, limit)
    }
}
