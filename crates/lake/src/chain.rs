//! The open parts of a chain: final blocks stream into a file of each dataset until it is complete.

use std::collections::BTreeMap;

use cairn_domain::{
    BlockRef, Position, Stream,
    datasets::{self, BlockData, BlockRows, DatasetDef, RowSource},
};
use cairn_engine::store::ReadView;

use crate::{
    LakeError, Place, blocks,
    manifest::{ChainState, FileEntry, Layout, Placed},
    part::{PartInfo, PartWriter, Spooled},
};

/// What files of a shard have in common.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// The shard's name.
    pub(crate) shard: String,
    /// The id of its log.
    pub(crate) log: String,
}

/// Datasets that blocks are made into, each with what writes its rows.
pub(crate) fn block_datasets() -> impl Iterator<Item = (&'static DatasetDef, BlockRows)> {
    datasets::all().filter_map(|dataset| match dataset.source {
        RowSource::Blocks(rows) => Some((dataset, rows)),
        RowSource::Events { .. } => None,
    })
}

/// See the module.
pub(crate) struct OpenChain {
    stream: Stream,
    /// By dataset. A dataset without an open part has none.
    parts: BTreeMap<&'static str, OpenPart>,
}

struct OpenPart {
    writer: PartWriter,
    first: Placed,
    last: Placed,
}

impl OpenChain {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            stream,
            parts: BTreeMap::new(),
        }
    }

    /// Fills the open parts with the final blocks that they had before the process started. Says no where
    /// the store has other blocks by now: then the log, too, has a reset ahead.
    pub(crate) fn fill(
        &mut self,
        place: &Place,
        view: &ReadView,
        state: &ChainState,
    ) -> Result<bool, LakeError> {
        let Some(finalized) = state.finalized else {
            return Ok(true);
        };
        let lowest = state.parts.values().map(|first| first.block.height).min();
        let stream = self.stream.clone();
        for height in lowest
            .into_iter()
            .flat_map(|low| low..=finalized.block.height)
        {
            let Some(data) = blocks::canonical_block(view, &stream, height)? else {
                return Ok(false);
            };
            let at = Placed {
                block: data.block.block,
                position: finalized.position,
            };
            for (dataset, rows) in block_datasets() {
                match state.parts.get(dataset.name) {
                    Some(first) if first.block.height <= height => {
                        self.put(place, (dataset, rows), &data, *first, at)?;
                    }
                    _ => {}
                }
            }
            if height == finalized.block.height && at.block != finalized.block {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Takes the next final block, and gives the files that are complete with it.
    pub(crate) fn take(
        &mut self,
        place: &Place,
        origin: &Origin,
        layout: Layout,
        state: &mut ChainState,
        (data, at): (&BlockData<'_>, Placed),
    ) -> Result<Vec<FileEntryDraft>, LakeError> {
        let mut complete = Vec::new();
        for (dataset, rows) in block_datasets() {
            let first = *state.parts.entry(dataset.name.to_owned()).or_insert(at);
            self.put(place, (dataset, rows), data, first, at)?;
            let written = self
                .parts
                .get(dataset.name)
                .map_or(0, |part| part.writer.rows());
            let next = at.block.height.checked_add(1);
            let ends = next.is_none_or(|next| next % layout.range_heights == 0);
            if ends || written >= layout.rows_per_file {
                state.parts.remove(dataset.name);
                if let Some(part) = self.parts.remove(dataset.name) {
                    complete.extend(part.finish(origin, &self.stream, state.reset)?);
                }
            }
        }
        Ok(complete)
    }

    fn put(
        &mut self,
        place: &Place,
        (dataset, rows): (&'static DatasetDef, BlockRows),
        data: &BlockData<'_>,
        first: Placed,
        at: Placed,
    ) -> Result<(), LakeError> {
        let part = match self.parts.entry(dataset.name) {
            std::collections::btree_map::Entry::Occupied(open) => open.into_mut(),
            std::collections::btree_map::Entry::Vacant(none) => {
                let name = spool_name(dataset, &self.stream);
                none.insert(OpenPart {
                    writer: PartWriter::new(place, dataset, &name)?,
                    first,
                    last: at,
                })
            }
        };
        part.last = at;
        write_rows(&mut part.writer, rows, data)
    }

    /// The files of final blocks from a height on up to one that was cut off: all that no complete part has.
    pub(crate) fn cut(
        &self,
        place: &Place,
        origin: &Origin,
        view: &ReadView,
        state: &ChainState,
        cut: Placed,
    ) -> Result<Option<Vec<FileEntryDraft>>, LakeError> {
        let mut cutting = self.cutting(place, state, cut)?;
        let lowest = cutting.iter().map(|cut| cut.low).min();
        for height in lowest.into_iter().flat_map(|low| low..=cut.block.height) {
            let Some(data) = blocks::canonical_block(view, &self.stream, height)? else {
                return Ok(None);
            };
            if height == cut.block.height && data.block.block != cut.block {
                return Ok(None);
            }
            for part in cutting.iter_mut().filter(|part| part.low <= height) {
                write_rows(&mut part.writer, part.rows, &data)?;
            }
        }
        let mut files = Vec::new();
        for Cutting {
            low, from, writer, ..
        } in cutting
        {
            let info = Range {
                heights: (low, cut.block.height),
                positions: (from, cut.position),
                head: cut.block,
            };
            files.extend(finish(
                writer,
                origin,
                &self.stream,
                state.reset,
                info,
                false,
            )?);
        }
        Ok(Some(files))
    }

    /// The files that a cut begins: of each dataset from behind what is in files already.
    fn cutting(
        &self,
        place: &Place,
        state: &ChainState,
        cut: Placed,
    ) -> Result<Vec<Cutting>, LakeError> {
        let mut cutting = Vec::new();
        for (dataset, rows) in block_datasets() {
            let Some(first) = state.parts.get(dataset.name) else {
                continue;
            };
            let (low, from) = match state.published {
                Some(placed) if placed.block.height >= first.block.height => {
                    (placed.block.height + 1, placed.position.next())
                }
                _ => (first.block.height, first.position),
            };
            if low <= cut.block.height {
                let name = spool_name(dataset, &self.stream);
                let writer = PartWriter::new(place, dataset, &name)?;
                cutting.push(Cutting {
                    low,
                    from,
                    rows,
                    writer,
                });
            }
        }
        Ok(cutting)
    }
}

struct Cutting {
    low: u64,
    from: Position,
    rows: BlockRows,
    writer: PartWriter,
}

fn write_rows(
    writer: &mut PartWriter,
    rows: BlockRows,
    data: &BlockData<'_>,
) -> Result<(), LakeError> {
    rows(data, writer.cells()).map_err(|source| LakeError::Cell {
        dataset: writer.dataset().name,
        stream: data.chain.to_owned(),
        place: data.block.block.to_string(),
        source,
    })?;
    writer.end_block()
}

/// What a file covers.
struct Range {
    heights: (u64, u64),
    positions: (Position, Position),
    head: BlockRef,
}

impl OpenPart {
    fn finish(
        self,
        origin: &Origin,
        stream: &Stream,
        reset: Position,
    ) -> Result<Option<FileEntryDraft>, LakeError> {
        let range = Range {
            heights: (self.first.block.height, self.last.block.height),
            positions: (self.first.position, self.last.position),
            head: self.last.block,
        };
        finish(self.writer, origin, stream, reset, range, true)
    }
}

/// A file that is whole, and how it is to be published.
#[derive(Debug)]
pub(crate) struct FileEntryDraft {
    /// The file.
    pub(crate) spooled: Spooled,
    /// Its entry; the sequence comes with the publication.
    pub(crate) entry: FileEntry,
}

fn finish(
    writer: PartWriter,
    origin: &Origin,
    stream: &Stream,
    reset: Position,
    range: Range,
    complete: bool,
) -> Result<Option<FileEntryDraft>, LakeError> {
    let dataset = writer.dataset();
    let info = PartInfo {
        log: origin.log.clone(),
        stream: stream.as_str().to_owned(),
        positions: range.positions,
        heights: Some(range.heights),
        head: Some(range.head),
    };
    let Some(spooled) = writer.finish(&info)? else {
        return Ok(None);
    };
    let (low, high) = range.heights;
    let chain = stream.chain_name().unwrap_or(stream.as_str());
    let folder = match reset {
        Position(0) => String::new(),
        Position(reset) => format!("reset={reset}/"),
    };
    let entry = FileEntry {
        path: format!(
            "{}/chain={}/{folder}{low:012}-{high:012}.parquet",
            dataset.name,
            path_segment(chain)
        ),
        dataset: dataset.name.to_owned(),
        schema_version: dataset.version,
        shard: origin.shard.clone(),
        stream: stream.as_str().to_owned(),
        sequence: 0,
        complete,
        heights: Some(range.heights),
        positions: range.positions,
        head: Some(range.head),
        reset,
        rows: spooled.rows,
        bytes: spooled.bytes,
        sha256: spooled.sha256.clone(),
        times: spooled.times,
    };
    Ok(Some(FileEntryDraft { spooled, entry }))
}

/// A name as one segment of a path: what is no letter, digit, `-`, `_` or `.` becomes `=` and hex digits.
pub(crate) fn path_segment(name: &str) -> String {
    let mut segment = String::new();
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => segment.push(char::from(byte)),
            b'.' if !segment.is_empty() => segment.push('.'),
            other => segment.push_str(&format!("={other:02x}")),
        }
    }
    segment
}

fn spool_name(dataset: &DatasetDef, stream: &Stream) -> String {
    format!("{}-{}", dataset.name, path_segment(stream.as_str()))
}
