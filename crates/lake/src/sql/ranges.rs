//! Which rows can match a query: files and ranges of heights, by what is known of them without reading.

use std::{collections::HashSet, ops::RangeInclusive, sync::Arc};

use arrow::array::{ArrayRef, BooleanArray, Int64Array, StringArray, TimestampMicrosecondArray};
use cairn_domain::{BlockRef, Stream, datasets::DatasetDef};
use cairn_engine::store::ReadView;
use datafusion::{
    common::{Column, pruning::PruningStatistics},
    physical_optimizer::pruning::PruningPredicate,
    scalar::ScalarValue,
};

use super::{SqlError, names::FINAL, snapshot::ShardSnapshot};
use crate::manifest::{ChainState, FileEntry};

/// The most parts into which the tail of a chain is divided to find those that can match.
const PIECES: u64 = 4096;

/// The names of a dataset's columns by which rows are found.
#[derive(Debug, Clone, Copy)]
pub(super) struct FindBy {
    /// The height of the row's block, or the position of its commit.
    pub(super) order: &'static str,
    /// When.
    pub(super) time: &'static str,
}

impl FindBy {
    pub(super) fn of(dataset: &DatasetDef) -> Self {
        let columns = (dataset.columns)();
        let first = |names: &[&'static str]| {
            let has = |name: &&&str| columns.iter().any(|column| column.name == **name);
            names.iter().find(has).copied().unwrap_or_default()
        };
        Self {
            order: first(&["block_height", "height", "position"]),
            time: first(&["timestamp", "event_time"]),
        }
    }
}

/// The highest height up to which files have all rows of a dataset.
fn covered(state: &ChainState, dataset: &str) -> Option<u64> {
    let complete = match state.parts.get(dataset) {
        Some(first) => first.block.height.checked_sub(1),
        None => state.finalized.map(|last| last.block.height),
    };
    complete.max(state.published.map(|last| last.block.height))
}

/// A block that the lake knows, and that must be canonical for files and store to fit together.
fn anchor(state: &ChainState, dataset: &str) -> Option<BlockRef> {
    let first = state.parts.get(dataset);
    first
        .or(state.finalized.as_ref())
        .map(|placed| placed.block)
}

/// The blocks of a chain whose rows are in no file.
#[derive(Clone)]
pub(super) struct TailChain {
    pub(super) view: ReadView,
    pub(super) stream: Stream,
    pub(super) heights: RangeInclusive<u64>,
    /// The highest block that cannot be taken back.
    pub(super) finalized: Option<u64>,
}

/// The tails of a shard's chains.
pub(super) fn tail_chains(
    shard: &ShardSnapshot,
    dataset: &str,
) -> Result<Vec<TailChain>, SqlError> {
    let states = shard.manifest.shard(&shard.name);
    let mut tails = Vec::new();
    for (stream, ends) in &shard.chains {
        let state = states.and_then(|states| states.chains.get(stream.as_str()));
        if let Some(anchor) = state.and_then(|state| anchor(state, dataset))
            && !shard.view.is_canonical(stream, anchor)?
        {
            return Err(SqlError::Disagreement {
                stream: stream.to_string(),
                height: anchor.height,
            });
        }
        let covered = state.and_then(|state| covered(state, dataset));
        let low = covered.map_or(0, |covered| covered.saturating_add(1));
        let heights = low.max(ends.first.height)..=ends.head.height;
        if !heights.is_empty() {
            tails.push(TailChain {
                view: shard.view.clone(),
                stream: stream.clone(),
                heights,
                finalized: ends.finalized.map(|block| block.height),
            });
        }
    }
    Ok(tails)
}

/// The whole chains of a shard, whether or not their rows are in files.
pub(super) fn whole_chains(shard: &ShardSnapshot) -> impl Iterator<Item = TailChain> {
    shard.chains.iter().map(|(stream, ends)| TailChain {
        view: shard.view.clone(),
        stream: stream.clone(),
        heights: ends.first.height..=ends.head.height,
        finalized: ends.finalized.map(|block| block.height),
    })
}

/// Some heights of a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    /// Which of the chains.
    pub(super) chain: usize,
    pub(super) heights: RangeInclusive<u64>,
}

/// The parts of tails in which rows can match.
pub(super) fn pieces(
    chains: &[TailChain],
    find_by: FindBy,
    predicate: Option<&PruningPredicate>,
) -> Vec<Piece> {
    let mut all = Vec::new();
    for (chain, tail) in chains.iter().enumerate() {
        let (low, high) = (*tail.heights.start(), *tail.heights.end());
        let size = ((high - low) / PIECES + 1) as usize;
        let cut = |from: u64| Piece {
            chain,
            heights: from..=high.min(from.saturating_add(size as u64 - 1)),
        };
        all.extend((low..=high).step_by(size).map(cut));
    }
    matching(chains, all, find_by, predicate)
}

/// Those of some pieces in which rows can match, neighbours as one.
pub(super) fn matching(
    chains: &[TailChain],
    mut pieces: Vec<Piece>,
    find_by: FindBy,
    predicate: Option<&PruningPredicate>,
) -> Vec<Piece> {
    if let Some(predicate) = predicate {
        let known = Known::of_pieces(chains, &pieces, find_by);
        pieces = keep(pieces, predicate, &known);
    }
    joined(pieces)
}

/// Neighbours become one.
fn joined(pieces: Vec<Piece>) -> Vec<Piece> {
    let mut joined = Vec::<Piece>::new();
    for piece in pieces {
        match joined.last_mut() {
            Some(last)
                if last.chain == piece.chain
                    && last.heights.end().checked_add(1) == Some(*piece.heights.start()) =>
            {
                last.heights = *last.heights.start()..=*piece.heights.end();
            }
            _ => joined.push(piece),
        }
    }
    joined
}

/// The files in which rows can match.
pub(super) fn files<'a>(
    files: Vec<&'a FileEntry>,
    find_by: FindBy,
    predicate: Option<&PruningPredicate>,
) -> Vec<&'a FileEntry> {
    let Some(predicate) = predicate else {
        return files;
    };
    let known = Known::of_files(&files, find_by);
    keep(files, predicate, &known)
}

/// What the rows of a file are at least and at most, by column.
pub(super) fn bounds(file: &FileEntry, find_by: FindBy) -> Vec<(&'static str, [ScalarValue; 2])> {
    let whole = |value: u64| ScalarValue::Int64(i64::try_from(value).ok());
    let (low, high) = file
        .heights
        .unwrap_or((file.positions.0.0, file.positions.1.0));
    let mut bounds = vec![(find_by.order, [whole(low), whole(high)])];
    if let Some(chain) = chain_of(file) {
        let text = || ScalarValue::Utf8(Some(chain.to_owned()));
        bounds.push(("chain", [text(), text()]));
    }
    if let Some((first, last)) = file.times {
        let time = |micros| ScalarValue::TimestampMicrosecond(Some(micros), Some("UTC".into()));
        bounds.push((find_by.time, [time(first), time(last)]));
    }
    bounds
}

/// The chain whose blocks a file is of.
pub(super) fn chain_of(file: &FileEntry) -> Option<&str> {
    file.stream.strip_prefix("chain/")
}

fn keep<T>(all: Vec<T>, predicate: &PruningPredicate, known: &Known) -> Vec<T> {
    // What cannot be decided is read.
    let Ok(can_match) = predicate.prune(known) else {
        return all;
    };
    let both = all.into_iter().zip(can_match);
    both.filter_map(|(one, can_match)| can_match.then_some(one))
        .collect()
}

/// The least and the greatest value of columns, of several files or pieces.
struct Known {
    count: usize,
    columns: Vec<(&'static str, ArrayRef, ArrayRef)>,
}

impl Known {
    fn of_pieces(chains: &[TailChain], pieces: &[Piece], find_by: FindBy) -> Self {
        let height = |height: u64| i64::try_from(height).ok();
        let low = pieces.iter().map(|piece| height(*piece.heights.start()));
        let high = pieces.iter().map(|piece| height(*piece.heights.end()));
        let chain = pieces
            .iter()
            .map(|piece| chains[piece.chain].stream.chain_name());
        let chain: ArrayRef = Arc::new(chain.collect::<StringArray>());
        let is_final = |piece: &Piece, height: u64| {
            let finalized = chains[piece.chain].finalized;
            finalized.is_some_and(|finalized| height <= finalized)
        };
        let all = pieces
            .iter()
            .map(|piece| Some(is_final(piece, *piece.heights.end())));
        let some = pieces
            .iter()
            .map(|piece| Some(is_final(piece, *piece.heights.start())));
        Self {
            count: pieces.len(),
            columns: vec![
                ("chain", Arc::clone(&chain), chain),
                (
                    find_by.order,
                    Arc::new(low.collect::<Int64Array>()),
                    Arc::new(high.collect::<Int64Array>()),
                ),
                (
                    FINAL,
                    Arc::new(all.collect::<BooleanArray>()),
                    Arc::new(some.collect::<BooleanArray>()),
                ),
            ],
        }
    }

    fn of_files(files: &[&FileEntry], find_by: FindBy) -> Self {
        let chain = files.iter().map(|file| chain_of(file));
        let chain: ArrayRef = Arc::new(chain.collect::<StringArray>());
        let order = |file: &FileEntry| {
            let positions = (file.positions.0.0, file.positions.1.0);
            file.heights.unwrap_or(positions)
        };
        let low = files.iter().map(|file| i64::try_from(order(file).0).ok());
        let high = files.iter().map(|file| i64::try_from(order(file).1).ok());
        let first = files.iter().map(|file| file.times.map(|times| times.0));
        let last = files.iter().map(|file| file.times.map(|times| times.1));
        let yes: ArrayRef = Arc::new(BooleanArray::from(vec![true; files.len()]));
        let times =
            |times: TimestampMicrosecondArray| -> ArrayRef { Arc::new(times.with_timezone("UTC")) };
        Self {
            count: files.len(),
            columns: vec![
                ("chain", Arc::clone(&chain), chain),
                (
                    find_by.order,
                    Arc::new(low.collect::<Int64Array>()),
                    Arc::new(high.collect::<Int64Array>()),
                ),
                (find_by.time, times(first.collect()), times(last.collect())),
                (FINAL, Arc::clone(&yes), yes),
            ],
        }
    }

    fn column(&self, asked: &Column) -> Option<&(&'static str, ArrayRef, ArrayRef)> {
        self.columns.iter().find(|(name, ..)| *name == asked.name)
    }
}

impl PruningStatistics for Known {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.column(column).map(|(_, least, _)| Arc::clone(least))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.column(column).map(|(_, _, most)| Arc::clone(most))
    }

    fn num_containers(&self) -> usize {
        self.count
    }

    fn null_counts(&self, _column: &Column) -> Option<ArrayRef> {
        None
    }

    fn row_counts(&self, _column: &Column) -> Option<ArrayRef> {
        None
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
