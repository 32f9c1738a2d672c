//! The socket's file: made so that nobody else can ever open it, removed at the end.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use tokio::net::{UnixListener, UnixStream};

use super::short_path;

/// The file of a bound socket; dropping it removes the file.
#[derive(Debug)]
pub(crate) struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A file that is gone already needs no removing.
        let _gone = fs::remove_file(&self.0);
    }
}

impl SocketFile {
    /// Binds the socket. A file that nobody answers behind is left over from a crash and goes.
    pub(crate) async fn bind(path: &Path) -> anyhow::Result<(Self, UnixListener)> {
        remove_stale(path).await?;
        let listener = bind_privately(path);
        let way_out = "the data directory must be on a local, writable file system";
        let listener = listener
            .with_context(|| format!("cannot make the socket {}: {way_out}", path.display()))?;
        Ok((Self(path.to_owned()), listener))
    }
}

async fn remove_stale(path: &Path) -> anyhow::Result<()> {
    if !path.exists() {
        return Ok(());
    }
    if UnixStream::connect(&short_path(path)?.path).await.is_ok() {
        bail!(
            "another server answers on {}: stop it first",
            path.display()
        );
    }
    fs::remove_file(path)
        .with_context(|| format!("cannot remove the stale socket {}", path.display()))
}

/// Binds inside a directory that only the owner can enter, and moves the socket out when its
/// permissions are set: at no time can anybody else open it.
fn bind_privately(path: &Path) -> io::Result<UnixListener> {
    let directory = path.with_extension("sock-new");
    match fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::DirBuilder::new().mode(0o700).create(&directory)?,
    }
    let private = directory.join("s");
    let listener = UnixListener::bind(&short_path(&private)?.path)?;
    fs::set_permissions(&private, fs::Permissions::from_mode(0o600))?;
    fs::rename(&private, path)?;
    fs::remove_dir(&directory)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_living_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cairn.sock");
        let (file, listener) = SocketFile::bind(&path).await.unwrap();
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        let error = SocketFile::bind(&path).await.unwrap_err();
        assert!(
            error.to_string().contains("another server answers"),
            "{error}"
        );
        drop(listener);
        std::mem::forget(file);
        let (file, _listener) = SocketFile::bind(&path).await.unwrap();
        drop(file);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_path_longer_than_the_kernel_takes_works_all_the_same() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("x".repeat(120));
        fs::create_dir(&deep).unwrap();
        let path = deep.join("cairn.sock");
        let (_file, _listener) = SocketFile::bind(&path).await.unwrap();
        UnixStream::connect(&short_path(&path).unwrap().path)
            .await
            .unwrap();
    }
}
