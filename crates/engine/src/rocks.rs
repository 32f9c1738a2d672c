//! What the embedded log and the store share of RocksDB.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use rocksdb::{DBWithThreadMode, Options, SingleThreaded};

const _: fn() = || {
    fn shared_between_threads<T: Send + Sync>() {}
    shared_between_threads::<DBWithThreadMode<SingleThreaded>>();
};

/// Options of every database: made if missing, quiet, all files open so that opening is quick.
pub(crate) fn db_options() -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_keep_log_file_num(2);
    options.set_max_background_jobs(2);
    options.set_bytes_per_sync(1 << 20);
    options.set_skip_stats_update_on_db_open(true);
    options
}

/// Whether opening failed because another process has the directory.
pub(crate) fn is_locked(error: &rocksdb::Error) -> bool {
    let text: &str = error.as_ref();
    // What RocksDB says when its LOCK file is held: by another process, or by this one.
    error.kind() == rocksdb::ErrorKind::IOError
        && (text.contains("While lock file") || text.contains("lock hold by current process"))
}

/// Which version was asked for and which is the oldest kept, if reading failed because the one was
/// forgotten.
pub(crate) fn forgotten_version(error: &rocksdb::Error) -> Option<(u64, u64)> {
    // What RocksDB says of a read below `full_history_ts_low`.
    let rest = error.as_ref().split_once("Read timestamp: ")?.1;
    let (asked, oldest) = rest.split_once(" is smaller than full_history_ts_low: ")?;
    Some((asked.trim().parse().ok()?, oldest.trim().parse().ok()?))
}

fn format_file(path: &Path) -> PathBuf {
    path.join("FORMAT")
}

/// Checks the format of a directory, or writes it into a new one. The error names the way out.
pub(crate) fn check_format(path: &Path, what: &str, format: u32) -> Result<(), String> {
    let expected = format!("cairn {what} {format}\n");
    match fs::read_to_string(format_file(path)) {
        Ok(found) if found == expected => Ok(()),
        Ok(found) => Err(format!(
            "it says it is `{}`, this version reads `{}`; use the version of cairn that wrote it, or another directory",
            found.trim(),
            expected.trim()
        )),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let empty = fs::read_dir(path).map_or(true, |mut entries| entries.next().is_none());
            if !empty {
                return Err(format!(
                    "it is not empty and holds no cairn {what}; use another directory"
                ));
            }
            write_format(path, &expected).map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// The file appears whole or not at all: a crash half-way leaves an empty directory.
fn write_format(path: &Path, text: &str) -> io::Result<()> {
    fs::create_dir_all(path)?;
    let temporary = path.with_extension("format-new");
    fs::write(&temporary, text)?;
    fs::File::open(&temporary)?.sync_all()?;
    fs::rename(&temporary, format_file(path))?;
    fs::File::open(path)?.sync_all()
}

/// The bytes of a directory's files; what cannot be read counts as nothing.
pub(crate) fn directory_bytes(path: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(path) else {
        return 0;
    };
    let files = entries.flatten().filter_map(|entry| entry.metadata().ok());
    files
        .filter(fs::Metadata::is_file)
        .map(|file| file.len())
        .sum()
}
