//! Lines of bounded length, numbered from 1, blank ones left out.

use std::{
    io::{BufRead, Read as _},
    sync::{Arc, atomic::AtomicU64},
};

use super::{
    error::{FileError, Problem},
    input::{Part, unpack},
};

/// The lines of one file.
pub(super) struct Lines {
    pub(super) name: String,
    reader: Box<dyn BufRead + Send>,
    number: u64,
    max: usize,
}

/// One line with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) number: u64,
    pub(super) text: String,
    /// Whether a line end follows: the last line of a file that is cut off has none.
    pub(super) ended: bool,
}

impl Lines {
    pub(super) fn new(part: Part, max: usize, count: Arc<AtomicU64>) -> Result<Self, FileError> {
        let Part { name, reader } = part;
        match unpack(reader, count) {
            Ok(reader) => Ok(Self {
                name,
                reader,
                number: 0,
                max,
            }),
            Err(error) => {
                let problem = Problem::Unreadable(format!("cannot be read: {error}"));
                Err(FileError {
                    file: name,
                    line: None,
                    problem,
                })
            }
        }
    }

    fn error(&self, problem: Problem) -> FileError {
        FileError {
            file: self.name.clone(),
            line: Some(self.number),
            problem,
        }
    }

    /// The next line that is not blank.
    pub(super) fn next(&mut self) -> Result<Option<Line>, FileError> {
        loop {
            match self.read()? {
                Some(line) if line.text.trim_ascii().is_empty() => {}
                other => return Ok(other),
            }
        }
    }

    fn read(&mut self) -> Result<Option<Line>, FileError> {
        self.number += 1;
        let mut bytes = Vec::new();
        let limit = self.max as u64 + 1;
        let read = self
            .reader
            .by_ref()
            .take(limit)
            .read_until(b'\n', &mut bytes);
        if let Err(error) = read {
            let reason =
                format!("cannot be read on: {error}; if the file is cut off, get it again");
            return Err(self.error(Problem::Unreadable(reason)));
        }
        if bytes.is_empty() {
            return Ok(None);
        }
        let ended = bytes.last() == Some(&b'\n');
        if bytes.len() > self.max && !ended {
            let problem = if bytes.contains(&0) {
                Problem::Binary
            } else {
                Problem::LongLine(self.max)
            };
            return Err(self.error(problem));
        }
        match String::from_utf8(bytes) {
            Ok(text) if !text.contains('\0') => Ok(Some(Line {
                number: self.number,
                text,
                ended,
            })),
            _ => Err(self.error(Problem::Binary)),
        }
    }
}
