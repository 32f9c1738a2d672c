//! What others read from the tables, and the catalogs that they share with Cairn.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Stdio},
    sync::Arc,
};

use cairn_lake::{
    Manifest,
    iceberg::{CatalogOptions, IcebergOptions, IcebergTables},
};

use super::{assert_published, kept::Kept};
use crate::support::process::{lake_python as python, repository, run};

/// What PyIceberg and DuckDB read from the tables is what is in the files.
fn assert_others_read(kept: &Kept, catalog: &Path) {
    let mut command = python("lake_iceberg.py");
    let read = run(command.arg(kept.root()).arg(catalog)).ok().json();
    for reader in ["pyiceberg", "path", "duckdb", "rows"] {
        assert!(read["tables"]["logs"][reader].as_u64() > Some(0), "{read}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pyiceberg_and_duckdb_read_from_the_tables_what_is_in_the_files() {
    let mut kept = Kept::with_blocks(60).await;
    let tables = kept.tables().await;
    let publish = async |manifest: Arc<Manifest>| tables.publish(&manifest).await;
    publish(kept.lake.manifest()).await.expect("a publication");
    kept.grow(60).await;
    publish(kept.lake.manifest()).await.expect("a publication");
    assert_others_read(&kept, &kept.catalog());
}

#[tokio::test(flavor = "multi_thread")]
async fn spark_reads_from_the_tables_what_is_in_the_files() {
    let mut kept = Kept::with_blocks(60).await;
    let tables = kept.tables().await;
    for _ in 0..2 {
        kept.grow(30).await;
        let manifest = kept.lake.manifest();
        tables.publish(&manifest).await.expect("a publication");
    }
    let jar = repository().join("target/tools/spark/iceberg.jar");
    let mut command = python("lake_spark.py");
    let read = run(command.arg(kept.root()).arg(jar)).ok().json();
    let tables = read["tables"].as_array().map_or(0, Vec::len);
    assert!(tables >= 5, "{read}");
}

/// A REST catalog that ends with the test.
struct RestServer {
    process: Child,
    uri: String,
}

impl RestServer {
    fn start(catalog: &Path) -> Self {
        let mut command = python("rest_catalog.py");
        command.arg(catalog).stdout(Stdio::piped());
        let mut process = command.spawn().expect("a server");
        let mut line = String::new();
        let stdout = process.stdout.take().expect("its output");
        BufReader::new(stdout)
            .read_line(&mut line)
            .expect("its first line");
        let uri = line.trim().strip_prefix("listening on ");
        Self {
            uri: uri.expect("an address").to_owned(),
            process,
        }
    }
}

impl Drop for RestServer {
    fn drop(&mut self) {
        self.process.kill().expect("a server that ran");
        self.process.wait().expect("its end");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rest_catalog_names_the_same_tables() {
    let mut kept = Kept::with_blocks(40).await;
    let catalog = kept.directory.path().join("rest.sqlite3");
    let server = RestServer::start(&catalog);
    let options = IcebergOptions::new(CatalogOptions::Rest {
        uri: server.uri.clone(),
        warehouse: None,
        properties: BTreeMap::new(),
    });
    let place = kept.lake.place().clone();
    let tables = IcebergTables::open(place, &options).await.expect("tables");
    for _ in 0..3 {
        let manifest = kept.lake.manifest();
        tables.publish(&manifest).await.expect("a publication");
        assert_published(&tables, &manifest).await;
        kept.grow(20).await;
    }
    tables
        .publish(&kept.lake.manifest())
        .await
        .expect("a publication");
    assert_others_read(&kept, &catalog);
    kept.chain.reset();
    kept.grow(40).await;
    let report = tables.publish(&kept.lake.manifest()).await;
    let report = report.expect("a publication");
    assert!(report.tables.iter().any(|table| table.made_anew));
    assert_published(&tables, &kept.lake.manifest()).await;
    assert_others_read(&kept, &catalog);
}
