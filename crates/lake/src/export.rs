//! Rows of a dataset as one file, as of one position.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufWriter, Write},
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use arrow::{array::AsArray as _, datatypes::Int64Type, record_batch::RecordBatch};
use cairn_domain::{
    Position,
    datasets::{DatasetDef, RowSource, dataset},
    events::{ExportCompression, ExportFormat, ExportRequested, Visibility},
};
use flate2::{Compression, write::GzEncoder};
use futures_util::StreamExt as _;

use crate::{
    LakeError,
    copy::Copy,
    hashed::Hashed,
    sql::{SqlCaller, SqlEngine, SqlError, SqlFormat, encode},
};

/// Why an export fails.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// There is no such dataset of blocks.
    #[error("there is no dataset of blocks `{0}`")]
    UnknownDataset(String),
    /// An account is named, and rows of the dataset have no sender.
    #[error("rows of {0} have no sender and recipient: leave the address out")]
    NoAddress(String),
    /// The rows cannot be read.
    #[error(transparent)]
    Sql(#[from] SqlError),
    /// The files of the lake cannot be copied.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The file cannot be written.
    #[error("the file cannot be written: {0}; free space, then ask again")]
    File(#[from] io::Error),
}

/// A file that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Number of rows.
    pub rows: u64,
    /// Size in bytes.
    pub bytes: u64,
    /// SHA-256 in hex.
    pub sha256: String,
    /// The position of each shard that the rows are as of.
    pub positions: BTreeMap<String, Position>,
}

/// What a file of such an export is called behind its name's dot.
pub fn extension(format: ExportFormat, compression: ExportCompression) -> String {
    match compression {
        ExportCompression::None => format.to_string(),
        ExportCompression::Gzip if format != ExportFormat::Parquet => format!("{format}.gz"),
        ExportCompression::Zstd if format != ExportFormat::Parquet => format!("{format}.zst"),
        // It is compressed inside.
        ExportCompression::Gzip | ExportCompression::Zstd => format.to_string(),
    }
}

fn block_dataset(name: &str) -> Result<&'static DatasetDef, ExportError> {
    let found = dataset(name).filter(|dataset| matches!(dataset.source, RowSource::Blocks(_)));
    found.ok_or_else(|| ExportError::UnknownDataset(name.to_owned()))
}

/// The column of heights, and whether there are senders, of a dataset of blocks.
fn shape(found: &DatasetDef) -> (&'static str, bool) {
    let columns = (found.columns)();
    let has = |name: &str| columns.iter().any(|column| column.name == name);
    let height = if has("block_height") {
        "block_height"
    } else {
        "height"
    };
    (height, has("from_address") && has("to_address"))
}

/// The query whose rows are wanted, and the one that counts them.
///
/// # Errors
/// [`ExportError`] for an unknown dataset, and for an account where rows have none.
pub fn queries(request: &ExportRequested) -> Result<(String, String), ExportError> {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let (height, has_sender) = shape(block_dataset(&request.dataset)?);
    let mut rows = format!(
        "FROM {} WHERE chain = {} AND {height} >= {} AND {height} <= {}",
        request.dataset,
        quoted(&request.chain),
        request.from.min(i64::MAX as u64),
        request.to.min(i64::MAX as u64),
    );
    if let Some(address) = &request.address {
        if !has_sender {
            return Err(ExportError::NoAddress(request.dataset.clone()));
        }
        let address = quoted(&address.to_string());
        rows += &format!(" AND (from_address = {address} OR to_address = {address})");
    }
    if request.final_only {
        rows += " AND final";
    }
    // As rows stand in files, so that nothing has to be sorted.
    let order = match request.dataset.as_str() {
        "transactions" => "block_height, transaction_index",
        "logs" => "block_height, transaction_index, log_index",
        "token_transfers" => "block_height, transaction_index, log_index, part",
        "withdrawals" => "block_height, withdrawal_index",
        _ => height,
    };
    Ok((
        format!("SELECT * {rows} ORDER BY {order}"),
        format!("SELECT count(*) AS rows {rows}"),
    ))
}

/// How many rows an export would have now.
///
/// # Errors
/// [`ExportError`].
pub async fn count(engine: &SqlEngine, request: &ExportRequested) -> Result<u64, ExportError> {
    let (_, query) = queries(request)?;
    let caller = SqlCaller::new(Visibility::Public);
    let mut answer = engine.query(&query, &caller).await?;
    let mut count = 0;
    while let Some(rows) = answer.next().await {
        count += counted(&rows?);
    }
    Ok(count)
}

/// What a query that counts has counted.
fn counted(rows: &RecordBatch) -> u64 {
    let column = rows.columns().first();
    let counts = column.and_then(|column| column.as_primitive_opt::<Int64Type>());
    let count = counts.and_then(|counts| counts.iter().next().flatten());
    count.map_or(0, |count| u64::try_from(count).unwrap_or(0))
}

/// Writes the rows to a file; it is durable when this returns. `progress` hears how many rows there are so
/// far.
///
/// # Errors
/// [`ExportError`]; the file is then not to be used.
pub async fn export(
    engine: &SqlEngine,
    request: &ExportRequested,
    path: &Path,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<Exported, ExportError> {
    if request.format == ExportFormat::Parquet && request.address.is_none() {
        return copied(engine, request, path, progress).await;
    }
    let (query, _) = queries(request)?;
    let answer = engine
        .query(&query, &SqlCaller::new(Visibility::Public))
        .await?;
    let (positions, counter) = (answer.positions.clone(), answer.counter());
    let format = match request.format {
        ExportFormat::Json | ExportFormat::Ndjson => SqlFormat::Ndjson,
        ExportFormat::Csv => SqlFormat::Csv,
        ExportFormat::Parquet => SqlFormat::Parquet,
        ExportFormat::Arrow => SqlFormat::Arrow,
    };
    let mut array = (request.format == ExportFormat::Json).then(Array::default);
    let mut file = Compressed::new(path, request)?;
    // The same rows are the same file, whenever it is made.
    let mut pieces = Box::pin(encode(answer.unmarked(), format));
    while let Some(piece) = pieces.next().await {
        match &mut array {
            Some(array) => array.write(&piece?, &mut file)?,
            None => file.write_all(&piece?)?,
        }
        progress(counter.load(Ordering::Relaxed));
    }
    if let Some(array) = array {
        array.end(&mut file)?;
    }
    let (bytes, sha256) = file.finish()?;
    Ok(Exported {
        rows: counter.load(Ordering::Relaxed),
        bytes,
        sha256,
        positions,
    })
}

/// Rows of a range, most of them as they are in files.
async fn copied(
    engine: &SqlEngine,
    request: &ExportRequested,
    path: &Path,
    progress: &(dyn Fn(u64) + Send + Sync),
) -> Result<Exported, ExportError> {
    let dataset = block_dataset(&request.dataset)?;
    let (height, _) = shape(dataset);
    let snapshot = engine.snapshot().await?;
    let bound = |height: u64| i64::try_from(height).unwrap_or(i64::MAX);
    let heights = bound(request.from)..=bound(request.to);
    let mut copy = Copy::new(engine.place(), path, dataset, height, heights)?;
    let mut rest = request.clone();
    for file in snapshot.files_of(dataset.name, &request.chain) {
        let Some((low, high)) = file.heights else {
            continue;
        };
        if low <= request.to && high >= request.from {
            copy.take(file, progress).await?;
        }
        rest.from = rest.from.max(high.saturating_add(1));
    }
    let caller = SqlCaller::new(Visibility::Public);
    let (query, _) = queries(&rest)?;
    let mut answer = engine
        .query_as_of(&query, &caller, Some(Arc::clone(&snapshot)))
        .await?;
    while let Some(batch) = answer.next().await {
        copy.add(batch?)?;
        progress(copy.rows());
    }
    let rows = copy.rows();
    let (bytes, sha256) = copy.finish()?;
    Ok(Exported {
        rows,
        bytes,
        sha256,
        positions: snapshot.positions(),
    })
}

/// Lines of objects on their way into an array.
#[derive(Default)]
struct Array {
    begun: bool,
}

impl Array {
    fn write(&mut self, lines: &[u8], out: &mut impl Write) -> io::Result<()> {
        for line in lines
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            out.write_all(if self.begun { b",\n" } else { b"[\n" })?;
            self.begun = true;
            out.write_all(line)?;
        }
        Ok(())
    }

    fn end(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(if self.begun { b"\n]\n" } else { b"[]\n" })
    }
}

/// A file that is compressed as it is written.
enum Compressed {
    Plain(Hashed),
    Gzip(GzEncoder<Hashed>),
    Zstd(zstd::Encoder<'static, Hashed>),
}

impl Compressed {
    fn new(path: &Path, request: &ExportRequested) -> io::Result<Self> {
        let file = Hashed::new(BufWriter::with_capacity(1 << 20, File::create(path)?));
        Ok(match (request.format, request.compression) {
            (ExportFormat::Parquet, _) | (_, ExportCompression::None) => Self::Plain(file),
            (_, ExportCompression::Gzip) => {
                Self::Gzip(GzEncoder::new(file, Compression::default()))
            }
            (_, ExportCompression::Zstd) => Self::Zstd(zstd::Encoder::new(file, 3)?),
        })
    }

    /// Makes it durable; gives its size and digest.
    fn finish(self) -> io::Result<(u64, String)> {
        match self {
            Self::Plain(file) => file.finish(),
            Self::Gzip(encoder) => encoder.finish()?.finish(),
            Self::Zstd(encoder) => encoder.finish()?.finish(),
        }
    }
}

impl Write for Compressed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_domain::events::EventType as _;

    #[test]
    fn a_query_names_range_account_and_finality_and_cannot_be_broken_out_of() {
        let mut request = ExportRequested::example();
        let (rows, count) = queries(&request).unwrap();
        let address = "0xa1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1";
        assert_eq!(
            rows,
            format!(
                "SELECT * FROM transactions WHERE chain = 'eth' AND block_height >= 17686110 AND block_height <= 17686132 AND (from_address = '{address}' OR to_address = '{address}') AND final ORDER BY block_height, transaction_index"
            )
        );
        assert!(count.starts_with("SELECT count(*) AS rows FROM transactions WHERE"));
        request.chain = "it's".into();
        assert!(queries(&request).unwrap().0.contains("chain = 'it''s'"));
        request.dataset = "reverts".into();
        assert!(matches!(
            queries(&request),
            Err(ExportError::UnknownDataset(_))
        ));
        request.dataset = "blocks".into();
        assert!(matches!(queries(&request), Err(ExportError::NoAddress(_))));
    }

    #[test]
    fn lines_become_an_array() {
        for (lines, expected) in [("", "[]\n"), ("{}\n{\"a\":1}\n", "[\n{},\n{\"a\":1}\n]\n")] {
            let (mut array, mut out) = (Array::default(), Vec::new());
            array.write(lines.as_bytes(), &mut out).unwrap();
            array.end(&mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
