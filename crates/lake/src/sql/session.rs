//! The session of a query: settings, functions, tables, and what it may use.

use std::sync::Arc;

use cairn_domain::datasets::{self, DatasetDef};
use cairn_domain::events::Visibility;
use datafusion::{
    common::TableReference,
    error::{DataFusionError, Result},
    execution::{
        DiskManager, SessionState, SessionStateBuilder, SessionStateDefaults,
        cache::cache_manager::{CacheManager, CacheManagerConfig},
        disk_manager::DiskManagerMode,
        memory_pool::MemoryPool,
        object_store::{DefaultObjectStoreRegistry, ObjectStoreRegistry as _, ObjectStoreUrl},
        runtime_env::{RuntimeEnv, RuntimeEnvBuilder},
    },
    optimizer::Analyzer,
    prelude::SessionConfig,
};
use object_store::ObjectStore;

use super::{
    SqlError, SqlOptions, budget::Budget, collected::aggregate_functions, files::PLACE,
    functions::scalar_functions, literals::Literals, measured::Measure, memory::QueryPool,
    owned::OwnRows, pauses::Pauses, snapshot::Snapshot, sums::WideSums, table::DatasetTable,
};

/// What queries share.
pub(super) struct Shared {
    pub(super) options: SqlOptions,
    pub(super) budget: Arc<Budget>,
    footers: Arc<CacheManager>,
    places: Arc<DefaultObjectStoreRegistry>,
    objects: Arc<dyn ObjectStore>,
}

/// The datasets that a caller may see.
pub(super) fn visible(visibility: Visibility) -> impl Iterator<Item = &'static DatasetDef> {
    datasets::all().filter(move |dataset| dataset.visibility <= visibility)
}

/// Refuses tables that are not there for a caller.
pub(super) fn check_tables(
    tables: &[TableReference],
    visibility: Visibility,
) -> Result<(), SqlError> {
    let known = || visible(visibility).map(|dataset| dataset.name);
    for table in tables {
        let is_ours = table.schema().is_none_or(|schema| schema == SCHEMA);
        let is_known = known().any(|name| name == table.table()) || is_function(table);
        if is_ours && !is_known {
            return Err(SqlError::UnknownTable {
                name: table.table().to_owned(),
                known: known().map(str::to_owned).collect(),
            });
        }
    }
    Ok(())
}

/// Whether it is a function that gives rows.
fn is_function(table: &TableReference) -> bool {
    let functions = SessionStateDefaults::default_table_functions();
    table.schema().is_none() && functions.iter().any(|known| known.name() == table.table())
}

/// The names under which tables are found without saying so.
pub(crate) const CATALOG: &str = "cairn";
pub(crate) const SCHEMA: &str = "public";

impl Shared {
    pub(super) fn new(options: SqlOptions, objects: Arc<dyn ObjectStore>) -> Result<Self> {
        let footers =
            CacheManagerConfig::default().with_metadata_cache_limit(options.metadata_bytes);
        Ok(Self {
            budget: Budget::new(options.memory_bytes),
            footers: CacheManager::try_new(&footers)?,
            places: Arc::new(only_place(&objects)?),
            objects,
            options,
        })
    }

    /// Has the memory of others.
    pub(super) fn share_memory(&mut self, others: &Self) {
        self.budget = Arc::clone(&others.budget);
        self.footers = Arc::clone(&others.footers);
    }

    /// A session in which the tables of a snapshot are there.
    pub(super) fn session(
        &self,
        snapshot: &Arc<Snapshot>,
        visibility: Visibility,
    ) -> Result<SessionState> {
        let (limit, budget) = (self.options.query_memory_bytes, Arc::clone(&self.budget));
        let pool: Arc<dyn MemoryPool> = Arc::new(QueryPool::new(limit, budget));
        let mut planners = SessionStateDefaults::default_expr_planners();
        planners.insert(0, Arc::new(Literals));
        let mut analyzer = Analyzer::new();
        analyzer.rules.insert(0, Arc::new(Literals));
        analyzer.rules.insert(1, Arc::new(WideSums));
        // Behind what gives values their types.
        analyzer.rules.push(Arc::new(Measure(Arc::clone(&pool))));
        let table_functions = SessionStateDefaults::default_table_functions();
        let table_functions = table_functions.into_iter();
        let mut builder = SessionStateBuilder::new()
            .with_config(self.config())
            .with_runtime_env(Arc::new(self.runtime(pool)?))
            .with_expr_planners(planners)
            .with_physical_optimizer_rule(Arc::new(OwnRows))
            .with_physical_optimizer_rule(Arc::new(Pauses))
            .with_scalar_functions(scalar_functions())
            .with_aggregate_functions(aggregate_functions(limit))
            .with_window_functions(SessionStateDefaults::default_window_functions())
            .with_table_functions(table_functions.map(|f| (f.name().to_owned(), f)).collect());
        *builder.analyzer() = Some(analyzer);
        let state = builder.build();
        let schema = state.schema_for_ref(TableReference::bare("blocks"))?;
        for dataset in visible(visibility) {
            let snapshot = Arc::clone(snapshot);
            let table = DatasetTable::new(dataset, snapshot, Arc::clone(&self.objects));
            schema.register_table(dataset.name.to_owned(), Arc::new(table))?;
        }
        Ok(state)
    }

    fn config(&self) -> SessionConfig {
        let mut config = SessionConfig::new()
            .with_target_partitions(self.options.threads.max(1))
            .with_default_catalog_and_schema(CATALOG, SCHEMA)
            .with_information_schema(true);
        let parquet = &mut config.options_mut().execution.parquet;
        parquet.pushdown_filters = true;
        parquet.reorder_filters = true;
        parquet.enable_page_index = true;
        parquet.bloom_filter_on_read = true;
        // Views share what they look at, and each that is held counts all of it: memory that is bounded is
        // soon full of what is there once.
        parquet.schema_force_view_types = false;
        // Groups are made in two steps; where the first leaves a fifth of the rows or more, it is not worth it.
        let execution = &mut config.options_mut().execution;
        execution.skip_partial_aggregation_probe_ratio_threshold = 0.2;
        // What a sort keeps for itself to merge with; the default is for queries with more memory.
        let most = self.options.query_memory_bytes / (4 * self.options.threads.max(1));
        let kept = &mut execution.sort_spill_reservation_bytes;
        *kept = most.min(*kept);
        config
    }

    fn runtime(&self, pool: Arc<dyn MemoryPool>) -> Result<RuntimeEnv> {
        let options = &self.options;
        let share = options.spill_bytes / options.concurrency.max(1) as u64;
        let disk = DiskManager::builder()
            .with_mode(DiskManagerMode::Directories(vec![
                options.spill_dir.clone(),
            ]))
            .with_max_temp_directory_size(share)
            .build()?;
        let mut runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(pool)
            .with_object_store_registry(self.places.clone())
            .build()?;
        runtime.disk_manager = Arc::new(disk);
        runtime.cache_manager = Arc::clone(&self.footers);
        Ok(runtime)
    }
}

/// The lake's place, and no other: no address in a query reads anything else.
fn only_place(objects: &Arc<dyn ObjectStore>) -> Result<DefaultObjectStoreRegistry> {
    let places = DefaultObjectStoreRegistry::new();
    places.deregister_store(ObjectStoreUrl::local_filesystem().as_ref())?;
    places.register_store(ObjectStoreUrl::parse(PLACE)?.as_ref(), Arc::clone(objects));
    Ok(places)
}

/// Empties the directory for what does not fit memory.
pub(super) fn clear_spills(options: &SqlOptions) -> std::io::Result<()> {
    std::fs::create_dir_all(&options.spill_dir)?;
    for entry in std::fs::read_dir(&options.spill_dir)? {
        let entry = entry?;
        if entry
            .file_name()
            .to_string_lossy()
            .starts_with("datafusion-")
        {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

impl From<DataFusionError> for SqlError {
    fn from(error: DataFusionError) -> Self {
        Self::from_engine(&error, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_that_a_caller_may_not_see_does_not_exist_for_him() {
        for asked in [Visibility::Public, Visibility::Owner, Visibility::Operator] {
            for dataset in datasets::all() {
                let table = [TableReference::bare(dataset.name)];
                let checked = check_tables(&table, asked);
                assert_eq!(
                    checked.is_ok(),
                    dataset.visibility <= asked,
                    "{}",
                    dataset.name
                );
            }
        }
        let error = check_tables(&[TableReference::bare("nothing")], Visibility::Public);
        let message = error.expect_err("there is none").to_string();
        assert!(
            message.starts_with("there is no table nothing; there are blocks, "),
            "{message}"
        );
    }

    #[test]
    fn nothing_but_the_place_of_the_lake_is_read() {
        let objects: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
        let places = only_place(&objects).expect("places");
        let url = |text| ObjectStoreUrl::parse(text).expect("an address");
        assert!(places.get_store(url(PLACE).as_ref()).is_ok());
        for other in ["file:///", "lake://others/", "s3://bucket/"] {
            assert!(places.get_store(url(other).as_ref()).is_err(), "{other}");
        }
    }
}
