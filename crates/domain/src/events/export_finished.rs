//! `export_finished`.

use bincode::{Decode, Encode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

crate::event! {
    /// An export is ready, or failed for good.
    pub struct ExportFinished: version 1, Owner {
        /// The export.
        pub id: String,
        /// What came of it.
        pub outcome: ExportOutcome,
    }
    example: Self {
        id: "5d2c1f0a9b8e7d6c5d2c1f0a9b8e7d6c".into(),
        outcome: ExportOutcome::Ready(ExportFile {
            path: "exports/5d2c1f0a9b8e7d6c5d2c1f0a9b8e7d6c.csv.gz".into(),
            position: 23,
            rows: 4416,
            bytes: 402_000,
            sha256: "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".into(),
        }),
    }
}

/// What came of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ExportOutcome {
    /// The file is there.
    Ready(ExportFile),
    /// It cannot be made.
    Failed {
        /// Why, and the way out.
        reason: String,
    },
}

/// The file of an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode, JsonSchema)]
pub struct ExportFile {
    /// Where it is, from the root of the lake.
    pub path: String,
    /// The position that its rows are as of.
    pub position: u64,
    /// Number of rows.
    pub rows: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 in hex.
    pub sha256: String,
}
