//! Why a source stopped.

use cairn_domain::BlockRef;

use super::{evm::DecodeError, file::FileError, tip::TooDeep};
use crate::{log::LogError, store::StoreError};

/// Why a source stopped. Nothing that was appended is lost.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The log refused an append.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The store could not tell where the chain is.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file holds something that cannot be appended.
    #[error(transparent)]
    File(#[from] FileError),
    /// A block does not decode.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The configuration cannot be used.
    #[error("source {name}: {reason}")]
    Config {
        /// The source's name.
        name: String,
        /// What is wrong, and the way out.
        reason: String,
    },
    /// The node's chain parted from ours below what is final.
    #[error(
        "chain {chain}: the node's branch does not contain {finalized}, which is final here; if the node is right, set on_deep_reorg = \"reset\" for this source to start the chain over, else point it to a node of the right chain"
    )]
    ReorgTooDeep {
        /// The chain's name.
        chain: String,
        /// The highest final block of ours.
        finalized: BlockRef,
    },
    /// The node is of another chain than before.
    #[error(
        "chain {chain}: the node has chain id {found}, but this source followed chain id {known}; point url to the right node, give the other chain another name, or delete {path} if the id was changed on purpose"
    )]
    WrongChain {
        /// The chain's name.
        chain: String,
        /// The id that was remembered.
        known: u64,
        /// The id that the node has.
        found: u64,
        /// Where the id is remembered.
        path: String,
    },
    /// A block that the node serves cannot be decoded; it lies with the dead letters.
    #[error(
        "{error}; nothing is appended behind it. The node is asked for it again from time to time; or mend dead-letters/{letter}.json and run `cairn dead-letter retry {letter}`"
    )]
    DeadLetter {
        /// What is wrong with the block.
        error: DecodeError,
        /// The letter's id.
        letter: String,
    },
    /// A file of the data directory cannot be read or written.
    #[error("{path}: {reason}")]
    Disk {
        /// Which file.
        path: String,
        /// What the system said, and the way out.
        reason: String,
    },
}

impl SourceError {
    pub(super) fn too_deep(chain: &str, TooDeep { finalized }: TooDeep) -> Self {
        Self::ReorgTooDeep {
            chain: chain.into(),
            finalized,
        }
    }
}
