//! The admin socket, `<data>/cairn.sock`: how commands reach a running server.
//!
//! HTTP/1.1 over a Unix socket that only its owner may open. `POST /v1/operations` takes the request
//! as JSON in the header `cairn-request`, the blocks of an ingest as its body, and answers messages, a
//! JSON object a line. Receipts come on a connection of their own, `POST /v1/receipts/{token}`, where
//! the token is also in the header `cairn-receipts` of the operation.
//!
//! Other nodes of the deployment send the same under `/internal/v1/…` of the HTTP address, with a
//! proof of the operator key, and only what is the business of the node that writes the log.
//! `POST /internal/v1/leads/{shard}` says whether it is that node.

use std::{
    fs::File,
    io,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
};

mod client;
mod listener;
mod server;
mod uploads;

pub(crate) use client::{Place, connect, connect_to, leads};
pub(crate) use listener::SocketFile;
pub(crate) use server::{peer_router, router};

/// Before the paths of what other nodes ask.
const PEER_PREFIX: &str = "/internal";
/// The header that holds the request.
const REQUEST: &str = "cairn-request";
/// The header that says on which token the receipts come.
const RECEIPTS: &str = "cairn-receipts";
/// Frames of an upload are at most so long.
const CHUNK_BYTES: usize = 64 << 10;

/// A path to a socket that fits the kernel's 108 bytes, and what keeps it valid.
struct ShortPath {
    path: PathBuf,
    _directory: Option<File>,
}

/// Long paths go through the open directory.
fn short_path(path: &Path) -> io::Result<ShortPath> {
    const KERNEL_LIMIT: usize = 107;
    if path.as_os_str().len() <= KERNEL_LIMIT {
        return Ok(ShortPath {
            path: path.to_owned(),
            _directory: None,
        });
    }
    let parent = path
        .parent()
        .filter(|parent| !parent.as_os_str().is_empty());
    let directory = File::open(parent.unwrap_or(Path::new(".")))?;
    let name = path.file_name().unwrap_or_default();
    let path = Path::new("/proc/self/fd")
        .join(directory.as_raw_fd().to_string())
        .join(name);
    Ok(ShortPath {
        path,
        _directory: Some(directory),
    })
}

#[cfg(test)]
mod tests;
