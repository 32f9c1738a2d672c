//! Rows of events of a shard that are in no file yet.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use arrow::{compute::concat_batches, error::ArrowError, record_batch::RecordBatch};
use cairn_domain::Position;

use crate::manifest::ShardState;

/// Runs that grow together stop growing with so many rows, or so many bytes of one of them.
const RUN_ROWS: usize = 8192;
const RUN_BYTES: usize = 16 << 20;

/// See the module. Copies share the rows.
#[derive(Debug, Clone, Default)]
pub struct EventTail {
    /// The last position that was taken in.
    pub position: Position,
    /// Streams of which something is final and in no file yet: a cut would publish it.
    pub unpublished: BTreeSet<String>,
    /// By dataset and stream; each in the order of positions.
    runs: BTreeMap<&'static str, BTreeMap<String, Vec<Arc<Run>>>>,
}

/// Rows of commits that follow each other in a stream.
#[derive(Debug)]
struct Run {
    /// Of each row, the position of its commit.
    positions: Vec<Position>,
    rows: RecordBatch,
}

impl Run {
    /// Both, one behind the other.
    fn join(&self, next: &Self) -> Result<Self, ArrowError> {
        Ok(Self {
            positions: [self.positions.as_slice(), &next.positions].concat(),
            rows: concat_batches(self.rows.schema_ref(), [&self.rows, &next.rows])?,
        })
    }

    /// Where the rows begin that are behind a position.
    fn behind(&self, position: Position) -> usize {
        self.positions.partition_point(|at| *at <= position)
    }
}

impl EventTail {
    /// Adds the rows of a commit, which is behind all that are there. Small runs become one, as often as
    /// each row is in a run twice as long: a commit costs little, and so does a copy.
    pub(crate) fn push(
        &mut self,
        dataset: &'static str,
        stream: &str,
        position: Position,
        rows: RecordBatch,
    ) -> Result<(), ArrowError> {
        let streams = self.runs.entry(dataset).or_default();
        let runs = streams.entry(stream.to_owned()).or_default();
        let mut last = Run {
            positions: vec![position; rows.num_rows()],
            rows,
        };
        while let Some(before) = runs.last() {
            let (short, long) = (before.positions.len(), last.positions.len());
            let is_large = before.rows.get_array_memory_size() > RUN_BYTES;
            if short > long || short + long > RUN_ROWS || is_large {
                break;
            }
            last = before.join(&last)?;
            runs.pop();
        }
        runs.push(Arc::new(last));
        Ok(())
    }

    /// Whether all rows are in files.
    pub fn is_empty(&self) -> bool {
        self.runs.values().all(BTreeMap::is_empty)
    }

    /// Number of rows of a dataset and stream.
    pub(crate) fn count(&self, dataset: &str, stream: &str) -> u64 {
        let runs = self.runs.get(dataset).and_then(|all| all.get(stream));
        let lengths = runs.into_iter().flatten().map(|run| run.positions.len());
        lengths.sum::<usize>() as u64
    }

    /// The rows of a dataset and stream.
    pub(crate) fn rows_of(&self, dataset: &str, stream: &str) -> Vec<RecordBatch> {
        let runs = self.runs.get(dataset).and_then(|all| all.get(stream));
        let runs = runs.into_iter().flatten();
        runs.map(|run| run.rows.clone()).collect()
    }

    /// The rows of a dataset up to a position, of one stream after the other.
    pub(crate) fn rows_up_to(
        &self,
        dataset: &str,
        position: Position,
    ) -> impl Iterator<Item = RecordBatch> {
        let runs = self
            .runs
            .get(dataset)
            .into_iter()
            .flat_map(BTreeMap::values);
        let parts = runs
            .flatten()
            .map(move |run| run.rows.slice(0, run.behind(position)));
        parts.filter(|rows| rows.num_rows() > 0)
    }

    /// Drops the rows of streams of which none is pending any more: a file takes all of them.
    pub(crate) fn keep_pending(&mut self, state: &ShardState) {
        for (dataset, streams) in &mut self.runs {
            let states = state.events.get(*dataset);
            streams.retain(|stream, _| {
                let state = states.and_then(|states| states.get(stream));
                state.is_some_and(|state| !state.pending.is_empty())
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, AsArray as _, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::manifest::EventState;

    fn rows(values: impl IntoIterator<Item = i64>) -> RecordBatch {
        let column: ArrayRef = Arc::new(values.into_iter().collect::<Int64Array>());
        RecordBatch::try_from_iter([("value", column)]).expect("a batch")
    }

    fn values(batches: impl IntoIterator<Item = RecordBatch>) -> Vec<i64> {
        let batches = batches.into_iter();
        let columns =
            batches.map(|rows| rows.column(0).as_primitive::<Int64Type>().values().to_vec());
        columns.flatten().collect()
    }

    /// A commit at each position up to `commits`, with two rows that tell it.
    fn tail(commits: u64) -> EventTail {
        let mut tail = EventTail::default();
        for position in 1..=commits {
            let told = position.cast_signed();
            let pushed = tail.push(
                "reverts",
                "chain/eth",
                Position(position),
                rows([told, told]),
            );
            pushed.expect("the same columns");
        }
        tail
    }

    #[test]
    fn many_commits_are_few_runs_in_order() {
        let commits = 20_000;
        let tail = tail(commits);
        let runs = tail.rows_of("reverts", "chain/eth");
        assert!(runs.len() <= 20, "{} runs", runs.len());
        assert_eq!(tail.count("reverts", "chain/eth"), 2 * commits);
        let expected: Vec<_> = (1..=20_000).flat_map(|told| [told, told]).collect();
        assert_eq!(values(runs), expected);
    }

    #[test]
    fn rows_end_with_the_commit_that_is_asked_for() {
        let tail = tail(1000);
        for position in [0, 1, 511, 512, 513, 1000, 2000] {
            let read = values(tail.rows_up_to("reverts", Position(position)));
            let last = position.min(1000).cast_signed();
            let expected: Vec<_> = (1..=last).flat_map(|told| [told, told]).collect();
            assert_eq!(read, expected, "up to {position}");
        }
    }

    #[test]
    fn what_is_in_files_leaves_and_copies_of_before_keep_it() {
        let mut tail = tail(1000);
        let before = tail.clone();
        let mut state = ShardState::default();
        let pending = EventState {
            pending: [Position(700)].into(),
        };
        let streams = state.events.entry("reverts".into()).or_default();
        streams.insert("chain/eth".into(), pending);
        tail.keep_pending(&state);
        assert_eq!(tail.count("reverts", "chain/eth"), 2000);
        state.events.clear();
        tail.keep_pending(&state);
        assert_eq!(tail.count("reverts", "chain/eth"), 0);
        assert_eq!(before.count("reverts", "chain/eth"), 2000);
    }
}
