//! Exports.

use serde::Serialize;
use utoipa::ToSchema;

use super::Time;
use crate::answer::Model;

/// An export that was accepted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExportAccepted {
    /// Names the export.
    pub(crate) export_id: String,
    /// About how large the file will be, such as `500MB`.
    pub(crate) estimated_size: String,
    /// Where it can be downloaded when it is ready; until then that answers 202.
    pub(crate) download_url: String,
}

impl Model for ExportAccepted {}

/// An export.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExportStatus {
    /// Names the export.
    pub(crate) export_id: String,
    /// `pending`, `running`, `ready`, `failed` or `expired`.
    pub(crate) status: &'static str,
    /// How much of it is made, from 0 to 1.
    pub(crate) progress: f64,
    /// The dataset.
    pub(crate) dataset: String,
    /// The chain.
    pub(crate) chain: String,
    /// The first height.
    pub(crate) start_block: u64,
    /// The last height, included.
    pub(crate) end_block: u64,
    /// The form of the file.
    pub(crate) format: String,
    /// How it is compressed.
    pub(crate) compression: String,
    /// When it was asked for.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) requested_at: Time,
    /// Until when it can be downloaded.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) expires_at: Option<Time>,
    /// The position of the log that its rows are as of.
    pub(crate) position: Option<u64>,
    /// Number of its rows; while it is made, of those that are written.
    pub(crate) rows: u64,
    /// Size in bytes.
    pub(crate) bytes: Option<u64>,
    /// SHA-256 of the file.
    pub(crate) sha256: Option<String>,
    /// Where it can be downloaded.
    pub(crate) download_url: String,
    /// Why it failed, and the way out.
    pub(crate) error: Option<String>,
}

impl Model for ExportStatus {}
