//! What an operation says while it runs: one form for the process it runs in and for the socket.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::exit::Exit;

/// Something that an operation says. The last one is `Done` or `Failed`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Message {
    /// How far it is.
    Progress {
        /// What it is doing, such as `folding`.
        doing: String,
        /// How far it is.
        at: u64,
        /// How far it could be, if that is known.
        total: Option<u64>,
        /// What is counted.
        unit: Unit,
    },
    /// A line of output.
    Line(Value),
    /// It did what it was asked; the value is the result.
    Done(Value),
    /// It failed.
    Failed {
        /// The exit code for the command.
        exit: Exit,
        /// What went wrong and the way out.
        message: String,
    },
}

/// What progress counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Unit {
    /// Bytes of a file.
    Bytes,
    /// Commits of the log.
    Commits,
    /// Rows of a dataset.
    Rows,
}

impl Message {
    /// The last message of an operation with this result.
    pub(crate) fn end(result: anyhow::Result<Value>) -> Self {
        match result {
            Ok(result) => Self::Done(result),
            Err(error) => Self::Failed {
                exit: Exit::of(&error),
                message: format!("{error:#}"),
            },
        }
    }
}
