//! The manifest: which files the lake has, and how far they reach. Written whole, in one step: a file
//! that it does not name is not there.

use std::collections::{BTreeMap, BTreeSet};

use cairn_domain::{BlockRef, Position, datasets};
use cairn_engine::clock::now_millis;
use serde::{Deserialize, Serialize};

use crate::schema::WRITER_VERSION;

/// Version of the manifest's own form.
const FORMAT: u32 = 2;

/// How rows are parted into files. Another one gives other files: the lake is then rebuilt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// No file crosses a multiple of this height.
    pub range_heights: u64,
    /// A file ends with the block that brings it to so many rows.
    pub rows_per_file: u64,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            range_heights: 10_000,
            rows_per_file: 1 << 20,
        }
    }
}

impl Layout {
    /// The most rows that wait in memory for a file of events, which ends with the commit that brings it
    /// to so many.
    const EVENT_ROWS: u64 = 131_072;

    /// A file of events is complete with so many rows.
    pub(crate) fn event_rows(&self) -> u64 {
        self.rows_per_file.min(Self::EVENT_ROWS)
    }
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this form.
    pub format: u32,
    /// What wrote the files.
    pub writer: String,
    /// How rows are parted into files.
    pub layout: Layout,
    /// The version of the columns of each dataset that is kept.
    pub datasets: BTreeMap<String, u32>,
    /// When the lake was made, or made anew, in milliseconds since 1970: another one has other files.
    pub generation: u64,
    /// One more with every publication.
    pub sequence: u64,
    /// How far each shard is, by name.
    pub shards: BTreeMap<String, ShardState>,
    /// The files, in the order in which they were published.
    pub files: Vec<FileEntry>,
    /// Files that were replaced and may still be read by somebody.
    pub replaced: Vec<ReplacedFile>,
}

impl Manifest {
    /// That of an empty lake.
    pub fn new(layout: Layout) -> Self {
        Self {
            format: FORMAT,
            writer: WRITER_VERSION.into(),
            layout,
            datasets: kept_datasets(),
            generation: now_millis(),
            sequence: 0,
            shards: BTreeMap::new(),
            files: Vec::new(),
            replaced: Vec::new(),
        }
    }

    /// Why it cannot be gone on with, if it cannot.
    pub(crate) fn refuse(&self, layout: Layout) -> Option<String> {
        let rebuild = "run `cairn lake rebuild`, it is made anew from the log";
        if self.format != FORMAT {
            return Some(format!(
                "its manifest has format {}, this version knows {FORMAT}: upgrade, or {rebuild}",
                self.format
            ));
        }
        if self.writer != WRITER_VERSION {
            return Some(format!(
                "it was written by {}, this is {WRITER_VERSION}: {rebuild}",
                self.writer
            ));
        }
        if self.datasets != kept_datasets() {
            return Some(format!(
                "its files are of other datasets, or of other columns, than this version keeps: {rebuild}"
            ));
        }
        (self.layout != layout).then(|| {
            format!(
                "its files hold {} heights and {} rows at most, the configuration says {} and {}: change `[lake]` back, or {rebuild}",
                self.layout.range_heights,
                self.layout.rows_per_file,
                layout.range_heights,
                layout.rows_per_file,
            )
        })
    }

    /// A file by its path, also one that was replaced and may still be read.
    pub fn file(&self, path: &str) -> Option<&FileEntry> {
        let replaced = self.replaced.iter().rev().map(|replaced| &replaced.file);
        self.files
            .iter()
            .chain(replaced)
            .find(|file| file.path == path)
    }

    /// The files of a dataset.
    pub fn files_of<'a>(&'a self, dataset: &'a str) -> impl Iterator<Item = &'a FileEntry> {
        self.files
            .iter()
            .filter(move |file| file.dataset == dataset)
    }

    /// The state of a shard.
    pub fn shard(&self, name: &str) -> Option<&ShardState> {
        self.shards.get(name)
    }
}

fn kept_datasets() -> BTreeMap<String, u32> {
    let kept = datasets::all().map(|dataset| (dataset.name.to_owned(), dataset.version));
    kept.collect()
}

/// How far the files of a shard reach.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ShardState {
    /// The id of its log.
    pub log: String,
    /// The last position that was taken in.
    pub position: Position,
    /// Its chains, by the names of their streams.
    pub chains: BTreeMap<String, ChainState>,
    /// Events that are rows, by dataset and stream.
    pub events: BTreeMap<String, BTreeMap<String, EventState>>,
}

impl ShardState {
    /// Whether the rows that a commit of a stream brings to a dataset are in no file.
    pub(crate) fn is_pending(&self, dataset: &str, stream: &str, position: Position) -> bool {
        let streams = self.events.get(dataset);
        let state = streams.and_then(|streams| streams.get(stream));
        state.is_some_and(|state| state.pending.contains(&position))
    }

    /// Streams of which something is final and in no file yet.
    pub(crate) fn unpublished(&self) -> BTreeSet<String> {
        let chains = self
            .chains
            .iter()
            .filter(|(_, chain)| chain.is_unpublished());
        let events = self.events.values().flatten();
        let events = events.filter(|(_, state)| !state.pending.is_empty());
        chains
            .map(|(stream, _)| stream.clone())
            .chain(events.map(|(stream, _)| stream.clone()))
            .collect()
    }
}

/// A block and the position of its commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placed {
    /// The block.
    pub block: BlockRef,
    /// Where it stands in the log.
    pub position: Position,
}

/// How far the files of a chain reach.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ChainState {
    /// The position of the last reset; 0 for none. Files of before it are gone.
    pub reset: Position,
    /// The highest block that is final.
    pub finalized: Option<Placed>,
    /// The last block that was cut off: all datasets have it in files.
    pub published: Option<Placed>,
    /// Blocks that are not final yet, lowest first.
    pub hot: Vec<Placed>,
    /// Where the open part of each dataset begins. Parts before it are complete.
    pub parts: BTreeMap<String, Placed>,
    /// Why its rows are not taken in any more, if they are not.
    pub failure: Option<String>,
}

impl ChainState {
    /// Whether a final block is in no file yet.
    fn is_unpublished(&self) -> bool {
        let height = |placed: &Placed| placed.block.height;
        let is_open = !self.parts.is_empty() && self.failure.is_none();
        is_open && self.published.as_ref().map(height) < self.finalized.as_ref().map(height)
    }
}

/// How far the files of events of one kind and stream reach.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EventState {
    /// Positions of commits whose rows are in no file yet.
    pub pending: BTreeSet<Position>,
}

/// A file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Where it is, from the root of the lake.
    pub path: String,
    /// The dataset whose rows it holds.
    pub dataset: String,
    /// Version of the dataset's columns.
    pub schema_version: u32,
    /// The shard whose log it comes from.
    pub shard: String,
    /// The stream whose rows it holds.
    pub stream: String,
    /// The publication that brought it.
    pub sequence: u64,
    /// Whether it stays as it is; others are replaced by one that reaches from or below their beginning to
    /// or beyond their end.
    pub complete: bool,
    /// The first and the last height that it covers, where it holds rows of blocks.
    pub heights: Option<(u64, u64)>,
    /// Positions of the first and the last commit that it covers.
    pub positions: (Position, Position),
    /// The last block that it covers.
    pub head: Option<BlockRef>,
    /// The position of the reset behind which it begins; 0 for none.
    pub reset: Position,
    /// Number of rows.
    pub rows: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 in hex.
    pub sha256: String,
    /// The first and the last moment of its rows, in microseconds since 1970.
    pub times: Option<(i64, i64)>,
}

/// A file that was replaced.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReplacedFile {
    /// What it is.
    pub file: FileEntry,
    /// When it was replaced, in milliseconds since 1970.
    pub replaced_at: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lake_of_other_files_is_to_be_made_anew() {
        let layout = Layout::default();
        let refused = |change: fn(&mut Manifest)| {
            let mut manifest = Manifest::new(layout);
            change(&mut manifest);
            manifest.refuse(layout)
        };
        assert_eq!(refused(|_| ()), None);
        let changes: [fn(&mut Manifest); 5] = [
            |manifest| manifest.format = 1,
            |manifest| manifest.writer = "cairn-lake 1".into(),
            |manifest| manifest.layout.rows_per_file = 1,
            |manifest| manifest.datasets.retain(|name, _| name != "blocks"),
            |manifest| {
                manifest
                    .datasets
                    .values_mut()
                    .for_each(|version| *version += 1)
            },
        ];
        for change in changes {
            let reason = refused(change).expect("another lake");
            assert!(reason.contains("run `cairn lake rebuild`"), "{reason}");
        }
    }
}
