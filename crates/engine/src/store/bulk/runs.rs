//! Sorted runs on disk: what a chunk of a rebuild wrote to one table, by key, newest first.
//!
//! A row is the lengths of its key and its value (4 bytes each, little endian; a deletion has all
//! bits set for the value's), its position (8 bytes), key and value.

use std::{
    collections::{BinaryHeap, binary_heap::PeekMut},
    fs::File,
    io::{BufRead, BufReader, BufWriter, Result, Write},
    path::{Path, PathBuf},
};

use cairn_domain::{Position, table::TableDef};

use crate::store::overlay::{TableVersions, VersionRef};

/// The most runs that are merged at once: each is an open file and a buffer.
const FAN_IN: usize = 128;
/// The memory that the buffers of a merge take together, in bytes.
const BUFFERS: usize = 16 << 20;

/// A sorted run of one table.
pub(super) struct Run {
    pub(super) table: &'static TableDef,
    pub(super) path: PathBuf,
    /// Bytes of keys and values.
    pub(super) bytes: u64,
}

struct RunWriter {
    table: &'static TableDef,
    path: PathBuf,
    out: BufWriter<File>,
    bytes: u64,
}

impl RunWriter {
    fn create(table: &'static TableDef, path: PathBuf) -> Result<Self> {
        let out = BufWriter::with_capacity(1 << 20, File::create(&path)?);
        Ok(Self {
            table,
            path,
            out,
            bytes: 0,
        })
    }

    fn write(&mut self, (key, position, value): VersionRef<'_>) -> Result<()> {
        let mut header = [0; 16];
        let length = value.map_or(u32::MAX, |value| value.len() as u32);
        header[..4].copy_from_slice(&(key.len() as u32).to_le_bytes());
        header[4..8].copy_from_slice(&length.to_le_bytes());
        header[8..].copy_from_slice(&position.0.to_le_bytes());
        let value = value.unwrap_or_default();
        self.bytes += (key.len() + value.len()) as u64;
        for part in [&header, key, value] {
            self.out.write_all(part)?;
        }
        Ok(())
    }

    fn finish(mut self) -> Result<Run> {
        self.out.flush()?;
        Ok(Run {
            table: self.table,
            path: self.path,
            bytes: self.bytes,
        })
    }
}

/// Sorts the rows of a chunk and writes them.
pub(super) fn write(path: PathBuf, versions: &TableVersions) -> Result<Run> {
    let mut run = RunWriter::create(versions.table, path)?;
    for index in versions.sorted() {
        run.write(versions.at(index))?;
    }
    run.finish()
}

/// The next row of a run, ordered so that a max-heap gives the smallest key, newest first.
#[derive(PartialEq, Eq)]
struct Head {
    key: Vec<u8>,
    position: Position,
    /// Whether `value` holds anything; else the row was deleted.
    lives: bool,
    value: Vec<u8>,
    run: usize,
}

impl Ord for Head {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let keys = other.key.cmp(&self.key);
        keys.then(self.position.cmp(&other.position))
            .then(self.run.cmp(&other.run))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Head {
    fn new(run: usize) -> Self {
        Self {
            key: Vec::new(),
            position: Position(0),
            lives: false,
            value: Vec::new(),
            run,
        }
    }

    /// Takes the next row of its run; false at the end.
    fn advance(&mut self, file: &mut impl BufRead) -> Result<bool> {
        if file.fill_buf()?.is_empty() {
            return Ok(false);
        }
        let mut header = [[0; 4]; 4];
        file.read_exact(header.as_flattened_mut())?;
        let [key, value, low, high] = header.map(u32::from_le_bytes);
        self.position = Position(u64::from(low) | u64::from(high) << 32);
        self.lives = value != u32::MAX;
        self.key.resize(key as usize, 0);
        self.value
            .resize(if self.lives { value as usize } else { 0 }, 0);
        file.read_exact(&mut self.key)?;
        file.read_exact(&mut self.value)?;
        Ok(true)
    }

    fn row(&self) -> VersionRef<'_> {
        let value = self.lives.then_some(&self.value[..]);
        (&self.key, self.position, value)
    }
}

/// Gives the rows of runs of one table in order: by key, newest first; of equal ones that of the
/// last run comes first.
pub(super) fn merge<E: From<std::io::Error>>(
    runs: &[Run],
    mut take: impl FnMut(VersionRef<'_>) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let capacity = (BUFFERS / runs.len().max(1)).min(1 << 20);
    let open = |run: &Run| File::open(&run.path).map(|f| BufReader::with_capacity(capacity, f));
    let mut inputs = runs.iter().map(open).collect::<Result<Vec<_>>>()?;
    let mut heads = BinaryHeap::new();
    for (index, input) in inputs.iter_mut().enumerate() {
        let mut head = Head::new(index);
        if head.advance(input)? {
            heads.push(head);
        }
    }
    while let Some(mut head) = heads.peek_mut() {
        take(head.row())?;
        let input = &mut inputs[head.run];
        if !head.advance(input)? {
            PeekMut::pop(head);
        }
    }
    Ok(())
}

/// Merges runs of one table until so few are left that they can be merged at once; `check` may stop
/// it between two groups.
pub(super) fn reduce<E: From<std::io::Error>>(
    mut runs: Vec<Run>,
    directory: &Path,
    check: impl Fn() -> std::result::Result<(), E>,
) -> std::result::Result<Vec<Run>, E> {
    while runs.len() > FAN_IN {
        // Neighbours, so that the order of runs stays that of chunks.
        let mut reduced = Vec::new();
        for group in runs.chunks(FAN_IN) {
            check()?;
            reduced.push(join(group, directory)?);
        }
        runs = reduced;
    }
    Ok(runs)
}

fn join(runs: &[Run], directory: &Path) -> Result<Run> {
    let name = runs[0].path.file_name().unwrap_or_default();
    let path = directory.join(format!("{}-joined", name.to_string_lossy()));
    let mut joined = RunWriter::create(runs[0].table, path)?;
    merge(runs, |row| joined.write(row))?;
    for run in runs {
        std::fs::remove_file(&run.path)?;
    }
    joined.finish()
}
