//! Files of blocks: one JSON a line as nodes serve it, plain, gzip or zstd, with or without receipts
//! beside them.
//!
//! A thread reads lines, several decode them, and one task appends in order. The queues between them
//! are bounded, so memory is, too.

use std::path::PathBuf;

use cairn_domain::BlockRef;

use super::{ChainWriter, SourceConfig, SourceContext, SourceError};
use crate::health::{Phase, Reporter};

mod error;
mod ingest;
mod input;
mod lines;
mod pipeline;

pub use error::{FileError, Problem};
pub use ingest::ingest;
pub use input::FileInput;

/// How a file is taken in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileOptions {
    /// Which of its blocks are final.
    pub finality: Finality,
    /// Blocks below this height are passed over.
    pub start: u64,
    /// How many threads decode.
    pub workers: usize,
    /// The longest line that is taken, in bytes.
    pub max_line_bytes: usize,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            finality: Finality::Depth(64),
            start: 0,
            workers: std::thread::available_parallelism().map_or(1, usize::from),
            max_line_bytes: 256 << 20,
        }
    }
}

/// Which blocks of a file are final.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finality {
    /// Every one.
    All,
    /// Those so many blocks below the highest that was read.
    Depth(u64),
}

/// How far an ingest is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileProgress {
    /// Bytes of the file that were read, as they lie on disk.
    pub bytes: u64,
    /// Bytes of the whole file, where that is known.
    pub bytes_total: Option<u64>,
    /// Blocks appended.
    pub blocks: u64,
    /// Transactions appended.
    pub transactions: u64,
}

/// What an ingest did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IngestReport {
    /// Blocks appended.
    pub blocks: u64,
    /// Transactions appended.
    pub transactions: u64,
    /// Blocks that the chain had already.
    pub duplicates: u64,
    /// Blocks below the height to start from.
    pub passed_over: u64,
    /// The chain's head afterwards.
    pub head: Option<BlockRef>,
}

/// Runs a file as a source of the server.
pub(super) async fn run(
    config: &SourceConfig,
    context: &SourceContext,
    reporter: &Reporter,
) -> Result<(), SourceError> {
    let missing = || SourceError::Config {
        name: config.name.clone(),
        reason: "key `path` is missing: say which file to read".into(),
    };
    let path: PathBuf = config.path.clone().ok_or_else(missing)?;
    let receipts = config.receipts_path.as_deref();
    let input = FileInput::open(&path, receipts.filter(|_| config.receipts))?;
    let finality = match config.all_final {
        true => Finality::All,
        false => Finality::Depth(config.finality_depth),
    };
    let options = FileOptions {
        finality,
        start: config.start,
        ..FileOptions::default()
    };
    let mut chain = ChainWriter::open(&config.name, context).await?;
    reporter.phase(Phase::CatchingUp);
    let shown = reporter.clone();
    let report = ingest(
        input,
        &mut chain,
        &options,
        move |progress, head: Option<BlockRef>| {
            if let Some(head) = head {
                // How far the file reaches is not known before its end; its bytes tell the share.
                let target = estimate(head.height, &progress);
                shown.at(head.height, target);
            }
        },
    )
    .await?;
    tracing::info!(
        source = config.name,
        blocks = report.blocks,
        duplicates = report.duplicates,
        "file done"
    );
    if let Some(head) = report.head {
        reporter.at(head.height, head.height);
    }
    reporter.phase(Phase::Finished);
    Ok(())
}

/// Where the file will end, as its bytes so far let one guess.
fn estimate(height: u64, progress: &FileProgress) -> u64 {
    let Some(total) = progress.bytes_total.filter(|_| progress.bytes > 0) else {
        return height;
    };
    let left = total.saturating_sub(progress.bytes);
    let blocks_left = u128::from(progress.blocks) * u128::from(left) / u128::from(progress.bytes);
    height.saturating_add(u64::try_from(blocks_left).unwrap_or_default())
}
