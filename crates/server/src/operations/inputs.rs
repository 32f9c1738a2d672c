//! What an operation reads: files of this process, or what comes through the socket.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

use anyhow::Context as _;
use bytes::{Buf, Bytes};
use tokio::sync::mpsc;

/// A stream of bytes to read, in any thread that may block.
pub(crate) type Input = Box<dyn Read + Send>;

/// The streams of an operation.
#[derive(Default)]
pub(crate) struct Inputs {
    /// Lines of blocks.
    pub(crate) blocks: Option<Input>,
    /// Lines of receipts.
    pub(crate) receipts: Option<Input>,
}

/// The input's name, its size if that is known, and its bytes.
pub(crate) fn open_blocks(path: &Path) -> anyhow::Result<(String, Option<u64>, Input)> {
    if path.as_os_str() == "-" {
        return Ok(("stdin".into(), None, Box::new(io::stdin())));
    }
    let (size, file) = open_file(path)?;
    Ok((path.display().to_string(), size, Box::new(file)))
}

/// The file's size, if it is an ordinary file, and its bytes.
pub(crate) fn open_file(path: &Path) -> anyhow::Result<(Option<u64>, File)> {
    let failed = || {
        format!(
            "cannot open {}: name a file that you may read",
            path.display()
        )
    };
    let file = File::open(path).with_context(failed)?;
    let metadata = file.metadata().with_context(failed)?;
    anyhow::ensure!(
        !metadata.is_dir(),
        "{} is a directory: name a file in it",
        path.display()
    );
    Ok((metadata.is_file().then_some(metadata.len()), file))
}

/// Reads what another task sends. A sender that goes away before it said so is an error, so that half
/// a file is never taken for a whole one.
pub(crate) struct ChannelReader {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
    ended: bool,
}

impl ChannelReader {
    /// A reader and its sender. An empty chunk is the end.
    pub(crate) fn channel() -> (mpsc::Sender<io::Result<Bytes>>, Self) {
        let (sender, chunks) = mpsc::channel(16);
        (
            sender,
            Self {
                chunks,
                current: Bytes::new(),
                ended: false,
            },
        )
    }
}

impl Read for ChannelReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.current.is_empty() && !self.ended {
            let gone = || {
                io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "the sender went away half-way",
                )
            };
            self.current = self.chunks.blocking_recv().ok_or_else(gone)??;
            self.ended = self.current.is_empty();
        }
        let length = out.len().min(self.current.len());
        self.current.copy_to_slice(&mut out[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_read_and_half_a_file_is_an_error() {
        let (sender, mut reader) = ChannelReader::channel();
        for chunk in ["ab", "cde", ""] {
            sender
                .blocking_send(Ok(Bytes::from_static(chunk.as_bytes())))
                .unwrap();
        }
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "abcde");

        let (sender, mut reader) = ChannelReader::channel();
        sender.blocking_send(Ok(Bytes::from_static(b"ab"))).unwrap();
        drop(sender);
        let error = reader.read_to_string(&mut text).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
