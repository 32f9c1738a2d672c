//! Datasets and their files.

use std::collections::BTreeMap;

use cairn_domain::{
    BlockRef, Position,
    datasets::{Column, DatasetDef},
};
use cairn_lake::FileEntry;
use serde::Serialize;
use utoipa::ToSchema;

use super::{BlockName, Time};
use crate::answer::Model;

/// A dataset: rows of one kind, in Parquet files.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Dataset {
    /// Its name.
    name: &'static str,
    /// What a row is.
    description: &'static str,
    /// Version of its columns.
    schema_version: u32,
    /// Number of its files.
    files: u64,
    /// Number of rows in them.
    rows: u64,
    /// Their size in bytes.
    bytes: u64,
    /// Its columns, in order.
    columns: Vec<DatasetColumn>,
}

impl Dataset {
    /// A dataset with what its files hold.
    pub(crate) fn new<'a>(
        def: &'static DatasetDef,
        files: impl Iterator<Item = &'a FileEntry>,
    ) -> Self {
        let mut dataset = Self {
            name: def.name,
            description: def.doc,
            schema_version: def.version,
            files: 0,
            rows: 0,
            bytes: 0,
            columns: (def.columns)().into_iter().map(Into::into).collect(),
        };
        for file in files {
            dataset.files += 1;
            dataset.rows += file.rows;
            dataset.bytes += file.bytes;
        }
        dataset
    }
}

impl Model for Dataset {}

/// A column of a dataset.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DatasetColumn {
    /// Its name.
    name: String,
    /// Its type: `boolean`, `int32`, `int64`, `decimal(20,0)`, `decimal(38,0)`, `fixed(32)`, `string`,
    /// `binary` or `timestamp` (microseconds, UTC).
    #[serde(rename = "type")]
    kind: &'static str,
    /// Whether a row may have no value.
    nullable: bool,
    /// What it says.
    description: &'static str,
}

impl From<Column> for DatasetColumn {
    fn from(column: Column) -> Self {
        Self {
            name: column.name,
            kind: column.kind.name(),
            nullable: column.nullable,
            description: column.doc,
        }
    }
}

/// All datasets.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Datasets {
    /// The datasets.
    pub(crate) datasets: Vec<Dataset>,
    /// The number of the publication that this is of; one more with every change.
    pub(crate) sequence: u64,
}

impl Model for Datasets {}

/// A file of a dataset.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DatasetFile {
    /// Its path, which `/datasets/{name}/files/{path}` downloads.
    path: String,
    /// Where it can be downloaded.
    url: String,
    /// The publication that brought it.
    sequence: u64,
    /// Whether it stays. Others are replaced: by a file of the same stream that covers their heights, or,
    /// where there are none, their positions.
    complete: bool,
    /// The stream whose rows it holds, such as `chain/eth`.
    stream: String,
    /// The position of the reset of its chain behind which it begins; 0 for none. Files of before the last
    /// reset are void.
    #[schema(value_type = u64)]
    reset: Position,
    /// The first height that it covers.
    from_height: Option<u64>,
    /// The last height that it covers.
    to_height: Option<u64>,
    /// Position of the first commit that it covers.
    #[schema(value_type = u64)]
    from_position: Position,
    /// Position of the last commit that it covers.
    #[schema(value_type = u64)]
    to_position: Position,
    /// The last block that it covers.
    head: Option<BlockName>,
    /// The first moment of its rows.
    #[schema(value_type = Option<String>, format = DateTime)]
    from_time: Option<Time>,
    /// The last moment of its rows.
    #[schema(value_type = Option<String>, format = DateTime)]
    to_time: Option<Time>,
    /// Number of rows.
    rows: u64,
    /// Size in bytes.
    bytes: u64,
    /// SHA-256 of its bytes.
    sha256: String,
    /// Version of the dataset's columns.
    schema_version: u32,
}

impl DatasetFile {
    /// A file, with the URL under which datasets are.
    pub(crate) fn new(file: &FileEntry, base: &str) -> Self {
        let seconds = |micros: i64| Time(u64::try_from(micros / 1_000_000).unwrap_or(0));
        let prefix = format!("{}/", file.dataset);
        let path = file.path.strip_prefix(&prefix).unwrap_or(&file.path);
        Self {
            path: path.to_owned(),
            url: format!("{base}/datasets/{}/files/{path}", file.dataset),
            sequence: file.sequence,
            complete: file.complete,
            stream: file.stream.clone(),
            reset: file.reset,
            from_height: file.heights.map(|(low, _)| low),
            to_height: file.heights.map(|(_, high)| high),
            from_position: file.positions.0,
            to_position: file.positions.1,
            head: file.head.map(|head: BlockRef| head.into()),
            from_time: file.times.map(|(first, _)| seconds(first)),
            to_time: file.times.map(|(_, last)| seconds(last)),
            rows: file.rows,
            bytes: file.bytes,
            sha256: file.sha256.clone(),
            schema_version: file.schema_version,
        }
    }
}

/// A page of files, in the order in which they were published.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DatasetFiles {
    /// The files.
    pub(crate) files: Vec<DatasetFile>,
    /// What `after` takes to go on behind this page, now or later.
    pub(crate) next_after: u64,
    /// Whether there are more by now.
    pub(crate) more: bool,
    /// Which making of the lake the files are of: of another one they are others.
    pub(crate) generation: u64,
    /// Position of the last reset of each chain that was reset: its files with a lower `reset` are void.
    pub(crate) resets: BTreeMap<String, u64>,
}

impl Model for DatasetFiles {}
