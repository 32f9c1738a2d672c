//! What commands do to a data directory. The same code runs in the command's own process and, behind
//! the socket, in a running server.

use std::path::PathBuf;

use cairn_api::PartnerCommand;
use cairn_domain::{Event, events::ExportRequested};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    forward::{self, Peers},
    node::{Needs, Node, Shard},
};

mod append;
mod cat;
mod dead_letters;
mod export;
mod ingest;
pub(crate) mod inputs;
mod log;
pub(crate) mod message;
pub(crate) mod output;
pub(crate) mod partners;
mod sql;
mod views;

pub(crate) use ingest::fold;
pub(crate) use inputs::Inputs;
pub(crate) use message::{Message, Unit};
pub(crate) use output::Output;
use output::while_heard;

/// What to do, and in which shard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Operation {
    /// The shard; none where there is only one, or where the chain of the request tells.
    pub(crate) shard: Option<String>,
    /// What to do.
    pub(crate) request: Request,
}

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
    /// Append the letter that comes as input, if it fits: what a retry asks the node that writes.
    MendedLetter {
        /// The chain that it is of.
        chain: String,
    },
    /// Answer a query over the datasets.
    Sql {
        /// The statement.
        sql: String,
        /// The form of the answer: `json`, `ndjson` or `csv`.
        format: String,
        /// Cuts the answer behind so many rows.
        limit: Option<usize>,
    },
    /// Write rows of a dataset to a file of this machine.
    Export {
        /// Which rows, in which form; without a chain, of the only one.
        request: Box<ExportRequested>,
        /// Where the file goes, which is named after the rows.
        directory: PathBuf,
    },
    /// Every partner.
    PartnerList,
    /// One partner.
    PartnerShow {
        /// Its id.
        id: String,
    },
    /// Change a partner.
    Partner(PartnerCommand),
    /// Append events that a node without the right to append wants in the log.
    Append {
        /// The stream.
        stream: String,
        /// The events.
        events: Vec<Event>,
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
            Self::Verify
            | Self::Replay { .. }
            | Self::Sql { .. }
            | Self::Export { .. }
            | Self::PartnerList
            | Self::PartnerShow { .. } => Needs::Store,
            Self::Ingest { .. }
            | Self::DeadLetterRetry { .. }
            | Self::MendedLetter { .. }
            | Self::Partner(_)
            | Self::Append { .. } => Needs::Writer,
        }
    }

    /// The chain to which it appends, if that tells the shard.
    pub(crate) fn chain(&self) -> Option<&str> {
        match self {
            Self::Ingest { chain, .. } | Self::MendedLetter { chain } => Some(chain),
            Self::Append { stream, .. } => stream.strip_prefix("chain/"),
            Self::LogStat
            | Self::LogCat { .. }
            | Self::LogTail { .. }
            | Self::LogVerify
            | Self::Replay { .. }
            | Self::Verify
            | Self::Sql { .. }
            | Self::Export { .. }
            | Self::PartnerList
            | Self::PartnerShow { .. }
            | Self::Partner(_)
            | Self::DeadLetterList
            | Self::DeadLetterRetry { .. } => None,
        }
    }

    /// Whether it is about what belongs to no chain, which is in the first shard.
    fn is_of_first_shard(&self) -> bool {
        matches!(
            self,
            Self::PartnerList | Self::PartnerShow { .. } | Self::Partner(_)
        )
    }

    /// Whether it reads the lake.
    pub(crate) fn reads_lake(&self) -> bool {
        matches!(self, Self::Sql { .. } | Self::Export { .. })
    }

    /// Whether it appends, which is the business of the node that writes the shard's log.
    pub(crate) fn appends(&self) -> bool {
        self.needs() == Needs::Writer && !matches!(self, Self::DeadLetterRetry { .. })
    }

    /// Does it in a shard.
    async fn run(
        self,
        node: &Node,
        shard: &Shard,
        inputs: Inputs,
        output: &Output,
    ) -> anyhow::Result<Value> {
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
                ingest::ingest(shard, inputs, args, output).await
            }
            Self::LogStat => log::stat(shard).await,
            Self::LogCat { from, to } => cat::cat(shard, from, to, output).await,
            Self::LogTail { commits, follow } => cat::tail(shard, commits, follow, output).await,
            Self::LogVerify => log::verify(shard, output).await,
            Self::Replay { projections } => views::replay(shard, projections, output).await,
            Self::Verify => views::verify(shard, output).await,
            Self::MendedLetter { .. } => dead_letters::take_mended(shard, inputs).await,
            Self::Append { stream, events } => {
                append::append(shard, &stream, &events, output).await
            }
            Self::PartnerList => partners::list(node, shard),
            Self::PartnerShow { id } => partners::show(node, shard, &id),
            Self::Partner(command) => partners::perform(node, shard, command, output).await,
            Self::DeadLetterList
            | Self::DeadLetterRetry { .. }
            | Self::Sql { .. }
            | Self::Export { .. } => {
                anyhow::bail!("it is about all shards; this is a bug, please report it")
            }
        }
    }
}

impl Operation {
    /// Does it, here or at the node that writes the log, and gives the last message.
    pub(crate) async fn perform(
        self,
        node: &Node,
        peers: &Peers,
        inputs: Inputs,
        output: &Output,
    ) -> Message {
        Message::end(self.run(node, peers, inputs, output).await)
    }

    async fn run(
        self,
        node: &Node,
        peers: &Peers,
        inputs: Inputs,
        output: &Output,
    ) -> anyhow::Result<Value> {
        match self.request {
            Request::DeadLetterList => dead_letters::list(node.data_dir()),
            Request::DeadLetterRetry { ids } => dead_letters::retry(node, peers, ids, output).await,
            Request::Sql { sql, format, limit } => {
                let query = sql::Query { sql, format, limit };
                while_heard(output, sql::query(node, query, output)).await
            }
            Request::Export { request, directory } => {
                let exported = export::export(node, *request, &directory, output);
                while_heard(output, exported).await
            }
            request => {
                let shard = match request.is_of_first_shard() {
                    true => &node.shards[0],
                    false => node.shard(self.shard.as_deref(), request.chain())?,
                };
                if request.appends() && shard.is_written_elsewhere() {
                    return forward::forward(shard, peers, request, inputs, output).await;
                }
                request.run(node, shard, inputs, output).await
            }
        }
    }
}
