//! The configuration: defaults < file < environment < flags, validated as a whole.
//!
//! All problems are reported at once, each with where it is, which key, and the way out.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use cairn_api::StreamLimits;
use cairn_lake::{iceberg::IcebergOptions, sql::SqlOptions};

mod endpoint;
mod iceberg;
mod lake;
mod layers;
mod log;
mod partners;
mod problem;
mod reader;
mod secret;
mod sections;
mod source;
mod sql;
mod suggest;
pub(crate) mod units;

pub(crate) use endpoint::Endpoint;
pub(crate) use lake::Lake;
pub(crate) use layers::Origin;
use layers::{Setting, Settings, Value, read_environment, read_toml};
pub(crate) use log::{Log, LogKind};
pub(crate) use partners::{Limits, Partners, Prefixes};
pub(crate) use problem::{ConfigError, Problem};
use reader::Reader;
pub(crate) use secret::Secret;
pub(crate) use sections::{Api, Data, LogFormat, Server};
pub(crate) use source::{EvmRpc, OnDeepReorg, Source, SourceKind};

/// The defaults, which document every key.
pub(crate) const DEFAULT: &str = include_str!("default.toml");

/// All settings of the process.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    /// `[server]`.
    pub(crate) server: Server,
    /// `[data]`.
    pub(crate) data: Data,
    /// `[log]` and `[kafka]`.
    pub(crate) log: Log,
    /// `[lake]`.
    pub(crate) lake: Lake,
    /// `[iceberg]`; none where there are to be no tables.
    pub(crate) iceberg: Option<IcebergOptions>,
    /// `[sql]`.
    pub(crate) sql: SqlOptions,
    /// Where SQL over Flight listens, if it does.
    pub(crate) flight_listen: Option<SocketAddr>,
    /// `[api]`.
    pub(crate) api: Api,
    /// `[limits]`.
    pub(crate) limits: Limits,
    /// `[streams]`.
    pub(crate) streams: StreamLimits,
    /// `[partners]`.
    pub(crate) partners: Partners,
    /// `[[source]]`.
    pub(crate) sources: Vec<Source>,
}

/// What the command line says about settings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flags {
    /// `-c`.
    pub(crate) file: Option<PathBuf>,
    /// `--data-dir`.
    pub(crate) data_dir: Option<PathBuf>,
    /// `--listen`.
    pub(crate) listen: Option<String>,
    /// `--roles`.
    pub(crate) roles: Option<String>,
}

impl Flags {
    fn apply(&self, settings: &mut Settings) {
        let mut set = |key: &str, value: Option<String>, flag| {
            let setting = value.map(|text| Setting {
                value: Value::Text(text),
                origin: Origin::Flag(flag),
            });
            settings.extend(setting.map(|setting| (key.to_owned(), setting)));
        };
        let dir = self
            .data_dir
            .as_ref()
            .map(|dir| dir.to_string_lossy().into_owned());
        set("data.dir", dir, "--data-dir");
        set("server.listen", self.listen.clone(), "--listen");
        set("server.roles", self.roles.clone(), "--roles");
    }
}

impl Config {
    /// Reads defaults, file, the environment of this process, and flags.
    pub(crate) fn load(flags: &Flags) -> Result<Self, ConfigError> {
        let file = flags
            .file
            .as_deref()
            .map(|path| (path, std::fs::read_to_string(path)));
        match file {
            None => Self::read(None, std::env::vars(), flags),
            Some((path, Ok(text))) => Self::read(Some((path, &text)), std::env::vars(), flags),
            Some((path, Err(error))) => {
                let origin = Origin::Flag("-c");
                let reason = format!(
                    "{} cannot be read: {error}; name a file that you may read",
                    path.display()
                );
                Err(ConfigError::new(vec![Problem::new(origin, "", reason)]))
            }
        }
    }

    /// Lays the sources of settings over each other and validates the whole.
    pub(crate) fn read(
        file: Option<(&Path, &str)>,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &Flags,
    ) -> Result<Self, ConfigError> {
        let (mut settings, mut problems) = (Settings::new(), Vec::new());
        read_toml(DEFAULT, None, &mut settings, &mut problems);
        if let Some((path, text)) = file {
            read_toml(text, Some(path), &mut settings, &mut problems);
        }
        read_environment(environment, &mut settings, &mut problems);
        flags.apply(&mut settings);
        let mut reader = Reader::new(&mut settings, &mut problems);
        let config = sections::read_config(&mut reader);
        reader.refuse_unknown();
        match config {
            Some(config) if problems.is_empty() => Ok(config),
            _ => Err(ConfigError::new(problems)),
        }
    }
}

#[cfg(test)]
mod tests;
