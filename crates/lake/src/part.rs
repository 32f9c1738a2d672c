//! A file as it is written: rows stream in, block by block, and it becomes visible when it is whole.

use std::{
    fs::File,
    io::{self, BufWriter},
    path::PathBuf,
};

use arrow::{array::AsArray as _, datatypes::TimestampMicrosecondType, record_batch::RecordBatch};
use cairn_domain::{
    BlockRef, Position,
    datasets::{Cells, DatasetDef},
};
use parquet::{arrow::ArrowWriter, file::metadata::KeyValue};

use crate::{
    LakeError,
    hashed::Hashed,
    place::Place,
    rows::RowBuffer,
    schema::{WRITER_VERSION, properties, schema},
};

/// Rows are handed on when there are so many, or they have so many bytes. That they are handed on between
/// the same blocks whenever the file is written makes its bytes the same.
pub(crate) const BATCH_ROWS: usize = 8192;
const BATCH_BYTES: usize = 32 << 20;

/// The columns that tell when a row was, by their place in what datasets call them.
const TIME_COLUMNS: &[&str] = &["timestamp", "event_time"];

/// What a file says of itself.
#[derive(Debug, Clone)]
pub(crate) struct PartInfo {
    /// The shard whose log it comes from.
    pub(crate) log: String,
    /// The stream whose rows it holds.
    pub(crate) stream: String,
    /// Positions of the first and the last commit that it covers.
    pub(crate) positions: (Position, Position),
    /// The first and the last height that it covers.
    pub(crate) heights: Option<(u64, u64)>,
    /// The last block that it covers.
    pub(crate) head: Option<BlockRef>,
}

/// A file that is whole, and that nobody sees yet.
#[derive(Debug)]
pub(crate) struct Spooled {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Number of rows.
    pub(crate) rows: u64,
    /// Size in bytes.
    pub(crate) bytes: u64,
    /// SHA-256 in hex.
    pub(crate) sha256: String,
    /// The first and the last moment of its rows, in microseconds since 1970.
    pub(crate) times: Option<(i64, i64)>,
}

impl Drop for Spooled {
    /// What was not published goes; what was, is not there any more.
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.path);
    }
}

/// See the module.
pub(crate) struct PartWriter {
    dataset: &'static DatasetDef,
    buffer: RowBuffer,
    writer: ArrowWriter<Hashed>,
    path: Unfinished,
    rows: u64,
    times: Option<(i64, i64)>,
}

/// A file that goes unless it is finished.
struct Unfinished(PathBuf);

impl Unfinished {
    fn finish(mut self) -> PathBuf {
        std::mem::take(&mut self.0)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.0.as_os_str().is_empty() {
            // What stays is in the spool, which the next start empties.
            let _gone = std::fs::remove_file(&self.0);
        }
    }
}

impl PartWriter {
    /// Begins a file.
    pub(crate) fn new(
        place: &Place,
        dataset: &'static DatasetDef,
        name: &str,
    ) -> Result<Self, LakeError> {
        let path = place.spooled(name);
        let file = File::create(&path)
            .map_err(|error| LakeError::storage(path.display().to_string(), error))?;
        let sink = Hashed::new(BufWriter::with_capacity(1 << 20, file));
        let writer = ArrowWriter::try_new(sink, schema(dataset), Some(properties(dataset, true)))?;
        Ok(Self {
            dataset,
            buffer: RowBuffer::new(dataset),
            writer,
            path: Unfinished(path),
            rows: 0,
            times: None,
        })
    }

    /// The dataset whose rows it takes.
    pub(crate) fn dataset(&self) -> &'static DatasetDef {
        self.dataset
    }

    /// Takes the next rows.
    pub(crate) fn cells(&mut self) -> &mut dyn Cells {
        &mut self.buffer
    }

    /// Number of rows so far.
    pub(crate) fn rows(&self) -> u64 {
        self.rows + self.buffer.rows() as u64
    }

    /// Says that the rows of a block, or of a commit, are all there.
    pub(crate) fn end_block(&mut self) -> Result<(), LakeError> {
        match self.buffer.rows() >= BATCH_ROWS || self.buffer.bytes() >= BATCH_BYTES {
            true => self.write_buffered(),
            false => Ok(()),
        }
    }

    fn write_buffered(&mut self) -> Result<(), LakeError> {
        let batch = self.buffer.take()?;
        self.write(&batch)
    }

    /// Takes rows that are columns already.
    pub(crate) fn write(&mut self, batch: &RecordBatch) -> Result<(), LakeError> {
        if let Some((first, last)) = times(batch) {
            let (low, high) = self.times.unwrap_or((first, last));
            self.times = Some((low.min(first), high.max(last)));
        }
        self.rows += batch.num_rows() as u64;
        Ok(self.writer.write(batch)?)
    }

    /// Makes the file whole and durable; none where it has no rows, and is gone.
    pub(crate) fn finish(mut self, info: &PartInfo) -> Result<Option<Spooled>, LakeError> {
        if self.buffer.rows() > 0 {
            self.write_buffered()?;
        }
        if self.rows == 0 {
            return Ok(None);
        }
        for (key, value) in metadata(self.dataset, info, self.rows) {
            self.writer
                .append_key_value_metadata(KeyValue::new(format!("cairn.{key}"), value));
        }
        let sink = self.writer.into_inner()?;
        let shown = self.path.0.display().to_string();
        let fail = |error: io::Error| LakeError::storage(shown, error);
        let (bytes, digest) = sink.finish().map_err(fail)?;
        Ok(Some(Spooled {
            path: self.path.finish(),
            rows: self.rows,
            bytes,
            sha256: digest,
            times: self.times,
        }))
    }
}

fn metadata(dataset: &DatasetDef, info: &PartInfo, rows: u64) -> Vec<(&'static str, String)> {
    let (first, last) = info.positions;
    let mut pairs = vec![
        ("writer", WRITER_VERSION.to_owned()),
        ("dataset", dataset.name.to_owned()),
        ("schema_version", dataset.version.to_string()),
        ("log", info.log.clone()),
        ("stream", info.stream.clone()),
        ("positions", format!("{first}-{last}")),
        ("rows", rows.to_string()),
    ];
    if let Some((low, high)) = info.heights {
        pairs.push(("heights", format!("{low}-{high}")));
    }
    if let Some(head) = info.head {
        pairs.push(("head_height", head.height.to_string()));
        pairs.push(("head_hash", head.hash.to_string()));
    }
    pairs
}

/// The first and the last moment of rows.
fn times(batch: &RecordBatch) -> Option<(i64, i64)> {
    let column = TIME_COLUMNS
        .iter()
        .find_map(|name| batch.column_by_name(name))?;
    let moments = column.as_primitive_opt::<TimestampMicrosecondType>()?;
    if moments.is_empty() {
        return None;
    }
    let values = moments.values();
    Some((*values.iter().min()?, *values.iter().max()?))
}

#[cfg(test)]
mod tests {
    use cairn_domain::datasets::dataset;
    use parquet::file::reader::{FileReader as _, SerializedFileReader};
    use rand::{Rng as _, SeedableRng as _, rngs::StdRng};

    use super::*;
    use crate::{rows::put_row, schema::ROW_GROUP_BYTES};

    /// Bytes of each value, which nothing makes shorter.
    const LARGE: usize = 1 << 20;

    #[test]
    fn few_rows_of_many_bytes_are_several_row_groups() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = Place::directory(directory.path()).expect("a place");
        place.empty_spool().expect("a spool");
        let logs = dataset("logs").expect("logs");
        let mut part = PartWriter::new(&place, logs, "large").expect("a file");
        let (mut random, mut bytes) = (StdRng::seed_from_u64(7), vec![0; LARGE]);
        let rows = 5 * ROW_GROUP_BYTES / LARGE / 4;
        for _ in 0..rows {
            random.fill_bytes(&mut bytes);
            put_row(logs, part.cells(), 0, &bytes);
            part.end_block().expect("a row");
            assert!(part.buffer.bytes() < BATCH_BYTES);
        }
        let info = PartInfo {
            log: "log".into(),
            stream: "chain/eth".into(),
            positions: (Position(1), Position(1)),
            heights: None,
            head: None,
        };
        let spooled = part.finish(&info).expect("a file").expect("it has rows");
        let file = File::open(&spooled.path).expect("the file");
        let reader = SerializedFileReader::new(file).expect("Parquet");
        let groups = reader.metadata().row_groups();
        assert_eq!(spooled.rows, rows as u64);
        assert_eq!(groups.len(), 2);
        for group in groups {
            let bytes = group.compressed_size() as usize;
            assert!(bytes <= ROW_GROUP_BYTES + BATCH_BYTES, "{bytes}");
        }
    }
}
