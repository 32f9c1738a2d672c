//! The tables of a lake.

use std::{collections::BTreeMap, num::NonZeroUsize, sync::Arc};

use ::iceberg::{Catalog, ErrorKind, NamespaceIdent};
use cairn_domain::datasets;
use tokio::sync::Mutex;

use super::{
    IcebergOptions, TableSnapshot,
    address::Address,
    catalog, snapshots,
    storage::LakeStorage,
    table::{LakeTable, Seen},
};
use crate::{LakeError, Manifest, Place};

/// See the module [`iceberg`](crate::iceberg).
pub struct IcebergTables {
    pub(super) place: Place,
    pub(super) address: Address,
    pub(super) catalog: Arc<dyn Catalog>,
    pub(super) namespace: NamespaceIdent,
    /// So many snapshots are kept.
    pub(super) snapshots: NonZeroUsize,
    /// Publications come one by one. What the tables had behind the last one, by dataset.
    publishing: Mutex<BTreeMap<&'static str, Seen>>,
}

/// What a publication did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IcebergReport {
    /// The tables that there are, and those that were dropped.
    pub tables: Vec<TableReport>,
}

/// What a publication did to a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableReport {
    /// The table, which is called as its dataset is.
    pub table: String,
    /// Number of files that were added.
    pub added_files: u64,
    /// Number of rows that were added.
    pub added_rows: u64,
    /// Whether an older table was dropped, because it had files that the manifest does not have.
    pub made_anew: bool,
    /// The snapshot that is current now; none where there is no table any more.
    pub snapshot: Option<i64>,
}

impl TableReport {
    pub(super) fn new(table: &str) -> Self {
        Self {
            table: table.to_owned(),
            added_files: 0,
            added_rows: 0,
            made_anew: false,
            snapshot: None,
        }
    }
}

impl IcebergTables {
    /// Opens the tables of the lake at a place; the namespace is made if it is not there.
    ///
    /// # Errors
    /// [`LakeError::Incompatible`] for a place that has no address, [`LakeError::Iceberg`] where the
    /// catalog does not answer.
    pub async fn open(place: Place, options: &IcebergOptions) -> Result<Self, LakeError> {
        let fail = |error| LakeError::iceberg(&options.namespace, error);
        let address = Address::of(&place)?;
        let storage = LakeStorage::new(address.clone(), place.clone());
        let catalog = catalog::connect(&options.catalog, storage).await?;
        let namespace = NamespaceIdent::from_strs(options.namespace.split('.')).map_err(fail)?;
        if !catalog.namespace_exists(&namespace).await.map_err(fail)? {
            let created = catalog
                .create_namespace(&namespace, Default::default())
                .await;
            match created {
                // Somebody else was quicker.
                Err(error) if error.kind() == ErrorKind::NamespaceAlreadyExists => {}
                created => drop(created.map_err(fail)?),
            }
        }
        Ok(Self {
            place,
            address,
            catalog,
            namespace,
            snapshots: options.snapshots,
            publishing: Mutex::default(),
        })
    }

    /// Brings the tables to the complete files of a manifest. What was done already is not done again:
    /// stopped anywhere, it is repeated.
    ///
    /// # Errors
    /// [`LakeError`]; tables before the one that failed have their files.
    pub async fn publish(&self, manifest: &Manifest) -> Result<IcebergReport, LakeError> {
        let mut seen = self.publishing.lock().await;
        let summary = snapshots::summary(manifest);
        let mut report = IcebergReport::default();
        for dataset in datasets::all() {
            let files = manifest.files_of(dataset.name);
            let files: Vec<_> = files.filter(|file| file.complete).collect();
            let table = LakeTable::new(self, dataset);
            let before = seen.remove(dataset.name);
            let published = table.publish(&files, &summary, before).await?;
            if let Some((told, now)) = published {
                report.tables.push(told);
                seen.extend(now.map(|now| (dataset.name, now)));
            }
        }
        Ok(report)
    }

    /// The snapshots of each table, oldest first.
    ///
    /// # Errors
    /// [`LakeError::Iceberg`] where the catalog or a table cannot be read.
    pub async fn snapshots(&self) -> Result<Vec<TableSnapshot>, LakeError> {
        let mut all = Vec::new();
        for dataset in datasets::all() {
            let Some(table) = LakeTable::new(self, dataset).load().await? else {
                continue;
            };
            let mut snapshots: Vec<_> = table.metadata().snapshots().collect();
            snapshots.sort_by_key(|snapshot| snapshot.sequence_number());
            let told = snapshots
                .iter()
                .map(|last| TableSnapshot::new(dataset.name, last));
            all.extend(told);
        }
        Ok(all)
    }

    /// The files that the current snapshot of a dataset's table has, from the root of the lake; none
    /// where there is no such table.
    ///
    /// # Errors
    /// As [`IcebergTables::snapshots`].
    pub async fn files(&self, dataset: &str) -> Result<Vec<String>, LakeError> {
        let Some(dataset) = datasets::dataset(dataset) else {
            return Ok(Vec::new());
        };
        let table = LakeTable::new(self, dataset);
        let loaded = table.load().await?;
        let contents = table.contents(loaded.as_ref()).await?;
        let inside = contents.keys().filter_map(|url| self.address.path(url));
        Ok(inside.map(str::to_owned).collect())
    }
}

#[cfg(test)]
mod tests {
    use ::iceberg::transaction::{ApplyTransactionAction as _, Transaction};
    use cairn_domain::{
        Position,
        datasets::{Cells, ColumnType, DatasetDef},
    };
    use object_store::memory::InMemory;

    use super::*;
    use crate::{
        FileEntry, Layout,
        iceberg::CatalogOptions,
        part::{PartInfo, PartWriter},
    };

    /// A row that has as few values as may be.
    fn put_row(dataset: &DatasetDef, cells: &mut dyn Cells) {
        for column in (dataset.columns)() {
            let needed = !column.nullable;
            match column.kind {
                ColumnType::Switch => cells.switch(needed.then_some(true)),
                ColumnType::Int32 => cells.int32(needed.then_some(-1)),
                ColumnType::Int64 => cells.int64(needed.then_some(-1)),
                ColumnType::Decimal20 | ColumnType::Decimal38 => {
                    cells.decimal(needed.then_some(-1));
                }
                ColumnType::Word => cells.word(needed.then_some(&[255; 32])),
                ColumnType::Text | ColumnType::Hash | ColumnType::Address => {
                    cells.text(needed.then_some("eth"));
                }
                ColumnType::Bytes => cells.bytes(needed.then_some(&[255; 100])),
                ColumnType::Time => cells.time(needed.then_some(-1)),
            }
        }
        cells.end_row();
    }

    /// A complete file of one row, at its place.
    async fn file(place: &Place, dataset: &'static DatasetDef, number: u64) -> FileEntry {
        let mut writer = PartWriter::new(place, dataset, "part").expect("a writer");
        put_row(dataset, writer.cells());
        let info = PartInfo {
            log: "log".into(),
            stream: "chain/eth".into(),
            positions: (Position(number), Position(number)),
            heights: None,
            head: None,
        };
        let spooled = writer.finish(&info).expect("a file").expect("a row");
        let path = format!("{}/chain=eth/{number}.parquet", dataset.name);
        place.publish(&spooled.path, &path).await.expect("a place");
        FileEntry {
            path,
            dataset: dataset.name.into(),
            schema_version: dataset.version,
            shard: "main".into(),
            stream: "chain/eth".into(),
            sequence: number,
            complete: true,
            heights: None,
            positions: info.positions,
            head: None,
            reset: Position(0),
            rows: spooled.rows,
            bytes: spooled.bytes,
            sha256: spooled.sha256.clone(),
            times: spooled.times,
        }
    }

    #[tokio::test]
    async fn tables_of_an_object_store_list_files_of_every_dataset_by_their_address() {
        let directory = tempfile::tempdir().expect("a directory");
        let spool = directory.path().join("spool");
        let objects = Arc::new(InMemory::new());
        let place = Place::object_store(objects, spool, "s3://bucket/lake");
        place.empty_spool().expect("a spool");
        let path = directory.path().join("catalog?#%.sqlite3");
        let options = IcebergOptions::new(CatalogOptions::Sql { path: path.clone() });
        let tables = IcebergTables::open(place.clone(), &options).await;
        let tables = tables.expect("tables");
        assert!(path.is_file());
        let mut manifest = Manifest::new(Layout::default());
        for number in 1..=2 {
            for dataset in datasets::all() {
                manifest.files.push(file(&place, dataset, number).await);
            }
            let report = tables.publish(&manifest).await.expect("a publication");
            assert!(report.tables.iter().all(|table| table.added_files == 1));
        }
        for dataset in datasets::all() {
            let listed = LakeTable::new(&tables, dataset);
            let table = listed.load().await.expect("a catalog");
            let contents = listed.contents(table.as_ref()).await.expect("files");
            let urls: Vec<_> = contents.keys().map(String::as_str).collect();
            let url = |number| {
                format!(
                    "s3://bucket/lake/{}/chain=eth/{number}.parquet",
                    dataset.name
                )
            };
            assert_eq!(urls, [url(1), url(2)]);
        }
    }

    #[tokio::test]
    async fn a_table_of_before_is_told_how_spark_reads_it() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = Place::directory(directory.path()).expect("a place");
        place.empty_spool().expect("a spool");
        let path = directory.path().join("catalog.sqlite3");
        let options = IcebergOptions::new(CatalogOptions::Sql { path });
        let tables = IcebergTables::open(place.clone(), &options).await;
        let tables = tables.expect("tables");
        let dataset = datasets::all().next().expect("a dataset");
        let table = LakeTable::new(&tables, dataset);
        let mut manifest = Manifest::new(Layout::default());
        let key = "read.parquet.vectorization.enabled";
        for number in 1..=2 {
            manifest.files.push(file(&place, dataset, number).await);
            tables.publish(&manifest).await.expect("a publication");
            let loaded = table.load().await.expect("a catalog").expect("a table");
            assert_eq!(loaded.metadata().properties()[key], "false");
            let forgets = Transaction::new(&loaded);
            let removal = forgets.update_table_properties().remove(key.to_owned());
            let forgets = removal.apply(forgets).expect("a change");
            let catalog = tables.catalog.as_ref();
            let before = forgets.commit(catalog).await.expect("a commit");
            assert!(!before.metadata().properties().contains_key(key));
        }
    }
}
