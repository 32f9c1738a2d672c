//! Appends a file's blocks in order.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cairn_domain::BlockRef;
use tokio::time::Instant;

use super::{
    FileInput, FileOptions, FileProgress, Finality, IngestReport,
    error::{FileError, Problem},
    pipeline::{self, Group, Groups},
};
use crate::sources::{ChainWriter, SourceError, Standing, evm::DecodedBlock};

/// A block waits no longer than this for others to be appended with it.
const LONGEST_WAIT: Duration = Duration::from_millis(200);

/// Appends the blocks of a file to a chain. `progress` is called after every group of lines with how
/// far it is and the chain's head.
///
/// # Errors
/// [`SourceError::File`] names file and line. Everything before that line is then durable and stays.
pub async fn ingest(
    input: FileInput,
    chain: &mut ChainWriter,
    options: &FileOptions,
    progress: impl Fn(FileProgress, Option<BlockRef>) + Send,
) -> Result<IngestReport, SourceError> {
    let count = Arc::new(AtomicU64::new(0));
    let (file, bytes_total) = (input.blocks.name.clone(), input.total);
    let mut groups = pipeline::start(input, options, Arc::clone(&count))?;
    let mut ingest = Ingest {
        file,
        chain,
        options,
        last: None,
        report: IngestReport::default(),
    };
    while let Some(group) = ingest.next_group(&mut groups).await? {
        if let Err(error) = ingest.take_group(group).await {
            ingest.chain.flush().await?;
            return Err(error);
        }
        let IngestReport {
            blocks,
            transactions,
            ..
        } = ingest.report;
        let bytes = count.load(Ordering::Relaxed);
        progress(
            FileProgress {
                bytes,
                bytes_total,
                blocks,
                transactions,
            },
            ingest.chain.tip().head(),
        );
    }
    ingest.declare_final().await?;
    ingest.chain.flush().await?;
    ingest.report.head = ingest.chain.tip().head();
    Ok(ingest.report)
}

/// A moment, or never.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

struct Ingest<'a> {
    file: String,
    chain: &'a mut ChainWriter,
    options: &'a FileOptions,
    /// The last block of the file so far.
    last: Option<BlockRef>,
    report: IngestReport,
}

impl Ingest<'_> {
    /// The next lines. While none come, what has waited long enough is appended.
    async fn next_group(&mut self, groups: &mut Groups) -> Result<Option<Group>, SourceError> {
        let next = async {
            match groups.recv().await {
                Some(group) => Some(group.await),
                None => None,
            }
        };
        tokio::pin!(next);
        let group = loop {
            let overdue = self.chain.pending_since().map(|since| since + LONGEST_WAIT);
            tokio::select! {
                group = &mut next => break group,
                () = until(overdue) => self.chain.flush().await?,
            }
        };
        match group.transpose() {
            Ok(group) => Ok(group),
            Err(_) => {
                self.chain.flush().await?;
                let reason =
                    "a decoding thread ended without an answer; this is a bug, please report it";
                Err(SourceError::Disk {
                    path: self.file.clone(),
                    reason: reason.into(),
                })
            }
        }
    }

    async fn take_group(&mut self, group: Group) -> Result<(), SourceError> {
        for decoded in group {
            let (line, block) = decoded?;
            self.take(line, block).await?;
        }
        let waited = self.chain.pending_since().map(|since| since.elapsed());
        if waited.is_some_and(|waited| waited >= LONGEST_WAIT) {
            self.chain.flush().await?;
        }
        Ok(())
    }

    async fn take(&mut self, line: u64, block: DecodedBlock) -> Result<(), SourceError> {
        let reference = block.reference();
        if reference.height < self.options.start {
            self.report.passed_over += 1;
            return Ok(());
        }
        let standing = self.chain.judge(reference, block.block.parent).await?;
        self.last = Some(reference);
        match standing {
            Standing::Next => self.append(block).await,
            Standing::Known => {
                self.report.duplicates += 1;
                Ok(())
            }
            standing => Err(self.misfit(line, &block, standing).into()),
        }
    }

    async fn append(&mut self, block: DecodedBlock) -> Result<(), SourceError> {
        let height = block.reference().height;
        let final_height = match self.options.finality {
            Finality::All => Some(height),
            Finality::Depth(depth) => height.checked_sub(depth),
        };
        self.report.blocks += 1;
        self.report.transactions += block.transactions.len() as u64;
        self.chain.append(block, final_height).await
    }

    /// A final file makes final what it repeats, too.
    async fn declare_final(&mut self) -> Result<(), SourceError> {
        match self.last {
            Some(last) if self.options.finality == Finality::All => {
                self.chain.finalize(last.height).await
            }
            _ => Ok(()),
        }
    }

    fn misfit(&self, line: u64, block: &DecodedBlock, standing: Standing) -> FileError {
        let (own, parent) = (block.reference(), block.block.parent);
        let head = self.chain.tip().head().unwrap_or_default();
        let problem = match standing {
            Standing::Gap { .. } => Problem::Gap { block: own, head },
            _ if own.height == head.height + 1 => Problem::Parent {
                block: own,
                parent,
                head,
            },
            _ => Problem::OutOfOrder { block: own, head },
        };
        FileError {
            file: self.file.clone(),
            line: Some(line),
            problem,
        }
    }
}
