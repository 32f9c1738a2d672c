//! What exports need beside the rows: somebody who appends requests, and knows how far each is.

use async_trait::async_trait;
use cairn_domain::{
    Position,
    events::ExportRequested,
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

/// Why an export is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExportRefused {
    /// The caller has so many that wait already.
    #[error("{waiting} exports of yours wait already: ask again when some of them are ready")]
    TooMany {
        /// How many.
        waiting: usize,
    },
    /// Files of exports take all the space that they may.
    #[error("the files of exports take {used} of {most} bytes: ask again when some have expired")]
    Full {
        /// How many bytes there are.
        used: u64,
        /// How many there may be.
        most: u64,
    },
    /// The log does not take it now.
    #[error("{0}")]
    NotAppended(String),
}

/// Appends what requests ask for, and makes exports.
#[async_trait]
pub trait ExportDesk: Send + Sync {
    /// Appends a request to the log of a shard, here or at the node that writes it, and returns when it is
    /// folded here. `caller` is who asks, where that is known: callers take turns.
    ///
    /// # Errors
    /// [`ExportRefused`].
    async fn request(
        &self,
        shard: &str,
        request: ExportRequested,
        caller: Option<String>,
    ) -> Result<(), ExportRefused>;

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
