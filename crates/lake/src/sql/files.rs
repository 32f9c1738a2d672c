//! Reading the files of a dataset.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use datafusion::{
    catalog::Session,
    common::{ColumnStatistics, Statistics, config::TableParquetOptions, stats::Precision},
    datasource::{
        listing::PartitionedFile,
        physical_plan::{
            FileGroup, FileScanConfigBuilder, ParquetSource,
            parquet::CachedParquetFileReaderFactory,
        },
        source::DataSourceExec,
        table_schema::TableSchema,
    },
    error::Result,
    execution::object_store::ObjectStoreUrl,
    physical_expr::LexOrdering,
    physical_plan::ExecutionPlan,
    scalar::ScalarValue,
};
use object_store::{ObjectMeta, ObjectStore, path::Path as ObjectPath};

use super::{
    names::ORDER_IN_BLOCK,
    ranges::{FindBy, bounds},
    reads::CountedReads,
};
use crate::manifest::FileEntry;

/// Under this address the query engine knows the lake's place.
pub(super) const PLACE: &str = "lake://files/";

/// What a scan of files needs to know.
pub(super) struct FileScan<'a> {
    pub(super) schema: &'a TableSchema,
    pub(super) find_by: FindBy,
    pub(super) objects: &'a Arc<dyn ObjectStore>,
    /// In the order in which their rows stand.
    pub(super) files: Vec<&'a FileEntry>,
    /// What the rows are in the order of.
    pub(super) orderings: Vec<LexOrdering>,
    pub(super) projection: Option<&'a Vec<usize>>,
    pub(super) limit: Option<usize>,
}

impl FileScan<'_> {
    /// The plan that reads them; none where there are no files.
    pub(super) fn plan(self, session: &dyn Session) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if self.files.is_empty() {
            return Ok(None);
        }
        let options = session.config_options();
        let parquet = TableParquetOptions {
            global: options.execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        let footers = session
            .runtime_env()
            .cache_manager
            .get_file_metadata_cache();
        let reader = CountedReads {
            inner: Arc::new(CachedParquetFileReaderFactory::new(
                Arc::clone(self.objects),
                footers,
            )),
            pool: Arc::clone(&session.runtime_env().memory_pool),
        };
        let source = ParquetSource::new(self.schema.clone())
            .with_table_parquet_options(parquet)
            .with_parquet_file_reader_factory(Arc::new(reader));
        let rows = self.files.iter().map(|file| file.rows as usize).sum();
        let mut statistics = Statistics::new_unknown(self.schema.table_schema());
        statistics.num_rows = Precision::Exact(rows);
        let url = ObjectStoreUrl::parse(PLACE)?;
        let config = FileScanConfigBuilder::new(url, Arc::new(source))
            .with_file_groups(self.groups(options.execution.target_partitions))
            .with_statistics(statistics)
            .with_output_ordering(self.orderings)
            .with_projection_indices(self.projection.cloned())?
            .with_limit(self.limit)
            .build();
        Ok(Some(DataSourceExec::from_data_source(config)))
    }

    /// Neighbours stay together, so that each group is in order.
    fn groups(&self, parts: usize) -> Vec<FileGroup> {
        let size = self.files.len().div_ceil(parts.max(1));
        let group = |files: &[&FileEntry]| {
            FileGroup::new(files.iter().map(|file| self.file(file)).collect())
        };
        self.files.chunks(size).map(group).collect()
    }

    fn file(&self, entry: &FileEntry) -> PartitionedFile {
        // A path may come again with other content, in another publication: what is kept of a footer
        // goes by this time.
        let published = SystemTime::UNIX_EPOCH + Duration::from_secs(entry.sequence);
        let meta = ObjectMeta {
            location: ObjectPath::from(entry.path.as_str()),
            last_modified: published.into(),
            size: entry.bytes,
            e_tag: None,
            version: None,
        };
        let schema = self.schema.file_schema();
        let mut statistics = Statistics::new_unknown(schema);
        statistics.num_rows = Precision::Exact(entry.rows as usize);
        for (column, [least, most]) in bounds(entry, self.find_by) {
            if let Ok(index) = schema.index_of(column) {
                statistics.column_statistics[index] = ColumnStatistics {
                    min_value: Precision::Exact(least),
                    max_value: Precision::Exact(most),
                    ..ColumnStatistics::new_unknown()
                };
            }
        }
        // Heights of files do not overlap, so nothing more has to be known for them to be in order.
        for place in ORDER_IN_BLOCK {
            if let Ok(index) = schema.index_of(place) {
                let bound = |value| Precision::Inexact(ScalarValue::Int64(Some(value)));
                statistics.column_statistics[index] = ColumnStatistics {
                    min_value: bound(0),
                    max_value: bound(i64::MAX),
                    ..ColumnStatistics::new_unknown()
                };
            }
        }
        PartitionedFile::new_from_meta(meta)
            .with_partition_values(vec![ScalarValue::Boolean(Some(true))])
            .with_statistics(Arc::new(statistics))
    }
}
