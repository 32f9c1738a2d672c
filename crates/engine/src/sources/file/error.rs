//! What can be wrong with a file of blocks.

use cairn_domain::{BlockRef, Hash};

use crate::sources::evm::DecodeError;

/// A file cannot be taken in further. All that stands before the line is appended and stays.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}{}: {problem}", line.map(|line| format!(", line {line}")).unwrap_or_default())]
pub struct FileError {
    /// Which file.
    pub file: String,
    /// Which line of the unpacked text, from 1; none where it is not about a line.
    pub line: Option<u64>,
    /// What is wrong, and what to do.
    pub problem: Problem,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The system refused, or the compression is damaged.
    #[error("{0}")]
    Unreadable(String),
    /// There is nothing in it.
    #[error("the file is empty; expected one block a line, as eth_getBlockByNumber answers")]
    Empty,
    /// It is something else than text.
    #[error("this is not text; expected lines of JSON, plain or compressed with gzip or zstd")]
    Binary,
    /// A line is longer than is taken.
    #[error("the line is longer than {0} bytes; is it one block a line?")]
    LongLine(usize),
    /// A line is not a block.
    #[error(
        "{0}; mend or remove the line and ingest the file again: what is there already is skipped"
    )]
    Decode(DecodeError),
    /// The last line is not complete.
    #[error(
        "the line is cut off ({0}); get the file again and ingest it: what is there already is skipped"
    )]
    CutOff(DecodeError),
    /// Blocks are missing.
    #[error("a gap: {block} comes after {head}, so {} is missing; add what is missing and ingest again", missing(*head, *block))]
    Gap {
        /// The block of the line.
        block: BlockRef,
        /// The chain's head.
        head: BlockRef,
    },
    /// The block stands on another one than the head.
    #[error(
        "{block} has parent {parent}, but the chain's head is {head}; is the line from another branch or chain?"
    )]
    Parent {
        /// The block of the line.
        block: BlockRef,
        /// The parent it names.
        parent: Hash,
        /// The chain's head.
        head: BlockRef,
    },
    /// A lower block that the chain does not have.
    #[error(
        "out of order: {block} comes after {head}, and the chain has another block, or none, at that height; sort the file by height, or remove the line"
    )]
    OutOfOrder {
        /// The block of the line.
        block: BlockRef,
        /// The chain's head.
        head: BlockRef,
    },
    /// A block has no line of receipts.
    #[error(
        "the receipts file {file} ends before this block; both files need the same blocks in the same order"
    )]
    ReceiptsEnd {
        /// The receipts file.
        file: String,
    },
    /// Receipts are left when the blocks are over.
    #[error(
        "there are more lines here than blocks; both files need the same blocks in the same order"
    )]
    ReceiptsLeft,
    /// The machine refused a thread.
    #[error("no thread could be started: {0}")]
    Thread(String),
}

fn missing(head: BlockRef, block: BlockRef) -> String {
    match (head.height + 1, block.height.saturating_sub(1)) {
        (first, last) if first == last => format!("block {first}"),
        (first, last) => format!("every block from {first} to {last}"),
    }
}
