//! One table: what it has, and how it comes to what it should have.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use ::iceberg::{
    TableCreation, TableIdent,
    table::Table,
    transaction::{ApplyTransactionAction as _, Transaction},
};
use cairn_domain::datasets::DatasetDef;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{
    by_path,
    data_file::data_file,
    retention::{self, VERSIONS},
    schema::{reads_alike, table_schema},
    storage::elsewhere,
    tables::{IcebergTables, TableReport},
};
use crate::{FileEntry, LakeError};

/// Spark's reader of whole columns does not know all encodings of the files up to Iceberg 1.10.
const ROWS_ONE_BY_ONE: (&str, &str) = ("read.parquet.vectorization.enabled", "false");

/// So many footers are read at a time.
const FOOTERS: usize = 8;

/// The rows and bytes of files, by their addresses.
pub(crate) type Contents = BTreeMap<String, (u64, u64)>;

/// What a snapshot of a table has, so that its manifests, one more with each snapshot, are not all read
/// again.
pub(crate) struct Seen {
    /// Its id, which is random: no other table has it.
    snapshot: Option<i64>,
    contents: Contents,
}

impl Seen {
    fn is_of(&self, table: &Table) -> bool {
        self.snapshot == table.metadata().current_snapshot_id()
    }
}

/// See the module.
pub(crate) struct LakeTable<'a> {
    tables: &'a IcebergTables,
    dataset: &'static DatasetDef,
    ident: TableIdent,
    /// Where it is, from the root of the lake.
    directory: String,
}

impl<'a> LakeTable<'a> {
    /// The table of a dataset, whether it is there or not.
    pub(crate) fn new(tables: &'a IcebergTables, dataset: &'static DatasetDef) -> Self {
        Self {
            tables,
            dataset,
            ident: TableIdent::new(tables.namespace.clone(), dataset.name.to_owned()),
            directory: format!("iceberg/{}", dataset.name),
        }
    }

    /// Brings the table to these files, and gives what it has then; none where there is none and no file
    /// either. `before` is what the last publication gave.
    pub(crate) async fn publish(
        &self,
        files: &[&FileEntry],
        summary: &HashMap<String, String>,
        before: Option<Seen>,
    ) -> Result<Option<(TableReport, Option<Seen>)>, LakeError> {
        let mut report = TableReport::new(self.dataset.name);
        let mut table = self.load().await?;
        let mut contents = match (&table, before) {
            (Some(table), Some(seen)) if seen.is_of(table) => seen.contents,
            _ => self.contents(table.as_ref()).await?,
        };
        if let Some(old) = &table
            && !self.fits(old, &contents, files)?
        {
            self.drop().await?;
            report.made_anew = true;
            contents.clear();
            table = None;
        }
        if table.is_none() && files.is_empty() {
            return Ok(report.made_anew.then_some((report, None)));
        }
        let mut table = match table {
            Some(table) => table,
            None => self.create().await?,
        };
        let is_new = |file: &&&FileEntry| !contents.contains_key(&self.url(file));
        let new: Vec<_> = files.iter().filter(is_new).copied().collect();
        if !new.is_empty() {
            table = self.append(table, &new, summary).await?;
        }
        by_path::show(&self.tables.place, &self.directory, &table).await?;
        report.added_files = new.len() as u64;
        report.added_rows = new.iter().map(|file| file.rows).sum();
        report.snapshot = table.metadata().current_snapshot_id();
        contents.extend(new.iter().map(|file| self.content(file)));
        let seen = Seen {
            snapshot: report.snapshot,
            contents,
        };
        Ok(Some((report, Some(seen))))
    }

    /// The table as the catalog has it now.
    pub(crate) async fn load(&self) -> Result<Option<Table>, LakeError> {
        let catalog = &self.tables.catalog;
        let exists = catalog.table_exists(&self.ident).await;
        match exists.map_err(|error| self.failure(error))? {
            false => Ok(None),
            true => {
                let loaded = catalog.load_table(&self.ident).await;
                Ok(Some(loaded.map_err(|error| self.failure(error))?))
            }
        }
    }

    /// The files that the current snapshot has.
    pub(crate) async fn contents(&self, table: Option<&Table>) -> Result<Contents, LakeError> {
        let mut contents = Contents::new();
        let Some((table, snapshot)) = table.and_then(|table| {
            table
                .metadata()
                .current_snapshot()
                .map(|last| (table, last))
        }) else {
            return Ok(contents);
        };
        let list = table.manifest_list_reader(snapshot).load().await;
        let list = list.map_err(|error| self.failure(error))?;
        let manifests = list
            .entries()
            .iter()
            .map(|entry| entry.load_manifest(table.file_io()));
        let manifests: Vec<_> = stream::iter(manifests)
            .buffered(FOOTERS)
            .try_collect()
            .await
            .map_err(|error| self.failure(error))?;
        for entry in manifests.iter().flat_map(|manifest| manifest.entries()) {
            if entry.is_alive() {
                let content = (entry.record_count(), entry.file_size_in_bytes());
                contents.insert(entry.file_path().to_owned(), content);
            }
        }
        Ok(contents)
    }

    /// Whether files need only be added. A table of the same name elsewhere is somebody else's.
    fn fits(
        &self,
        table: &Table,
        contents: &Contents,
        files: &[&FileEntry],
    ) -> Result<bool, LakeError> {
        let location = table.metadata().location();
        if location != self.tables.address.url(&self.directory) {
            return Err(self.failure(elsewhere(location)));
        }
        let wanted: Contents = files.iter().map(|file| self.content(file)).collect();
        let stays = |(url, content): (&String, _)| wanted.get(url) == Some(content);
        let schema = table_schema(self.dataset)?;
        Ok(reads_alike(table.metadata().current_schema(), &schema) && contents.iter().all(stays))
    }

    fn properties(&self) -> HashMap<String, String> {
        let pairs = [
            ("comment", self.dataset.doc),
            ("cairn.dataset", self.dataset.name),
            VERSIONS,
            ROWS_ONE_BY_ONE,
        ];
        let owned = |(key, value): (&str, &str)| (key.to_owned(), value.to_owned());
        pairs.map(owned).into()
    }

    /// Stopped at any moment, it leaves either a table that does not fit still, or none.
    async fn drop(&self) -> Result<(), LakeError> {
        by_path::hide(&self.tables.place, &self.directory).await?;
        let dropped = self.tables.catalog.drop_table(&self.ident).await;
        dropped.map_err(|error| self.failure(error))?;
        self.tables.place.delete_all(&self.directory).await
    }

    async fn create(&self) -> Result<Table, LakeError> {
        // The catalog has no such table: what is there was left behind.
        self.tables.place.delete_all(&self.directory).await?;
        let creation = TableCreation::builder()
            .name(self.dataset.name.to_owned())
            .location(self.tables.address.url(&self.directory))
            .schema(table_schema(self.dataset)?)
            .properties(self.properties())
            .build();
        let catalog = &self.tables.catalog;
        let created = catalog.create_table(&self.tables.namespace, creation).await;
        created.map_err(|error| self.failure(error))
    }

    /// Adds files in one snapshot.
    async fn append(
        &self,
        table: Table,
        files: &[&FileEntry],
        summary: &HashMap<String, String>,
    ) -> Result<Table, LakeError> {
        let schema = Arc::clone(table.metadata().current_schema());
        let (place, address) = (&self.tables.place, &self.tables.address);
        let described = files
            .iter()
            .map(|file| data_file(place, address, &schema, file));
        let described: Vec<_> = stream::iter(described)
            .buffered(FOOTERS)
            .try_collect()
            .await?;
        let transaction = self.told_to_spark(&table)?;
        let append = transaction
            .fast_append()
            .add_data_files(described)
            .set_snapshot_properties(summary.clone());
        let transaction = append
            .apply(transaction)
            .map_err(|error| self.failure(error))?;
        let catalog = self.tables.catalog.as_ref();
        let grown = transaction.commit(catalog).await;
        let grown = grown.map_err(|error| self.failure(error))?;
        let kept = retention::expire(catalog, grown, self.tables.snapshots).await;
        let kept = kept.map_err(|error| self.failure(error))?;
        retention::forget(place, address, &table, &kept).await?;
        Ok(kept)
    }

    /// A transaction that gives a table what tables of earlier versions lack.
    fn told_to_spark(&self, table: &Table) -> Result<Transaction, LakeError> {
        let transaction = Transaction::new(table);
        let (key, value) = ROWS_ONE_BY_ONE;
        if table.metadata().properties().contains_key(key) {
            return Ok(transaction);
        }
        let told = transaction.update_table_properties();
        let told = told.set(key.to_owned(), value.to_owned());
        told.apply(transaction).map_err(|error| self.failure(error))
    }

    fn content(&self, file: &FileEntry) -> (String, (u64, u64)) {
        (self.url(file), (file.rows, file.bytes))
    }

    fn url(&self, file: &FileEntry) -> String {
        self.tables.address.url(&file.path)
    }

    fn failure(&self, reason: impl ToString) -> LakeError {
        LakeError::iceberg(self.ident.to_string(), reason)
    }
}
