//! The log of the process on stderr.

use std::io::{self, IsTerminal as _};

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::LogFormat;

/// Starts logging. `CAIRN_LOG` says what, else `default` does.
pub(crate) fn install(format: LogFormat, default: &str) {
    let filter = EnvFilter::try_from_env("CAIRN_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let terminal = io::stderr().is_terminal();
    let builder = fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(terminal);
    let json = match format {
        LogFormat::Auto => !terminal,
        LogFormat::Text => false,
        LogFormat::Json => true,
    };
    // A second call changes nothing: `demo` logs before it serves.
    let _already = match json {
        true => builder.json().try_init(),
        false => builder.try_init(),
    };
}
