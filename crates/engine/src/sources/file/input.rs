//! Where a file of blocks comes from, and what it is packed with.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::error::{FileError, Problem};

const BUFFER: usize = 1 << 20;

/// Blocks, and their receipts if they are in a file of their own.
pub struct FileInput {
    pub(super) blocks: Part,
    pub(super) receipts: Option<Part>,
    pub(super) total: Option<u64>,
}

/// One stream of lines.
pub(super) struct Part {
    pub(super) name: String,
    pub(super) reader: Box<dyn Read + Send>,
}

impl FileInput {
    /// Opens files; `-` as the path of the blocks is the standard input.
    ///
    /// # Errors
    /// [`FileError`] where the system refuses.
    pub fn open(blocks: &Path, receipts: Option<&Path>) -> Result<Self, FileError> {
        let receipts = receipts.map(open).transpose()?;
        if blocks.as_os_str() == "-" {
            let blocks = Part {
                name: "standard input".into(),
                reader: Box::new(io::stdin()),
            };
            return Ok(Self {
                blocks,
                receipts: receipts.map(|(part, _)| part),
                total: None,
            });
        }
        let (blocks, total) = open(blocks)?;
        Ok(Self {
            blocks,
            receipts: receipts.map(|(part, _)| part),
            total,
        })
    }

    /// Takes blocks from any reader; `name` stands for it in messages.
    pub fn new(name: impl Into<String>, blocks: impl Read + Send + 'static) -> Self {
        let blocks = Part {
            name: name.into(),
            reader: Box::new(blocks),
        };
        Self {
            blocks,
            receipts: None,
            total: None,
        }
    }

    /// Adds a reader of lines `{number, hash, receipts}`, in the order of the blocks.
    #[must_use]
    pub fn with_receipts(
        mut self,
        name: impl Into<String>,
        receipts: impl Read + Send + 'static,
    ) -> Self {
        self.receipts = Some(Part {
            name: name.into(),
            reader: Box::new(receipts),
        });
        self
    }
}

fn open(path: &Path) -> Result<(Part, Option<u64>), FileError> {
    let name = path.display().to_string();
    let fail = |error: io::Error| FileError {
        file: name.clone(),
        line: None,
        problem: Problem::Unreadable(format!("cannot be opened: {error}")),
    };
    let file = File::open(path).map_err(fail)?;
    let metadata = file.metadata().map_err(fail)?;
    if metadata.is_dir() {
        return Err(fail(io::ErrorKind::IsADirectory.into()));
    }
    let total = metadata.is_file().then_some(metadata.len());
    Ok((
        Part {
            name,
            reader: Box::new(file),
        },
        total,
    ))
}

/// Counts what passes.
struct Counted<R> {
    inner: R,
    count: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// Unpacks a stream, whatever its first bytes say that it is packed with. `count` grows with what is
/// read of the packed stream.
pub(super) fn unpack(
    reader: Box<dyn Read + Send>,
    count: Arc<AtomicU64>,
) -> io::Result<Box<dyn BufRead + Send>> {
    let mut packed = BufReader::with_capacity(
        BUFFER,
        Counted {
            inner: reader,
            count,
        },
    );
    // One fill may be short on a pipe, but never shorter than what is needed to tell.
    let start = packed.fill_buf()?;
    let unpacked: Box<dyn BufRead + Send> = match start {
        [0x1f, 0x8b, ..] => {
            let decoder = flate2::bufread::MultiGzDecoder::new(packed);
            Box::new(BufReader::with_capacity(BUFFER, decoder))
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
            Box::new(BufReader::with_capacity(BUFFER, decoder))
        }
        _ => Box::new(packed),
    };
    Ok(unpacked)
}
