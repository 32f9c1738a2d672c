//! Rows of blocks that are in no file, made from the store as of the query's position.

use std::{ops::RangeInclusive, sync::Arc};

use arrow::{
    array::BooleanArray,
    compute::cast,
    datatypes::{Schema, SchemaRef},
    record_batch::{RecordBatch, RecordBatchOptions},
};
use cairn_domain::datasets::{BlockData, BlockRows, DatasetDef};
use cairn_engine::store::StoreError;
use datafusion::common::stats::Precision;

use super::{
    SqlError,
    ranges::{Piece, TailChain},
};
use crate::{
    LakeError, RowBuffer,
    blocks::{Needs, canonical_with},
};

/// A batch is handed on when it has so many rows, or so many free bytes.
const BATCH_ROWS: usize = 8192;
const BATCH_BYTES: usize = 4 << 20;

/// Of so many pieces the rows are counted.
const CHEAP_PIECES: usize = 64;

/// How much of a block the rows of a dataset are made from; all of it, for datasets that are not known here.
fn needs(dataset: &DatasetDef) -> Needs {
    match dataset.name {
        "blocks" | "withdrawals" => Needs::Header,
        "transactions" => Needs::Transactions,
        _ => Needs::Logs,
    }
}

/// A thread of its own is worth so many blocks.
const BLOCKS_PER_PARTITION: u64 = 64;

/// See the module.
pub(super) struct BlockTail {
    dataset: &'static DatasetDef,
    rows: BlockRows,
    chains: Vec<TailChain>,
    partitions: Vec<Vec<Piece>>,
    row_count: Precision<usize>,
}

fn length(heights: &RangeInclusive<u64>) -> u64 {
    heights.end() - heights.start() + 1
}

impl BlockTail {
    /// The rows of some pieces, in at most so many partitions, each in the order of chains and heights.
    pub(super) fn new(
        dataset: &'static DatasetDef,
        rows: BlockRows,
        chains: Vec<TailChain>,
        pieces: Vec<Piece>,
        partitions: usize,
    ) -> Result<Self, SqlError> {
        let blocks: u64 = pieces.iter().map(|piece| length(&piece.heights)).sum();
        let row_count = count_rows(dataset, &chains, &pieces)?;
        let worth = (blocks / BLOCKS_PER_PARTITION + 1).min(partitions as u64);
        Ok(Self {
            dataset,
            rows,
            chains,
            partitions: divide(pieces, blocks.div_ceil(worth.max(1))),
            row_count,
        })
    }

    pub(super) fn partitions(&self) -> usize {
        self.partitions.len()
    }

    pub(super) fn block_count(&self) -> u64 {
        let pieces = self.partitions.iter().flatten();
        pieces.map(|piece| length(&piece.heights)).sum()
    }

    /// How many rows there are, where that is known without making them.
    pub(super) fn row_count(&self) -> Precision<usize> {
        self.row_count
    }

    /// Makes the rows of a partition and hands them on; `send` says whether to go on, and is asked with
    /// nothing between blocks.
    pub(super) fn make(
        &self,
        partition: usize,
        schema: &Schema,
        projection: Option<&[usize]>,
        mut send: impl FnMut(Option<RecordBatch>) -> bool,
    ) -> Result<(), SqlError> {
        let mut made = Made::new(self.dataset);
        for piece in &self.partitions[partition] {
            let chain = &self.chains[piece.chain];
            for height in piece.heights.clone() {
                if !send(None) {
                    return Ok(());
                }
                let data = self.block(chain, height)?;
                let is_final = chain.finalized.is_some_and(|finalized| height <= finalized);
                made.take(self.rows, &data, is_final)?;
                if made.is_enough() && !send(Some(made.batch(schema, projection)?)) {
                    return Ok(());
                }
            }
        }
        if !made.finals.is_empty() {
            send(Some(made.batch(schema, projection)?));
        }
        Ok(())
    }

    fn block<'a>(&self, chain: &'a TailChain, height: u64) -> Result<BlockData<'a>, SqlError> {
        let read = canonical_with(&chain.view, &chain.stream, height, needs(self.dataset))?;
        read.ok_or_else(|| {
            let stream = &chain.stream;
            let reason = format!("the store lacks block {height} of {stream}; run `cairn verify`");
            StoreError::Storage(reason).into()
        })
    }
}

/// Pieces in parts of so many blocks, in order.
fn divide(pieces: Vec<Piece>, blocks: u64) -> Vec<Vec<Piece>> {
    let mut parts = Vec::new();
    let (mut part, mut room) = (Vec::new(), blocks);
    for Piece { chain, heights } in pieces {
        let (mut low, high) = heights.into_inner();
        loop {
            let end = high.min(low.saturating_add(room - 1));
            part.push(Piece {
                chain,
                heights: low..=end,
            });
            room -= end - low + 1;
            if room == 0 {
                parts.push(std::mem::take(&mut part));
                room = blocks;
            }
            if end == high {
                break;
            }
            low = end + 1;
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

/// Number of rows, of datasets for which the store counts them.
fn count_rows(
    dataset: &DatasetDef,
    chains: &[TailChain],
    pieces: &[Piece],
) -> Result<Precision<usize>, SqlError> {
    let mut count = 0;
    for piece in pieces {
        let chain = &chains[piece.chain];
        count += match dataset.name {
            "blocks" => length(&piece.heights),
            "transactions" if pieces.len() <= CHEAP_PIECES => transactions(chain, &piece.heights)?,
            _ => return Ok(Precision::Absent),
        };
    }
    Ok(Precision::Exact(count as usize))
}

fn transactions(chain: &TailChain, heights: &RangeInclusive<u64>) -> Result<u64, SqlError> {
    let up_to = |height| -> Result<u64, SqlError> {
        let block = chain.view.canonical(&chain.stream, height)?;
        Ok(block.map_or(0, |block| block.transactions))
    };
    let below = match heights.start().checked_sub(1) {
        Some(below) => up_to(below)?,
        None => 0,
    };
    Ok(up_to(*heights.end())?.saturating_sub(below))
}

/// Rows that are not handed on yet.
struct Made {
    buffer: RowBuffer,
    dataset: &'static DatasetDef,
    /// Of each row, whether it is final.
    finals: Vec<bool>,
    bytes: usize,
}

impl Made {
    fn new(dataset: &'static DatasetDef) -> Self {
        Self {
            buffer: RowBuffer::new(dataset),
            dataset,
            finals: Vec::new(),
            bytes: 0,
        }
    }

    fn take(
        &mut self,
        rows: BlockRows,
        data: &BlockData<'_>,
        is_final: bool,
    ) -> Result<(), SqlError> {
        rows(data, &mut self.buffer).map_err(|source| LakeError::Cell {
            dataset: self.dataset.name,
            stream: data.chain.to_owned(),
            place: data.block.block.to_string(),
            source,
        })?;
        self.finals.resize(self.buffer.rows(), is_final);
        for (row, logs) in &data.transactions {
            self.bytes += row.transaction.input.0.len();
            self.bytes += logs.iter().map(|log| log.data.0.len()).sum::<usize>();
        }
        Ok(())
    }

    fn is_enough(&self) -> bool {
        self.finals.len() >= BATCH_ROWS || (self.bytes >= BATCH_BYTES && !self.finals.is_empty())
    }

    fn batch(
        &mut self,
        schema: &Schema,
        projection: Option<&[usize]>,
    ) -> Result<RecordBatch, SqlError> {
        self.bytes = 0;
        let finals = BooleanArray::from(std::mem::take(&mut self.finals));
        fit(&self.buffer.take()?, finals, schema, projection)
    }
}

/// Rows of a dataset as its table has them: with the column that says what is final, and in the types of
/// `schema`, which has the columns of the projection.
pub(super) fn fit(
    rows: &RecordBatch,
    finals: BooleanArray,
    schema: &Schema,
    projection: Option<&[usize]>,
) -> Result<RecordBatch, SqlError> {
    let options = RecordBatchOptions::new().with_row_count(Some(finals.len()));
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(finals));
    let columns = match projection {
        None => columns,
        Some(kept) => kept
            .iter()
            .map(|index| Arc::clone(&columns[*index]))
            .collect(),
    };
    let fitted = schema.fields().iter().zip(&columns);
    let fitted = fitted.map(|(field, column)| cast(column, field.data_type()));
    let columns = fitted.collect::<Result<_, _>>().map_err(LakeError::from)?;
    let schema: SchemaRef = Arc::new(schema.clone());
    let batch = RecordBatch::try_new_with_options(schema, columns, &options);
    Ok(batch.map_err(LakeError::from)?)
}
