//! Pictures of a site's directories, taken at instants at which a process may die.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use cairn_engine::store::Step;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tempfile::TempDir;

/// What a crash leaves behind.
pub(super) struct Picture {
    /// What had just been done.
    pub(super) behind: String,
    pub(super) directory: TempDir,
    /// Bytes of the newest write-ahead log of each database that are certainly on the disk.
    synced: [u64; 2],
}

/// The databases of a site.
const DATABASES: [&str; 2] = ["log", "store"];

/// See the module. Of all instants it keeps some, each with the same chance.
pub(super) struct Camera {
    pub(super) subject: Arc<TempDir>,
    state: Mutex<State>,
}

struct State {
    random: StdRng,
    kept: usize,
    seen: usize,
    pictures: Vec<Picture>,
    synced: [(PathBuf, u64); 2],
}

impl Camera {
    /// A camera with a directory of its own to look at, that keeps so many pictures.
    pub(super) fn new(seed: u64, kept: usize) -> Self {
        let state = State {
            random: StdRng::seed_from_u64(seed),
            kept,
            seen: 0,
            pictures: Vec::new(),
            synced: Default::default(),
        };
        Self {
            subject: Arc::new(tempfile::tempdir().expect("a temporary directory")),
            state: Mutex::new(state),
        }
    }

    /// The store has done something.
    pub(super) fn step(&self, step: Step) {
        if matches!(step, Step::OldestWritten | Step::GenerationsSwapped) {
            self.synced("store");
        }
        self.shoot(&format!("{step:?}"));
    }

    /// The log has been appended to. What is acknowledged is on the disk, but a crash may come
    /// before that.
    pub(super) fn appended(&self) {
        self.shoot("an append");
        self.synced("log");
    }

    /// All that a database wrote so far is on the disk.
    fn synced(&self, database: &str) {
        let index = DATABASES.iter().position(|name| *name == database);
        let newest = newest_wal(&self.subject.path().join(database)).unwrap_or_default();
        let length = fs::metadata(&newest).map_or(0, |metadata| metadata.len());
        let mut state = self.state.lock().expect("no panic holds it");
        state.synced[index.expect("a database")] = (newest, length);
    }

    /// Nobody may append meanwhile, and nobody else may write the store.
    pub(super) fn shoot(&self, behind: &str) {
        let mut state = self.state.lock().expect("no panic holds it");
        state.seen += 1;
        let seen = state.seen;
        let place = state.random.random_range(0..seen);
        if place >= state.kept {
            return;
        }
        let mut synced = [0; 2];
        for (index, (wal, length)) in state.synced.iter().enumerate() {
            let newest = newest_wal(&self.subject.path().join(DATABASES[index]));
            if newest.as_ref() == Some(wal) {
                synced[index] = *length;
            }
        }
        let picture = Picture {
            behind: format!("step {seen}, {behind}"),
            directory: copy_when_still(self.subject.path()),
            synced,
        };
        if state.pictures.len() < state.kept {
            state.pictures.push(picture);
        } else {
            state.pictures[place] = picture;
        }
    }

    pub(super) fn develop(&self) -> Vec<Picture> {
        let mut state = self.state.lock().expect("no panic holds it");
        std::mem::take(&mut state.pictures)
    }
}

impl Picture {
    /// Takes away a part of what log and store wrote since they last waited for the disk, as a loss
    /// of power may do.
    pub(super) fn tear(&mut self, random: &mut StdRng) {
        for (database, synced) in DATABASES.iter().zip(self.synced) {
            let Some(wal) = newest_wal(&self.directory.path().join(database)) else {
                continue;
            };
            let length = fs::metadata(&wal).expect("it is there").len();
            let kept = random.random_range(synced.min(length)..=length);
            let file = fs::OpenOptions::new().write(true).open(&wal);
            file.and_then(|file| file.set_len(kept))
                .expect("a file can be cut");
            self.behind += &format!(", {} bytes of the {database} lost", length - kept);
        }
    }
}

/// The write-ahead log that a store writes now.
fn newest_wal(store: &Path) -> Option<PathBuf> {
    let names = fs::read_dir(store)
        .ok()?
        .flatten()
        .map(|entry| entry.path());
    names
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
        .max()
}

/// RocksDB's own threads may write and remove files meanwhile: then the copy is taken again.
fn copy_when_still(from: &Path) -> TempDir {
    loop {
        let to = tempfile::tempdir().expect("a temporary directory");
        let before = contents(from);
        let copied = copy(from, to.path());
        if copied.is_ok() && contents(from) == before {
            return to;
        }
    }
}

fn contents(folder: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => found.extend(contents(&entry.path())),
            Ok(metadata) => found.push((entry.path(), metadata.len())),
            Err(_) => found.push((entry.path(), u64::MAX)),
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let (entry, target) = (entry?, |name| to.join(name));
        let target = target(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            copy(&entry.path(), &target)?;
        } else if entry.path().extension().is_some_and(|end| end == "sst") {
            // Sorted files never change.
            fs::hard_link(entry.path(), target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
