//! The bulk path: sorted files instead of batches, for rebuilds.
//!
//! A rebuild folds chunk by chunk. Each chunk's rows are sorted and written as a run; then the runs
//! of a table are merged into files that RocksDB takes over as they are, without log and without
//! compaction. Files of versioned tables may not overlap what is there already (RocksDB's rule for
//! timestamps), which is why the merge comes last and the target is always a new generation.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, mpsc},
    thread::JoinHandle,
};

use cairn_domain::table::TableDef;
use files::Files;
use runs::Run;
use tempfile::TempDir;

use crate::runner::RunnerError;

use super::{Store, StoreError, families::table_options, family_name, overlay::TableVersions};

mod base;
mod files;
mod runs;

pub(crate) use base::BulkBase;

/// A merge asks after so many rows whether it is to go on.
const CHECKED_ROWS: u64 = 1 << 14;

/// Collects the sorted runs of one generation and hands them to RocksDB. Sorting and writing happens
/// on a thread of its own, one chunk behind the fold.
pub(crate) struct BulkWriter {
    directory: PathBuf,
    chunks: mpsc::SyncSender<Vec<TableVersions>>,
    /// Chunks that are written, to be filled again: their memory need not be asked for anew.
    written: mpsc::Receiver<Vec<TableVersions>>,
    spiller: JoinHandle<std::io::Result<Vec<Vec<Run>>>>,
    /// Why the thread ended before its time.
    failure: Arc<OnceLock<String>>,
}

impl BulkWriter {
    /// An empty writer with its files in a directory.
    ///
    /// # Errors
    /// When no thread can be started.
    pub(crate) fn new(directory: &Path) -> Result<Self, StoreError> {
        let (chunks, inbox) = mpsc::sync_channel(1);
        let (outbox, written) = mpsc::channel();
        let path = directory.to_owned();
        let failure = Arc::<OnceLock<String>>::default();
        let failed = Arc::clone(&failure);
        let spiller = std::thread::Builder::new()
            .name("cairn-bulk".into())
            .spawn(move || {
                // The inbox closes after the reason is there.
                let runs = spill(&inbox, &outbox, &path);
                runs.inspect_err(|error| _ = failed.set(error.to_string()))
            });
        Ok(Self {
            directory: directory.to_owned(),
            chunks,
            written,
            spiller: spiller?,
            failure,
        })
    }

    /// Takes the rows of a chunk and gives an empty one to be filled next, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Storage`] when the chunks before it could not be written.
    pub(crate) fn add(
        &self,
        chunk: Vec<TableVersions>,
    ) -> Result<Option<Vec<TableVersions>>, StoreError> {
        self.chunks.send(chunk).map_err(|_| {
            let reason = self
                .failure
                .get()
                .map_or("their thread panicked", String::as_str);
            StoreError::Storage(format!("sorted runs cannot be written: {reason}"))
        })?;
        Ok(self.written.try_recv().ok())
    }

    /// Merges everything into the column families of a generation; `check` may stop it.
    ///
    /// # Errors
    /// [`StoreError::Storage`], or what `check` says; the generation is then incomplete: make it
    /// anew.
    pub(crate) fn finish(
        self,
        store: &Store,
        tables: &[(&'static TableDef, u32)],
        check: impl Fn() -> Result<(), RunnerError> + Sync,
    ) -> Result<(), RunnerError> {
        let Self {
            directory,
            chunks,
            spiller,
            written,
            failure: _,
        } = self;
        drop((chunks, written));
        let panicked = |_| StoreError::Storage("writing sorted runs panicked".into());
        let runs = spiller.join().map_err(panicked)?;
        let mut runs = runs.map_err(StoreError::from)?;
        // The largest last, which is taken first, so that no thread waits long for the other.
        runs.sort_by_key(|runs| runs.iter().map(|run| run.bytes).sum::<u64>());
        let queue = Mutex::new(runs);
        let work = || {
            while let Some(runs) = { queue.lock().expect("no panic holds it").pop() } {
                let table = runs[0].table;
                let own = |(other, _): &&(&'static TableDef, u32)| std::ptr::eq(*other, table);
                if let Some((_, generation)) = tables.iter().find(own) {
                    merge_table(store, runs, *generation, &directory, &check)?;
                }
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

impl Store {
    /// A directory for what a rebuild or a verification writes; it goes with the value, or when the
    /// store is next opened.
    pub(crate) fn bulk_directory(&self) -> Result<TempDir, StoreError> {
        let directory = tempfile::Builder::new()
            .prefix("bulk-")
            .tempdir_in(self.path());
        Ok(directory?)
    }
}

/// Writes chunks as they come, and gives the runs of each table.
fn spill(
    inbox: &mpsc::Receiver<Vec<TableVersions>>,
    outbox: &mpsc::Sender<Vec<TableVersions>>,
    directory: &Path,
) -> std::io::Result<Vec<Vec<Run>>> {
    let mut runs: Vec<Vec<Run>> = Vec::new();
    for number in 0.. {
        let Ok(mut chunk) = inbox.recv() else {
            break;
        };
        for versions in chunk.iter_mut().filter(|versions| !versions.is_empty()) {
            let path = directory.join(format!("{}-{number}", versions.table.name));
            let run = runs::write(path, versions)?;
            versions.clear();
            let same = |runs: &&mut Vec<Run>| std::ptr::eq(runs[0].table, run.table);
            match runs.iter_mut().find(same) {
                Some(runs) => runs.push(run),
                None => runs.push(vec![run]),
            }
        }
        // At the end nobody fills another.
        let _ended = outbox.send(chunk);
    }
    Ok(runs)
}

fn merge_table(
    store: &Store,
    runs: Vec<Run>,
    generation: u32,
    directory: &Path,
    check: impl Fn() -> Result<(), RunnerError>,
) -> Result<(), RunnerError> {
    let table = runs[0].table;
    let options = table_options(table, &store.cache)?;
    let mut files = Files::new(table, &options, directory);
    let runs = runs::reduce(runs, directory, &check)?;
    let mut rows = 0u64;
    runs::merge(&runs, |row| {
        rows += 1;
        if rows.is_multiple_of(CHECKED_ROWS) {
            check()?;
        }
        files.put(row).map_err(RunnerError::from)
    })?;
    Ok(files.ingest(store, &family_name(table, generation))?)
}

#[cfg(test)]
mod tests {
    use cairn_domain::{
        Position,
        projections::{Rows as _, blocks::CanonicalBlocks},
        table::Table as _,
    };

    use super::*;
    use crate::store::Overlay;

    fn chunk() -> Vec<TableVersions> {
        let mut base = BulkBase::new(1 << 20, Path::new("unused"));
        let mut overlay = Overlay::new([CanonicalBlocks::DEF], &mut base);
        overlay.begin(Position(1));
        overlay.put(CanonicalBlocks::DEF, b"key", b"value");
        overlay.into_tables()
    }

    #[test]
    fn what_the_disk_said_is_the_error_of_the_next_chunk() {
        let directory = tempfile::tempdir().unwrap();
        let writer = BulkWriter::new(directory.path()).unwrap();
        std::fs::remove_dir_all(directory.path()).unwrap();
        let refused = (0..10).find_map(|_| writer.add(chunk()).err());
        let error = refused.expect("nothing can be written").to_string();
        assert!(error.contains("No such file or directory"), "{error}");
    }
}
