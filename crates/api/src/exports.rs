//! What exports need beside the rows: somebody who appends requests, and knows how far each is.

use async_trait::async_trait;
use cairn_domain::{
    Event, Position,
    projections::exports::{ExportKey, ExportRow, Exports, stream},
};

use crate::{app::App, error::ApiError};

/// How far an export that is being made is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExportProgress {
    /// Rows that were written.
    pub rows: u64,
    /// Rows that there will be.
    pub of: u64,
}

/// Appends what requests ask for, and makes exports.
#[async_trait]
pub trait ExportDesk: Send + Sync {
    /// Appends events to the log of a shard, here or at the node that writes it, and returns when they are
    /// folded here.
    ///
    /// # Errors
    /// A sentence for people.
    async fn append(&self, shard: &str, stream: &str, events: Vec<Event>) -> Result<(), String>;

    /// Whether this process makes the exports of a shard.
    fn makes(&self, shard: &str) -> bool;

    /// How far an export is; none while it waits.
    fn progress(&self, id: &str) -> Option<ExportProgress>;

    /// Until when a file that was ready at a moment stays; both in milliseconds since 1970.
    fn expiry(&self, ready_at: u64) -> u64;
}

/// An export by its id, with the position that this is as of.
pub(crate) fn find(app: &App, id: &str) -> Result<Option<(ExportRow, Position)>, ApiError> {
    let key = ExportKey { id: id.to_owned() };
    // NUL would end the key.
    if id.contains('\0') {
        return Ok(None);
    }
    for shard in &app.shards {
        let view = shard.store.view(None)?;
        if let Some(row) = view.get::<Exports>(&stream(), &key)? {
            return Ok(Some((row, view.position())));
        }
    }
    Ok(None)
}
