//! What the tables have held, and since when.

use std::collections::{BTreeMap, HashMap};

use ::iceberg::spec::Snapshot;
use cairn_domain::Position;
use serde::Serialize;

use crate::Manifest;

/// The publication of the lake whose files a snapshot has.
const SEQUENCE: &str = "cairn.sequence";
/// The position up to which the files of a lake of one shard reach.
const POSITION: &str = "cairn.position";

/// A snapshot of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TableSnapshot {
    /// The table, which is called as its dataset is.
    pub table: String,
    /// Its id.
    pub snapshot: i64,
    /// When it was made, in milliseconds since 1970.
    pub made_at: i64,
    /// Number of rows.
    pub rows: u64,
    /// Number of files.
    pub files: u64,
    /// The publication of the lake whose complete files it has.
    pub sequence: Option<u64>,
    /// How far the lake had followed the log of each shard then. Rows behind the last complete file of
    /// a chain are not in the table.
    pub positions: BTreeMap<String, Position>,
}

impl TableSnapshot {
    pub(crate) fn new(table: &str, snapshot: &Snapshot) -> Self {
        let summary = &snapshot.summary().additional_properties;
        let number = |name: &str| summary.get(name).and_then(|text| text.parse().ok());
        let positions = summary.iter().filter_map(|(name, text)| {
            let shard = name.strip_prefix(POSITION)?.strip_prefix('.')?;
            Some((shard.to_owned(), Position(text.parse().ok()?)))
        });
        Self {
            table: table.to_owned(),
            snapshot: snapshot.snapshot_id(),
            made_at: snapshot.timestamp_ms(),
            rows: number("total-records").unwrap_or(0),
            files: number("total-data-files").unwrap_or(0),
            sequence: number(SEQUENCE),
            positions: positions.collect(),
        }
    }
}

/// What a snapshot says of the manifest that it was made from: `cairn.sequence`, for each shard
/// `cairn.position.<shard>`, and where there is one shard `cairn.position`.
pub(crate) fn summary(manifest: &Manifest) -> HashMap<String, String> {
    let mut summary = HashMap::from([(SEQUENCE.to_owned(), manifest.sequence.to_string())]);
    for (name, shard) in &manifest.shards {
        let position = shard.position.to_string();
        if manifest.shards.len() == 1 {
            summary.insert(POSITION.to_owned(), position.clone());
        }
        summary.insert(format!("{POSITION}.{name}"), position);
    }
    summary
}
