//! What commands do to a data directory. The same code runs in the command's own process and, behind
//! the socket, in a running server.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::node::{Needs, Node};

mod cat;
mod dead_letters;
mod ingest;
pub(crate) mod inputs;
mod log;
pub(crate) mod message;
pub(crate) mod output;
mod views;

pub(crate) use inputs::Inputs;
pub(crate) use message::{Message, Unit};
pub(crate) use output::Output;

/// What to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Request {
    /// Append blocks of a chain.
    Ingest {
        /// The chain's name.
        chain: String,
        /// Whether all of it is final.
        is_final: bool,
        /// What the blocks are called in messages.
        name: String,
        /// Bytes of the blocks' input, if that is known.
        size: Option<u64>,
    },
    /// What is known of the log.
    LogStat,
    /// The events of some commits.
    LogCat {
        /// The first position.
        from: u64,
        /// The last position; none means the head.
        to: Option<u64>,
    },
    /// The events of the last commits.
    LogTail {
        /// How many commits.
        commits: u64,
        /// Whether to go on with what is appended from now on.
        follow: bool,
    },
    /// Read every byte of the log.
    LogVerify,
    /// Fold projections anew; none means all.
    Replay {
        /// Their names.
        projections: Vec<String>,
    },
    /// Compare the store with a fresh fold.
    Verify,
    /// What sources could not decode.
    DeadLetterList,
    /// Append dead letters that can be decoded by now; none means all.
    DeadLetterRetry {
        /// Their ids.
        ids: Vec<String>,
    },
}

impl Request {
    /// What has to be open for it.
    pub(crate) fn needs(&self) -> Needs {
        match self {
            Self::LogStat | Self::LogCat { .. } | Self::LogTail { .. } | Self::LogVerify => {
                Needs::Log
            }
            Self::DeadLetterList => Needs::Nothing,
            Self::Verify | Self::Replay { .. } => Needs::Store,
            Self::Ingest { .. } | Self::DeadLetterRetry { .. } => Needs::Writer,
        }
    }

    /// Does it and gives the last message.
    pub(crate) async fn perform(self, node: &Node, inputs: Inputs, output: &Output) -> Message {
        Message::end(self.run(node, inputs, output).await)
    }

    async fn run(self, node: &Node, inputs: Inputs, output: &Output) -> anyhow::Result<Value> {
        match self {
            Self::Ingest {
                chain,
                is_final,
                name,
                size,
            } => {
                let args = ingest::IngestArgs {
                    chain,
                    is_final,
                    name,
                    size,
                };
                ingest::ingest(node, inputs, args, output).await
            }
            Self::LogStat => log::stat(node).await,
            Self::LogCat { from, to } => cat::cat(node, from, to, output).await,
            Self::LogTail { commits, follow } => cat::tail(node, commits, follow, output).await,
            Self::LogVerify => log::verify(node, output).await,
            Self::Replay { projections } => views::replay(node, projections, output).await,
            Self::Verify => views::verify(node, output).await,
            Self::DeadLetterList => dead_letters::list(node),
            Self::DeadLetterRetry { ids } => dead_letters::retry(node, ids).await,
        }
    }
}
