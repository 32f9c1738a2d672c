//! The real binary: commands that end, and servers.

use std::{
    ffi::OsStr,
    io::{BufRead as _, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, OnceLock, mpsc},
    thread,
    time::{Duration, Instant, SystemTime},
};

use serde_json::Value;

/// Longer than anything here may take, even on a machine that does a lot else.
const PATIENCE: Duration = Duration::from_secs(120);

/// The top of the repository.
pub(crate) fn repository() -> PathBuf {
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    top.expect("the tests crate lies in the repository")
        .to_owned()
}

/// The binary `cairn` of the same build.
pub(crate) fn binary() -> PathBuf {
    let own = std::env::current_exe().expect("the path of this test binary");
    let path = own
        .parent()
        .and_then(Path::parent)
        .expect("target/debug/deps")
        .join("cairn");
    assert!(
        path.is_file(),
        "{} is missing: `cargo test` does not build it for this crate, run `cargo build --workspace` first",
        path.display()
    );
    path
}

/// Recorded data that only developers have; says so when it is not there.
pub(crate) fn shared_data(folder: &str) -> Option<PathBuf> {
    let path = repository().join("../shared/data").join(folder);
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("SKIPPED: {} is not on this machine", path.display());
    None
}

/// The Python that reads lakes, with a script.
pub(crate) fn lake_python(script: &str) -> Command {
    let python = repository().join("target/tools/lake-venv/bin/python");
    assert!(
        python.is_file(),
        "{} is missing: run ops/setup.sh --lake",
        python.display()
    );
    let mut command = Command::new(python);
    command.arg(repository().join("tests/independent").join(script));
    command
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Of a command that must have done what it was asked.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "it failed: {self:#?}");
        self.whole()
    }

    /// Of a command that must have failed with a code and a message that holds all of `parts`.
    #[track_caller]
    pub(crate) fn refused(self, code: i32, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "another end was expected: {self:#?}");
        for part in parts {
            assert!(
                self.stderr.contains(part),
                "the message lacks `{part}`: {self:#?}"
            );
        }
        self.whole()
    }

    /// Never a panic, whatever happened.
    #[track_caller]
    fn whole(self) -> Self {
        assert!(!self.stderr.contains("panicked"), "a panic: {self:#?}");
        self
    }

    /// What it printed, as JSON.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }
}

/// The binary with arguments, in the repository, with nothing of this process's configuration.
pub(crate) fn cairn<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(binary());
    command
        .args(arguments)
        .current_dir(repository())
        .stdin(Stdio::null());
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CAIRN_") {
            command.env_remove(name);
        }
    }
    // A test asks as often as it likes, unless it is about that.
    command.env(LIMITS, "false");
    command
}

/// Whether servers limit those who ask.
pub(crate) const LIMITS: &str = "CAIRN_LIMITS__ENABLED";

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Ended {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// A data directory, and commands on it.
pub(crate) struct DataDir {
    directory: tempfile::TempDir,
}

impl DataDir {
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
        }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// A file beside the data.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.directory.path().join(name);
        std::fs::write(&path, content).expect("a file can be written");
        path
    }

    /// A command on it that is not started yet.
    pub(crate) fn command(&self, line: &str) -> Command {
        let mut command = cairn(["--data-dir"]);
        command.arg(self.path()).args(line.split(' '));
        command
    }

    /// Runs a command on it; arguments are separated by one space.
    pub(crate) fn cairn(&self, line: &str) -> Ended {
        run(&mut self.command(line))
    }

    /// One that holds all of the samples, as final.
    pub(crate) fn with_samples() -> Self {
        let data = Self::new();
        let copied = Command::new("cp")
            .arg("-a")
            .arg(ingested_samples())
            .arg(data.path())
            .status();
        assert!(
            copied.expect("cp runs").success(),
            "the samples could not be copied"
        );
        data
    }

    /// Takes in all of the samples.
    pub(crate) fn ingest_samples(&self) -> Ended {
        self.cairn(SAMPLES).ok()
    }

    /// The log's head.
    pub(crate) fn head(&self) -> u64 {
        let stat = self.cairn("log stat --json").ok().json();
        stat["head"].as_u64().unwrap_or_else(|| panic!("{stat}"))
    }

    /// Starts a server on a free port and waits until it listens.
    pub(crate) fn serve(&self) -> Server {
        Server::start(&mut self.command("serve --listen 127.0.0.1:0"))
    }

    /// Asserts that the store is what the log says.
    #[track_caller]
    pub(crate) fn verify(&self) {
        let ended = self.cairn("verify").ok();
        assert!(ended.stdout.contains("equals a fresh fold"), "{ended:#?}");
    }
}

/// A data directory with the samples, made once for each build of the binary.
fn ingested_samples() -> &'static Path {
    static SAMPLES: OnceLock<PathBuf> = OnceLock::new();
    SAMPLES.get_or_init(|| {
        let binary = binary();
        let built = binary
            .metadata()
            .and_then(|metadata| metadata.modified())
            .expect("a time");
        let stamp = built
            .duration_since(SystemTime::UNIX_EPOCH)
            .expect("since 1970")
            .as_nanos();
        let home = binary.with_file_name(format!("it-samples-{stamp}"));
        if !home.is_dir() {
            let beside = binary.parent().expect("a folder");
            remove_older_samples(beside);
            let directory = tempfile::tempdir_in(beside).expect("a temporary directory");
            let data = DataDir { directory };
            data.ingest_samples();
            // Another test binary may have been quicker.
            let renamed = std::fs::rename(data.path(), &home);
            assert!(home.is_dir(), "{}: {renamed:?}", home.display());
        }
        home
    })
}

fn remove_older_samples(folder: &Path) {
    let entries = std::fs::read_dir(folder)
        .expect("a readable folder")
        .flatten();
    let old = entries.filter(|entry| {
        entry
            .file_name()
            .to_string_lossy()
            .starts_with("it-samples-")
    });
    for entry in old {
        // What cannot be removed only takes space.
        let _removed = std::fs::remove_dir_all(entry.path());
    }
}

/// The command that takes in the samples.
pub(crate) const SAMPLES: &str = "ingest samples/blocks.jsonl.zst --receipts samples/receipts.jsonl.zst --chain sample --final --json";
/// Blocks of the samples.
pub(crate) const SAMPLE_BLOCKS: u64 = 2063;

/// A running server; killed when dropped.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) address: String,
    /// From start to listening.
    pub(crate) took: Duration,
    log: Arc<Mutex<String>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Server {
    /// Starts it and waits for the log line that says `listening`.
    pub(crate) fn start(command: &mut Command) -> Self {
        let started = Instant::now();
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stderr = BufReader::new(child.stderr.take().expect("stderr is piped"));
        let log = Arc::<Mutex<String>>::default();
        let (heard, address) = mpsc::channel();
        let kept = Arc::clone(&log);
        thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                if let Some(address) = listening(&line) {
                    // Only the first such line is waited for.
                    let _sent = heard.send(address);
                }
                let mut kept = kept.lock().expect("no panic holds it");
                kept.push_str(&line);
                kept.push('\n');
            }
        });
        let address = address.recv_timeout(PATIENCE).unwrap_or_else(|error| {
            let _ended = child.kill();
            panic!(
                "the server does not listen ({error}): {}",
                log.lock().expect("no panic holds it")
            )
        });
        Self {
            child,
            address,
            took: started.elapsed(),
            log,
        }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().expect("no panic holds it").clone()
    }

    /// Takes its life, without a warning.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Asks it to stop and waits until it has; gives its exit status and how long that took.
    pub(crate) fn terminate(mut self) -> (ExitStatus, Duration) {
        let asked = Instant::now();
        let pid = self.child.id().to_string();
        let sent = Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .expect("kill runs");
        assert!(sent.success(), "SIGTERM could not be sent");
        while asked.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                assert!(!self.log().contains("panicked"), "a panic: {}", self.log());
                return (status, asked.elapsed());
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not stop: {}", self.log())
    }

    /// Asks until a condition on the answer's JSON holds.
    pub(crate) fn wait_until(&self, path: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let answer = super::http::get(&self.address, path);
            let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            if holds(&json) {
                return json;
            }
            assert!(
                started.elapsed() < PATIENCE,
                "{path} still answers {} {json}: {}",
                answer.status,
                self.log()
            );
            thread::sleep(Duration::from_millis(50));
        }
    }
}

/// The address in the log line that says `listening`; log lines are JSON where stderr is no terminal.
fn listening(line: &str) -> Option<String> {
    let line: Value = serde_json::from_str(line).ok()?;
    let fields = &line["fields"];
    (fields["message"] == "listening").then(|| fields["address"].as_str().map(str::to_owned))?
}

/// The lines of a file packed with Zstandard.
pub(crate) fn unpack(path: &Path) -> Vec<String> {
    let file = std::fs::File::open(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    let mut text = String::new();
    let mut decoder = zstd::Decoder::new(file).expect("a zstd stream");
    decoder.read_to_string(&mut text).expect("text");
    text.lines().map(|line| format!("{line}\n")).collect()
}
