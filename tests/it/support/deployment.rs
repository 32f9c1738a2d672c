//! Several nodes of the real binary around one topic.

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    kafka,
    process::{Ended, Server, cairn, run},
};

/// Longer than any takeover may take.
const PATIENCE: Duration = Duration::from_secs(90);

/// Nodes share brokers, a topic and a key; each has a data directory of its own.
pub(crate) struct Deployment {
    directory: TempDir,
    brokers: String,
    shards: &'static str,
    sources: String,
}

impl Deployment {
    /// On these brokers, with these `[[source]]` entries.
    pub(crate) fn new(brokers: &str, sources: &str) -> Self {
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
            brokers: brokers.into(),
            shards: r#"["main"]"#,
            sources: sources.into(),
        }
    }

    /// With other shards than one.
    pub(crate) fn with_shards(mut self, shards: &'static str) -> Self {
        self.shards = shards;
        self
    }

    /// With other brokers, such as those behind a network that can be cut, for the nodes from now on.
    pub(crate) fn reach_brokers_by(&mut self, brokers: &str) {
        self.brokers = brokers.into();
    }

    /// The topic.
    pub(crate) fn topic(&self) -> String {
        kafka::topic(self.directory.path())
    }

    /// The data directory of a node.
    pub(crate) fn data(&self, node: &str) -> PathBuf {
        self.directory.path().join(node)
    }

    /// The config file of a node with these roles and this kind of log.
    pub(crate) fn config(&self, node: &str, roles: &str, kind: &str) -> PathBuf {
        let text = format!(
            "[server]\nlisten = \"127.0.0.1:0\"\nroles = {roles}\noperator_key = \"the key of this deployment\"\n\
             [data]\ndir = \"{}\"\n[log]\nkind = \"{kind}\"\nshards = {}\n\
             [kafka]\nbrokers = \"{}\"\ntopic = \"{}\"\n{}\n",
            self.data(node).display(),
            self.shards,
            self.brokers,
            self.topic(),
            self.sources,
        )
        .replace("the key of this deployment", "the-key-of-this-deployment");
        let path = self.directory.path().join(format!("{node}.toml"));
        std::fs::write(&path, text).expect("a config file");
        path
    }

    /// A command of a node that is not started yet.
    pub(crate) fn command(&self, node: &str, line: &str) -> Command {
        let path = self.directory.path().join(format!("{node}.toml"));
        if !path.exists() {
            self.config(node, r#"["ingest", "query"]"#, "kafka");
        }
        let mut command = cairn(["-c"]);
        command.arg(path).args(line.split(' '));
        command
    }

    /// Runs a command on a node, beside its server if one runs.
    pub(crate) fn cairn(&self, node: &str, line: &str) -> Ended {
        run(&mut self.command(node, line))
    }

    /// Starts a node with these roles and waits until it listens.
    pub(crate) fn serve(&self, node: &str, roles: &str) -> Server {
        self.config(node, roles, "kafka");
        Server::start(&mut self.command(node, "serve"))
    }

    /// What `cairn log stat` says at a node.
    pub(crate) fn stat(&self, node: &str) -> Value {
        self.cairn(node, "log stat --json").ok().json()
    }

    /// The position and the digests of all tables, compared with a fresh fold.
    #[track_caller]
    pub(crate) fn verified(&self, node: &str) -> Value {
        let mut report = self.cairn(node, "verify --json").ok().json();
        for table in report["tables"].as_array_mut().expect("tables") {
            assert_eq!(table["stored"], table["fresh"], "{node}");
        }
        self.cairn(node, "log verify").ok();
        report["tables"].take()
    }

    /// Waits until one of these nodes writes the log, and says which.
    pub(crate) fn leader<'a>(&self, nodes: &[(&'a str, &Server)]) -> &'a str {
        let started = Instant::now();
        loop {
            for (name, server) in nodes {
                if leads(server) {
                    return name;
                }
            }
            assert!(started.elapsed() < PATIENCE, "nobody writes the log");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// What a node says of how it is.
pub(crate) fn ready(server: &Server) -> Value {
    let answer = super::http::get(&server.address, "/health/ready");
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

/// Whether a node writes the log.
pub(crate) fn leads(server: &Server) -> bool {
    let detail = ready(server)["components"]["leader"]["detail"].take();
    detail
        .as_str()
        .is_some_and(|detail| detail.starts_with("writes the log"))
}

/// Waits until a node is at least at a position.
pub(crate) fn reach(server: &Server, position: u64) {
    server.wait_until("/health/ready", |health| {
        health["position"].as_u64().is_some_and(|at| at >= position)
    });
}
