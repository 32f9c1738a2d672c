//! Processes that are measured: started, asked, stopped by their own handle.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

/// A process that is killed when it goes out of scope.
pub(crate) struct Guarded(pub(crate) Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _killed = self.0.kill();
        let _reaped = self.0.wait();
    }
}

pub(crate) fn start(program: &Path, args: &[&str]) -> anyhow::Result<Guarded> {
    let child = Command::new(program)
        .args(args)
        // What a server can do is measured, not what it lets one client do.
        .env("CAIRN_LIMITS__ENABLED", "false")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    Ok(Guarded(child.with_context(|| {
        format!("starting {}", program.display())
    })?))
}

/// A server in a directory that follows a node, with more keys of its source.
pub(crate) fn follow(
    cairn: &Path,
    directory: &Path,
    listen: &str,
    node: &str,
    source: &str,
) -> anyhow::Result<Guarded> {
    let (config, data) = (directory.join("cairn.toml"), directory.join("data"));
    let text = format!(
        "[server]\nlisten = \"{listen}\"\n[data]\ndir = \"{}\"\n[[source]]\nname = \"bench\"\nkind = \"evm-rpc\"\nurl = \"http://{node}\"\n{source}\n",
        data.display()
    );
    std::fs::write(&config, text)?;
    start(cairn, &["serve", "-c", &config.to_string_lossy()])
}

/// The body of a GET, if it was answered with 200.
pub(crate) fn get(address: &str, path: &str) -> Option<String> {
    ask(
        address,
        &format!("GET {path} HTTP/1.0\r\nhost: bench\r\n\r\n"),
    )
}

/// What was answered to a POST, if it was with 200.
pub(crate) fn post(address: &str, path: &str, kind: &str, body: &str) -> Option<String> {
    let length = body.len();
    let head = format!("POST {path} HTTP/1.0\r\nhost: bench\r\ncontent-type: {kind}");
    ask(
        address,
        &format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}"),
    )
}

/// The body of the answer to a request over HTTP/1.0, if its status is 200.
fn ask(address: &str, request: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .ok()?;
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.lines()
        .next()?
        .contains(" 200 ")
        .then(|| body.to_owned())
}

/// Asks until the answer fits, at most for `patience`; gives the time it took.
pub(crate) fn wait_until(
    address: &str,
    path: &str,
    patience: Duration,
    fits: impl Fn(&str) -> bool,
) -> anyhow::Result<f64> {
    let start = Instant::now();
    while start.elapsed() < patience {
        if get(address, path).is_some_and(|body| fits(&body)) {
            return Ok(start.elapsed().as_secs_f64());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    bail!("{address}{path} did not answer as expected within {patience:?}")
}

/// Resident memory of a process, in MiB.
pub(crate) fn resident_mib(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse::<f64>()? / 1024.0)
}

/// Bytes of a directory with all that is in it.
pub(crate) fn disk_bytes(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else {
        return 0;
    };
    let size = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => disk_bytes(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}
