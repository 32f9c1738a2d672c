//! The lake's complete files as Apache Iceberg tables, for Spark, Trino, DuckDB, PyIceberg and others.
//!
//! One table for each dataset that has complete files. Files are added where they are, by their address,
//! in one snapshot per publication, and never rewritten: [`IcebergTables::publish`] compares what the
//! current snapshot has with what the manifest has, so it may be stopped at any moment and repeated.
//!
//! Snapshots only ever add. Where the manifest has lost a file that the table has (a chain was reset, the
//! lake was rebuilt, the columns of a dataset changed), the table is dropped and made anew from the
//! manifest, under the same name and with another UUID. Its earlier snapshots are gone then.
//!
//! Tables are not partitioned. A file holds rows of one stream, so the bounds of its column `chain` are
//! that chain, and a reader that filters by it opens no other files. Partitions would part them no
//! better, and every reader would have to take the value from the metadata and not from the file.
//!
//! A table's metadata is in `iceberg/<dataset>/metadata` of the lake. There, `v<N>.metadata.json` and
//! `version-hint.text` follow the catalog, for those who open a table by its directory alone.
//!
//! ```text
//! PyIceberg   SqlCatalog("cairn", uri="sqlite:////lake/iceberg/catalog.sqlite3").load_table("cairn.blocks")
//! DuckDB      FROM iceberg_scan('/lake/iceberg/blocks')
//! Spark       spark.read.format("iceberg").load("/lake/iceberg/blocks")
//! ```

mod address;
mod by_path;
mod catalog;
mod data_file;
mod options;
mod retention;
mod schema;
mod snapshots;
mod storage;
mod table;
mod tables;

pub use options::{CatalogOptions, IcebergOptions};
pub use snapshots::TableSnapshot;
pub use tables::{IcebergReport, IcebergTables, TableReport};
