//! `export_requested`.

use bincode::{Decode, Encode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::named::named;
use crate::primitives::Address;

crate::event! {
    /// Somebody wants rows of a dataset as a file.
    pub struct ExportRequested: version 1, Owner {
        /// Names the export; nobody can guess it.
        pub id: String,
        /// Who asked; none where everybody may.
        pub owner: Option<String>,
        /// The dataset.
        pub dataset: String,
        /// The chain.
        pub chain: String,
        /// The first height.
        pub from: u64,
        /// The last height, included.
        pub to: u64,
        /// Only what this account sent or received, if it is named.
        pub address: Option<Address>,
        /// Whether rows of blocks that are not final are left out.
        pub final_only: bool,
        /// The form of the file.
        pub format: ExportFormat,
        /// How the file is compressed.
        pub compression: ExportCompression,
    }
    example: Self {
        id: "5d2c1f0a9b8e7d6c5d2c1f0a9b8e7d6c".into(),
        owner: Some("partner-7".into()),
        dataset: "transactions".into(),
        chain: "eth".into(),
        from: 17_686_110,
        to: 17_686_132,
        address: Some(Address::Evm([0xa1; 20])),
        final_only: true,
        format: ExportFormat::Csv,
        compression: ExportCompression::Gzip,
    }
}

/// The form of a file.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// An array of objects.
    Json,
    /// An object a line.
    Ndjson,
    /// Values with commas between, names in the first line.
    Csv,
    /// Apache Parquet.
    Parquet,
    /// An Arrow IPC stream.
    Arrow,
}

named!(
    ExportFormat, "format", Json = "json", Ndjson = "ndjson", Csv = "csv", Parquet = "parquet",
    Arrow = "arrow"
);

/// How a file is compressed.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum ExportCompression {
    /// It is not; Parquet is inside all the same.
    None,
    /// By gzip.
    Gzip,
    /// By Zstandard.
    Zstd,
}

named!(
    ExportCompression, "compression", None = "none", Gzip = "gzip", Zstd = "zstd"
);
