//! A file with the digest of what was written to it.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
};

use sha2::{Digest as _, Sha256};

/// See the module.
pub(crate) struct Hashed {
    file: BufWriter<File>,
    digest: Sha256,
    bytes: u64,
}

impl Hashed {
    /// An empty file.
    pub(crate) fn new(file: BufWriter<File>) -> Self {
        Self {
            file,
            digest: Sha256::new(),
            bytes: 0,
        }
    }

    /// Makes it durable; gives its size in bytes and its SHA-256 in hex.
    pub(crate) fn finish(self) -> io::Result<(u64, String)> {
        let file = self
            .file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok((self.bytes, const_hex::encode(self.digest.finalize())))
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_all(bytes)?;
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
