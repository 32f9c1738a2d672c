//! A program beside the server that never outlives it.

use std::{ffi::OsString, fs::File, path::Path, process::Stdio, time::Duration};

use anyhow::Context as _;
use tokio::process::{Child as Process, Command};

/// Starts the program and terminates it when the pipe closes, which it also does when this process is
/// killed.
const GUARD: &str = r#""$@" </dev/null & program=$!; cat >/dev/null; kill -TERM $program 2>/dev/null; wait $program"#;
/// After so long a program that does not stop is killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// A running program. Dropping it terminates the program.
pub(super) struct Child(Process);

impl Child {
    /// Starts a program; what it prints goes to a file.
    pub(super) fn spawn(program: &Path, args: &[OsString], log: &Path) -> anyhow::Result<Self> {
        let failed = || format!("cannot start {}", program.display());
        let output =
            File::create(log).with_context(|| format!("cannot write {}", log.display()))?;
        let errors = output.try_clone().with_context(failed)?;
        let process = Command::new("sh")
            .args(["-c", GUARD, "guard"])
            .arg(program)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(output)
            .stderr(errors)
            // Ctrl-C is for this process, which then stops the program in order.
            .process_group(0)
            .spawn();
        Ok(Self(process.with_context(failed)?))
    }

    /// Terminates the program and waits until it is gone.
    pub(super) async fn stop(mut self) {
        drop(self.0.stdin.take());
        if tokio::time::timeout(PATIENCE, self.0.wait()).await.is_err() {
            // It is on its way out in any case.
            let _killed = self.0.kill().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Starts a program that writes down its id and then sleeps; gives both.
    async fn sleeper(directory: &Path) -> (Child, String) {
        let script = "echo $$; exec sleep 1000";
        let log = directory.join("log");
        let child = Child::spawn(Path::new("sh"), &["-c".into(), script.into()], &log).unwrap();
        loop {
            match std::fs::read_to_string(&log) {
                Ok(id) if id.ends_with('\n') => return (child, id.trim().to_owned()),
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    fn runs(id: &str) -> bool {
        // A process that is gone but not waited for has an empty command line.
        std::fs::read(format!("/proc/{id}/cmdline")).is_ok_and(|line| !line.is_empty())
    }

    #[tokio::test]
    async fn a_program_is_gone_when_it_was_stopped() {
        let directory = tempfile::tempdir().unwrap();
        let (child, id) = sleeper(directory.path()).await;
        assert!(runs(&id));
        child.stop().await;
        assert!(!runs(&id));
    }

    #[tokio::test]
    async fn a_program_does_not_outlive_a_handle_that_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let (child, id) = sleeper(directory.path()).await;
        drop(child);
        for _ in 0..500 {
            if !runs(&id) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("it still runs");
    }
}
