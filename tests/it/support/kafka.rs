//! Apache Kafka itself, as `ops/kafka.sh` runs it: one broker that all tests share, three that tests may
//! hurt, each test with topics of its own.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use cairn_engine::log::KafkaOptions;
use tempfile::TempDir;
use tokio::sync::{Mutex, MutexGuard};

use super::process::repository;

/// Brokers that run until this process ends.
pub(crate) struct Cluster {
    path: PathBuf,
    _directory: Option<TempDir>,
    /// Where they answer.
    pub(crate) brokers: String,
}

impl Cluster {
    /// Starts brokers, with these flags of `ops/kafka.sh start`.
    pub(crate) fn start(flags: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut cluster = Self::start_in(directory.path(), flags);
        cluster._directory = Some(directory);
        cluster
    }

    /// As [`Cluster::start`], with the data in this directory.
    pub(crate) fn start_in(directory: &Path, flags: &[&str]) -> Self {
        let own = std::process::id().to_string();
        let mut arguments = vec!["start", path(directory), "--while", &own];
        arguments.extend(flags);
        let brokers = kafka_sh(&arguments);
        Self {
            path: directory.to_owned(),
            _directory: None,
            brokers,
        }
    }

    /// The directory of its data.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Takes a broker's life. They count from 1.
    pub(crate) fn kill(&self, node: u32) {
        kafka_sh(&["kill", path(self.path()), &node.to_string()]);
    }

    /// Takes a broker's life, if it still has one.
    pub(crate) fn kill_if_alive(&self, node: u32) {
        let script = repository().join("ops/kafka.sh");
        let arguments = ["kill", path(self.path()), &node.to_string()];
        // One that has ended cannot be killed.
        let _ended = Command::new(script).args(arguments).output();
    }

    /// Starts a broker that is down.
    pub(crate) fn restart(&self, node: u32) {
        kafka_sh(&["restart", path(self.path()), &node.to_string()]);
    }

    /// A port of a broker, such as `PROXIED`.
    pub(crate) fn port(&self, node: u32, name: &str) -> u16 {
        let file = self.path().join(format!("node-{node}/ports"));
        let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{file:?}: {e}"));
        let prefix = format!("{name}=");
        let line = text.lines().find_map(|line| line.strip_prefix(&prefix));
        let port = line.unwrap_or_else(|| panic!("no {name} in {text}"));
        port.parse().unwrap_or_else(|e| panic!("{port}: {e}"))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let script = repository().join("ops/kafka.sh");
        // What is left, the watchdog stops.
        let _stopped = Command::new(script)
            .args(["stop", path(self.path())])
            .status();
    }
}

fn path(path: &Path) -> &str {
    path.to_str()
        .expect("temporary directories have plain names")
}

/// Runs the script; a failure is that of the test, with what the script said.
pub(crate) fn kafka_sh(arguments: &[&str]) -> String {
    let script = repository().join("ops/kafka.sh");
    let output = Command::new(&script)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    assert!(
        output.status.success(),
        "ops/kafka.sh {arguments:?} failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// The brokers of the single node that all tests share: Kafka itself, or what `KAFKA_BOOTSTRAP` names.
pub(crate) fn single() -> String {
    static SINGLE: OnceLock<(String, Option<Cluster>)> = OnceLock::new();
    let start = || match std::env::var("KAFKA_BOOTSTRAP") {
        Ok(brokers) => (brokers, None),
        Err(_) => {
            let cluster = Cluster::start(&["--nodes", "1"]);
            (cluster.brokers.clone(), Some(cluster))
        }
    };
    SINGLE.get_or_init(start).0.clone()
}

/// Three brokers, for one test at a time, all of them alive.
pub(crate) async fn three() -> MutexGuard<'static, Cluster> {
    static THREE: OnceLock<Mutex<Cluster>> = OnceLock::new();
    let start = || Mutex::new(Cluster::start(&["--nodes", "3"]));
    let cluster = tokio::task::block_in_place(|| THREE.get_or_init(start))
        .lock()
        .await;
    // What an earlier test left down comes back.
    kafka_sh(&["start", path(cluster.path())]);
    cluster
}

/// A topic of its own for each directory, which holds the index.
pub(crate) fn options(brokers: &str, directory: &Path) -> KafkaOptions {
    KafkaOptions::new(brokers, &topic(directory), directory.join("index"))
}

/// The topic that a directory stands for.
pub(crate) fn topic(directory: &Path) -> String {
    let fits = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let name: String = path(directory).chars().map(fits).collect();
    format!("it-{}{name}", std::process::id())
}

/// What `kcat` prints with these arguments.
pub(crate) fn kcat(arguments: &[&str]) -> String {
    let output = Command::new("kcat")
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    let output = output.unwrap_or_else(|error| panic!("kcat (ops/setup.sh --kafka): {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kcat {arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
