//! The limits of queries.

use std::{path::PathBuf, time::Duration};

use cairn_domain::events::Visibility;

/// The limits of all queries together and of each.
#[derive(Debug, Clone)]
pub struct SqlOptions {
    /// Memory of all queries together, in bytes.
    pub memory_bytes: usize,
    /// Memory of one query, in bytes. What can be sorted or joined on disk then goes there.
    pub query_memory_bytes: usize,
    /// Memory for what was read of the footers of files, shared by all queries, in bytes.
    pub metadata_bytes: usize,
    /// The most rows of an answer.
    pub max_rows: usize,
    /// How long a query may take, until its last row is taken.
    pub timeout: Duration,
    /// How many queries run at a time.
    pub concurrency: usize,
    /// How many of one caller, so that others find room.
    pub concurrency_of_a_caller: usize,
    /// Threads that compute, and parts into which a query is divided.
    pub threads: usize,
    /// Where rows go that do not fit memory. Made if it is not there; what an earlier process left there
    /// goes.
    pub spill_dir: PathBuf,
    /// Disk of all queries together, in bytes; each may have its share.
    pub spill_bytes: u64,
    /// How long a query waits for the lake to be where the store is. A lake that is further behind answers
    /// as of where it is.
    pub freshness_wait: Duration,
}

impl SqlOptions {
    /// The limits by default, with this directory for what does not fit memory.
    pub fn new(spill_dir: PathBuf) -> Self {
        let memory_bytes = 1 << 30;
        let concurrency = 4;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            memory_bytes,
            query_memory_bytes: memory_bytes,
            metadata_bytes: 64 << 20,
            max_rows: 1_000_000,
            timeout: Duration::from_secs(30),
            concurrency,
            concurrency_of_a_caller: concurrency - 1,
            threads,
            spill_dir,
            spill_bytes: 8 << 30,
            freshness_wait: Duration::from_secs(1),
        }
    }
}

/// Who asks, and for how much.
#[derive(Debug, Clone)]
pub struct SqlCaller {
    /// Whose queries count together; none where it is not known.
    pub name: Option<String>,
    /// Datasets that are visible to more than this do not exist for the caller.
    pub visibility: Visibility,
    /// The most rows of the answer, where that is less than [`SqlOptions::max_rows`]. One that has more
    /// fails.
    pub max_rows: Option<usize>,
    /// An answer is cut behind so many rows, without an error.
    pub limit: Option<usize>,
    /// How long the query may take, where that is less than [`SqlOptions::timeout`].
    pub timeout: Option<Duration>,
}

impl SqlCaller {
    /// A caller without limits of its own.
    pub fn new(visibility: Visibility) -> Self {
        Self {
            name: None,
            visibility,
            max_rows: None,
            limit: None,
            timeout: None,
        }
    }
}
