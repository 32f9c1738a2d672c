//! The bulk path: sorted files instead of batches, for rebuilds.
//!
//! A rebuild folds chunk by chunk. Each chunk's rows are sorted and kept as a run, on disk where
//! there is more than one; at the end the runs of a table are merged into files that RocksDB takes
//! over as they are, without log and without compaction. Files of versioned tables may not overlap
//! what is there already (RocksDB's rule for timestamps), which is why the merge comes last and the
//! target is always a new generation.

use std::{
    collections::BinaryHeap,
    fs::File,
    io::{BufReader, BufWriter, Read, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread::JoinHandle,
};

use cairn_domain::{
    Position,
    table::{TableDef, TableKind},
};
use rocksdb::{IngestExternalFileOptions, SstFileWriter};

use super::{
    Store, StoreError, families::table_options, family_name, overlay::TableVersions, timestamp,
};

/// Files of this size are handed to RocksDB, in bytes of keys and values.
const FILE_BYTES: usize = 64 << 20;

fn io(error: std::io::Error) -> StoreError {
    StoreError::Storage(error.to_string())
}

/// Collects the sorted runs of one generation and hands them to RocksDB. Sorting and writing happens
/// on a thread of its own, one chunk behind the fold.
pub struct BulkWriter<'a> {
    store: &'a Store,
    directory: tempfile::TempDir,
    chunks: mpsc::SyncSender<Vec<TableVersions>>,
    spiller: JoinHandle<std::io::Result<Vec<Run>>>,
    /// Why the thread ended before its time.
    failure: Arc<OnceLock<String>>,
}

struct Run {
    table: &'static TableDef,
    path: PathBuf,
}

impl<'a> BulkWriter<'a> {
    /// An empty writer.
    ///
    /// # Errors
    /// When no temporary directory can be made inside the store's, or no thread.
    pub fn new(store: &'a Store) -> Result<Self, StoreError> {
        let directory = tempfile::Builder::new()
            .prefix("bulk-")
            .tempdir_in(store.path())
            .map_err(io)?;
        let (chunks, inbox) = mpsc::sync_channel(1);
        let path = directory.path().to_owned();
        let failure = Arc::<OnceLock<String>>::default();
        let failed = Arc::clone(&failure);
        let spiller = std::thread::Builder::new()
            .name("cairn-bulk".into())
            .spawn(move || {
                // The inbox closes after the reason is there.
                let runs = spill(&inbox, &path);
                runs.inspect_err(|error| _ = failed.set(error.to_string()))
            });
        Ok(Self {
            store,
            directory,
            chunks,
            spiller: spiller.map_err(io)?,
            failure,
        })
    }

    /// Takes the rows of a chunk.
    ///
    /// # Errors
    /// [`StoreError::Storage`] when the chunks before it could not be written.
    pub(crate) fn add(&self, chunk: Vec<TableVersions>) -> Result<(), StoreError> {
        self.chunks.send(chunk).map_err(|_| {
            let reason = self
                .failure
                .get()
                .map_or("their thread panicked", String::as_str);
            StoreError::Storage(format!("sorted runs cannot be written: {reason}"))
        })
    }

    /// Merges everything into the column families of a generation.
    ///
    /// # Errors
    /// [`StoreError::Storage`]; the generation is then incomplete: make it anew.
    pub fn finish(self, tables: &[(&'static TableDef, u32)]) -> Result<(), StoreError> {
        let Self {
            store,
            directory,
            chunks,
            spiller,
            failure: _,
        } = self;
        drop(chunks);
        let panicked = |_| StoreError::Storage("writing sorted runs panicked".into());
        let runs = spiller.join().map_err(panicked)?.map_err(io)?;
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some((table, generation)) = tables.get(next.fetch_add(1, Ordering::Relaxed)) {
                merge_table(store, table, *generation, &runs, directory.path())?;
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let other = scope.spawn(work);
            let own = work();
            own.and(other.join().map_err(panicked)?)
        })
    }
}

fn spill(
    inbox: &mpsc::Receiver<Vec<TableVersions>>,
    directory: &Path,
) -> std::io::Result<Vec<Run>> {
    let mut runs = Vec::new();
    while let Ok(chunk) = inbox.recv() {
        for versions in chunk {
            if versions.iter().next().is_some() {
                let path = directory.join(format!("run-{}", runs.len()));
                write_run(&path, &versions)?;
                runs.push(Run {
                    table: versions.table,
                    path,
                });
            }
        }
    }
    Ok(runs)
}

fn merge_table(
    store: &Store,
    table: &'static TableDef,
    generation: u32,
    runs: &[Run],
    directory: &Path,
) -> Result<(), StoreError> {
    let options = table_options(table, &store.cache)?;
    let mut files = Files::new(table, &options, directory);
    let runs = runs.iter().filter(|run| std::ptr::eq(run.table, table));
    merge(runs.map(|run| run.path.as_path()), &mut files)?;
    files.ingest(store, &family_name(table, generation))
}

fn write_run(path: &Path, versions: &TableVersions) -> std::io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    for index in versions.sorted() {
        let (key, position, value) = versions.at(index);
        out.write_all(&(key.len() as u32).to_le_bytes())?;
        out.write_all(
            &value
                .map_or(u32::MAX, |value| value.len() as u32)
                .to_le_bytes(),
        )?;
        out.write_all(&position.0.to_le_bytes())?;
        out.write_all(key)?;
        out.write_all(value.unwrap_or_default())?;
    }
    out.flush()
}

/// The next row of a run, ordered so that a max-heap gives the smallest key, newest first.
#[derive(PartialEq, Eq)]
struct Head {
    key: Vec<u8>,
    position: Position,
    value: Option<Vec<u8>>,
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

/// Reads the next row of a run into the buffers of the one before it; none at the end.
fn next_row(
    run: usize,
    file: &mut impl Read,
    reuse: Option<Head>,
) -> std::io::Result<Option<Head>> {
    let (mut key, value) = reuse.map_or_else(Default::default, |head| (head.key, head.value));
    let mut header = [0; 16];
    match file.read_exact(&mut header) {
        Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let word = |at: usize| {
        u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
    };
    let (key_length, value_length) = (word(0), word(4));
    let position = Position(u64::from(word(8)) | u64::from(word(12)) << 32);
    key.resize(key_length as usize, 0);
    file.read_exact(&mut key)?;
    let value = if value_length == u32::MAX {
        None
    } else {
        let mut bytes = value.unwrap_or_default();
        bytes.resize(value_length as usize, 0);
        file.read_exact(&mut bytes)?;
        Some(bytes)
    };
    Ok(Some(Head {
        key,
        position,
        value,
        run,
    }))
}

fn merge<'r>(
    runs: impl Iterator<Item = &'r Path>,
    files: &mut Files<'_>,
) -> Result<(), StoreError> {
    let open = |path: &Path| File::open(path).map(|file| BufReader::with_capacity(1 << 20, file));
    let mut inputs = runs.map(open).collect::<Result<Vec<_>, _>>().map_err(io)?;
    let mut heads = BinaryHeap::new();
    for (run, input) in inputs.iter_mut().enumerate() {
        heads.extend(next_row(run, input, None).map_err(io)?);
    }
    while let Some(head) = heads.pop() {
        files.put(&head.key, head.position, head.value.as_deref())?;
        let run = head.run;
        heads.extend(next_row(run, &mut inputs[run], Some(head)).map_err(io)?);
    }
    Ok(())
}

/// Sorted files of one table.
struct Files<'a> {
    table: &'static TableDef,
    options: &'a rocksdb::Options,
    directory: &'a Path,
    writer: Option<SstFileWriter<'a>>,
    bytes: usize,
    paths: Vec<PathBuf>,
    last_key: Vec<u8>,
}

impl<'a> Files<'a> {
    fn new(table: &'static TableDef, options: &'a rocksdb::Options, directory: &'a Path) -> Self {
        let (paths, last_key) = (Vec::new(), Vec::new());
        Self {
            table,
            options,
            directory,
            writer: None,
            bytes: 0,
            paths,
            last_key,
        }
    }

    fn put(
        &mut self,
        key: &[u8],
        position: Position,
        value: Option<&[u8]>,
    ) -> Result<(), StoreError> {
        let same_key = self.writer.is_some() && self.last_key == key;
        if same_key && matches!(self.table.kind, TableKind::Immutable { .. }) {
            // Written again with the same content, after its block became canonical again.
            return Ok(());
        }
        // All versions of a row stay in one file: files of a versioned table may not share a key.
        if self.bytes >= FILE_BYTES && !same_key {
            self.close()?;
        }
        if !same_key {
            self.last_key.clear();
            self.last_key.extend_from_slice(key);
        }
        self.bytes += key.len() + value.map_or(0, <[u8]>::len);
        let table = self.table;
        let writer = self.writer()?;
        match (table.kind, value) {
            (TableKind::Immutable { .. }, value) => writer.put(key, value.unwrap_or_default())?,
            (TableKind::Versioned, Some(value)) => {
                writer.put_with_ts(key, timestamp(position), value)?
            }
            (TableKind::Versioned, None) => writer.delete_with_ts(key, timestamp(position))?,
        }
        Ok(())
    }

    fn writer(&mut self) -> Result<&mut SstFileWriter<'a>, StoreError> {
        if self.writer.is_none() {
            let path = self
                .directory
                .join(format!("{}-{}.sst", self.table.name, self.paths.len()));
            let writer = SstFileWriter::create(self.options);
            writer.open(&path)?;
            self.paths.push(path);
            self.writer = Some(writer);
        }
        self.writer
            .as_mut()
            .ok_or_else(|| StoreError::Storage("no file is open".into()))
    }

    fn close(&mut self) -> Result<(), StoreError> {
        self.bytes = 0;
        match self.writer.take() {
            Some(mut writer) => Ok(writer.finish()?),
            None => Ok(()),
        }
    }

    fn ingest(mut self, store: &Store, family: &str) -> Result<(), StoreError> {
        self.close()?;
        if self.paths.is_empty() {
            return Ok(());
        }
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        let family = store.family(family);
        Ok(store
            .db
            .ingest_external_file_cf_opts(&family, &options, self.paths)?)
    }
}

#[cfg(test)]
mod tests {
    use cairn_domain::{
        projections::{Rows as _, blocks::CanonicalBlocks},
        table::Table as _,
    };

    use super::*;
    use crate::store::{BulkBase, Overlay, StoreOptions};

    fn chunk() -> Vec<TableVersions> {
        let mut base = BulkBase::default();
        let mut overlay = Overlay::new([CanonicalBlocks::DEF], &mut base);
        overlay.begin(Position(1));
        overlay.put(CanonicalBlocks::DEF, b"key", b"value");
        overlay.into_tables()
    }

    #[test]
    fn what_the_disk_said_is_the_error_of_the_next_chunk() {
        let directory = tempfile::tempdir().unwrap();
        let options = StoreOptions {
            cache_bytes: 8 << 20,
            ..StoreOptions::default()
        };
        let store = Store::open(directory.path(), options).unwrap();
        let writer = BulkWriter::new(&store).unwrap();
        std::fs::remove_dir_all(writer.directory.path()).unwrap();
        let refused = (0..10).find_map(|_| writer.add(chunk()).err());
        let error = refused.expect("nothing can be written").to_string();
        assert!(error.contains("No such file or directory"), "{error}");
    }
}
