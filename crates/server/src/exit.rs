//! Exit codes: what scripts may rely on.

use std::process::ExitCode;

use cairn_engine::{log::LogError, store::StoreError};
use serde::{Deserialize, Serialize};

use crate::config::ConfigError;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Exit {
    /// It did what it was asked.
    Ok,
    /// It failed; the message says why.
    Failed,
    /// The command line or the configuration is wrong.
    Usage,
    /// What was compared differs: `verify`, `log verify`, `schemas --check`.
    Differs,
    /// Another process has the data directory, or the address to listen on.
    InUse,
}

/// The part of `--help` that documents them.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed; the message says why and what to do
  2  the command line or the configuration is wrong
  3  what was compared differs (verify, log verify, schemas --check)
  4  the data directory or the address is in use by another process

Environment:
  CAIRN_CONFIG             the config file, as -c
  CAIRN_<SECTION>__<KEY>   any key of the configuration, such as CAIRN_SERVER__LISTEN
  CAIRN_LOG                what is logged to stderr, such as info or warn,cairn_engine=debug";

impl Exit {
    /// The exit code that an error asks for.
    pub(crate) fn of(error: &anyhow::Error) -> Self {
        if let Some(failure) = error.downcast_ref::<Failure>() {
            return failure.exit;
        }
        let in_use = matches!(error.downcast_ref(), Some(LogError::InUse { .. }))
            || matches!(error.downcast_ref(), Some(StoreError::InUse { .. }));
        match error.downcast_ref::<ConfigError>() {
            _ if in_use => Self::InUse,
            Some(_) => Self::Usage,
            None => Self::Failed,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Ok => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Differs => 3,
            Exit::InUse => 4,
        })
    }
}

/// An error that knows its exit code.
#[derive(Debug)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What went wrong and the way out.
    pub(crate) message: String,
}

impl Failure {
    /// An error with its exit code.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}
