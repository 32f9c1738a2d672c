//! What a source is told: one `[[source]]` of `cairn.toml`.

use std::{fmt, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

/// What kind of source it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SourceKind {
    /// An Ethereum JSON-RPC node.
    EvmRpc,
    /// A file of blocks, one JSON a line.
    File,
}

/// What to do when a chain parts from ours below what is final.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeepReorg {
    /// Stop and say so.
    #[default]
    Halt,
    /// Declare all that was indexed of the chain void and start over.
    Reset,
}

/// How a source deals with what does not answer. Not part of `cairn.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// The longest first wait; it doubles with every failure in a row.
    pub base: Duration,
    /// The longest wait.
    pub cap: Duration,
    /// How long one request may take, its body included.
    pub timeout: Duration,
    /// The wait before a look whether a person has helped.
    pub stuck: Duration,
    /// The longest answer that is read, in bytes.
    pub body_bytes: usize,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(250),
            cap: Duration::from_secs(30),
            timeout: Duration::from_secs(60),
            stuck: Duration::from_secs(60),
            body_bytes: 256 << 20,
        }
    }
}

/// One source, with its units typed. The server reads it from `cairn.toml`.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceConfig {
    /// The chain's name in streams and in `?chain=`.
    pub name: String,
    /// What it is.
    pub kind: SourceKind,
    /// The node's HTTP address (`evm-rpc`).
    pub url: Option<String>,
    /// The node's WebSocket address, for new heads without delay (`evm-rpc`).
    pub ws: Option<String>,
    /// Where the blocks are; `-` is the standard input (`file`).
    pub path: Option<PathBuf>,
    /// Where their receipts are, if not inside the blocks (`file`).
    pub receipts_path: Option<PathBuf>,
    /// The first height to index; the block there needs no known parent.
    pub start: u64,
    /// How deep a block is final when the node has no `finalized` tag.
    pub finality_depth: u64,
    /// Whether all blocks of a file are final, however deep.
    pub all_final: bool,
    /// Whether to ask for receipts.
    pub receipts: bool,
    /// How often to ask for the head.
    pub poll_interval: Duration,
    /// What to do when a chain parts from ours below what is final.
    pub on_deep_reorg: DeepReorg,
    /// How to deal with what does not answer.
    pub retry: RetryPolicy,
}

impl fmt::Debug for SourceConfig {
    /// Name and kind only: the addresses of nodes often carry keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SourceConfig")
            .field("name", &self.name)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

impl SourceConfig {
    /// A source with every other key at its default.
    pub fn new(name: impl Into<String>, kind: SourceKind) -> Self {
        Self {
            name: name.into(),
            kind,
            url: None,
            ws: None,
            path: None,
            receipts_path: None,
            start: 0,
            finality_depth: 64,
            all_final: false,
            receipts: true,
            poll_interval: Duration::from_secs(1),
            on_deep_reorg: DeepReorg::Halt,
            retry: RetryPolicy::default(),
        }
    }
}
