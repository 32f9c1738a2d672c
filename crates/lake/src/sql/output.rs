//! Answers as bytes: JSON, NDJSON, CSV, Arrow and Parquet.
//!
//! In JSON, NDJSON and CSV a decimal is an exact string, bytes are `0x` and hex digits, a moment is
//! RFC 3339 with `Z`; whole numbers are numbers. JSON is one object: `columns` (`name`, `type`),
//! `positions` (by shard), `rows` (an object each, nulls included), and behind them `row_count`. An answer
//! that fails on its way ends with the error and not with `row_count`, so that what came is no JSON.

use std::{collections::BTreeMap, sync::Arc};

use arrow::{
    csv::WriterBuilder as CsvBuilder,
    datatypes::{Schema, SchemaRef},
    error::ArrowError,
    ipc::writer::StreamWriter,
    json::{WriterBuilder as JsonBuilder, writer::LineDelimited},
    record_batch::RecordBatch,
};
use bytes::Bytes;
use cairn_domain::Position;
use futures_util::{Stream, StreamExt as _, stream};
use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, ZstdLevel},
    file::{metadata::KeyValue, properties::WriterProperties},
};
use serde_json::{Value, json};

use super::{SqlAnswer, SqlError, answer::positions_json, names::type_name, text::textual};
use crate::LakeError;

/// Parquet is handed on when so many rows, or bytes, make a row group.
const GROUP_ROWS: usize = 131_072;
const GROUP_BYTES: usize = 32 << 20;

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SqlFormat {
    /// One JSON object.
    Json,
    /// A JSON object a row, each on a line.
    Ndjson,
    /// Comma-separated values, with the names of the columns first.
    Csv,
    /// An Arrow IPC stream.
    Arrow,
    /// A Parquet file.
    Parquet,
}

impl SqlFormat {
    /// Every form.
    pub const ALL: [Self; 5] = [
        Self::Json,
        Self::Ndjson,
        Self::Csv,
        Self::Arrow,
        Self::Parquet,
    ];

    /// Its name in requests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Arrow => "arrow",
            Self::Parquet => "parquet",
        }
    }

    /// Whether it is text.
    pub fn is_text(self) -> bool {
        match self {
            Self::Json | Self::Ndjson | Self::Csv => true,
            Self::Arrow | Self::Parquet => false,
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Ndjson => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Arrow => "application/vnd.apache.arrow.stream",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }
}

/// An answer as bytes. No bytes come before the first rows do, so an answer that fails at once fails with
/// nothing sent; one that fails later ends with an error, and what came is not to be used.
pub fn encode(
    answer: SqlAnswer,
    format: SqlFormat,
) -> impl Stream<Item = Result<Bytes, SqlError>> + Send + 'static {
    let encoder = Encoder::new(format, &answer.schema, &answer.positions);
    stream::unfold(Some((answer, encoder)), |state| async move {
        let (mut answer, mut encoder) = state?;
        loop {
            match next(&mut answer, &mut encoder).await {
                Ok((bytes, false)) if bytes.is_empty() => {}
                Ok((bytes, false)) => return Some((Ok(bytes), Some((answer, encoder)))),
                Ok((bytes, true)) => return Some((Ok(bytes), None)),
                Err(error) => return Some((Err(error), None)),
            }
        }
    })
}

/// The next bytes, and whether they are the last.
async fn next(
    answer: &mut SqlAnswer,
    encoder: &mut Result<Encoder, ArrowError>,
) -> Result<(Bytes, bool), SqlError> {
    let failed = |error: &ArrowError| match error {
        ArrowError::CsvError(reason) => SqlError::Execution(format!(
            "this answer cannot be CSV: {reason}; ask for JSON, Arrow or Parquet"
        )),
        error => LakeError::Columns(error.to_string()).into(),
    };
    let encoder = encoder.as_mut().map_err(|error| failed(error))?;
    let bytes = match answer.next().await {
        Some(batch) => (encoder.rows(&batch?), false),
        None => (encoder.end(), true),
    };
    Ok((bytes.0.map_err(|error| failed(&error))?.into(), bytes.1))
}

/// What has been written and not been handed on is inside.
enum Encoder {
    Json {
        head: Option<Vec<u8>>,
        rows: usize,
    },
    Ndjson,
    Csv {
        head: Option<SchemaRef>,
    },
    Arrow(Box<StreamWriter<Vec<u8>>>),
    /// Without a writer once it has ended.
    Parquet(Option<Box<ArrowWriter<Vec<u8>>>>),
}

impl Encoder {
    fn new(
        format: SqlFormat,
        schema: &SchemaRef,
        positions: &BTreeMap<String, Position>,
    ) -> Result<Self, ArrowError> {
        Ok(match format {
            SqlFormat::Json => Self::Json {
                head: Some(json_head(schema, positions)),
                rows: 0,
            },
            SqlFormat::Ndjson => Self::Ndjson,
            SqlFormat::Csv => Self::Csv {
                head: Some(Arc::clone(schema)),
            },
            SqlFormat::Arrow => Self::Arrow(Box::new(StreamWriter::try_new(Vec::new(), schema)?)),
            SqlFormat::Parquet => {
                let marks = schema.metadata().iter();
                let marks = marks.map(|(key, value)| KeyValue::new(key.clone(), value.clone()));
                let properties = WriterProperties::builder()
                    .set_compression(Compression::ZSTD(ZstdLevel::default()))
                    .set_key_value_metadata(Some(marks.collect()))
                    .build();
                let schema = Arc::clone(schema);
                let writer = ArrowWriter::try_new(Vec::new(), schema, Some(properties))?;
                Self::Parquet(Some(Box::new(writer)))
            }
        })
    }

    fn rows(&mut self, batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
        match self {
            Self::Json { head, rows } => {
                *rows += batch.num_rows();
                let begun = head.is_none();
                let mut bytes = head.take().unwrap_or_default();
                for (index, line) in json_lines(batch)?
                    .split_inclusive(|b| *b == b'\n')
                    .enumerate()
                {
                    if begun || index > 0 {
                        bytes.push(b',');
                    }
                    bytes.extend_from_slice(line);
                }
                Ok(bytes)
            }
            Self::Ndjson => json_lines(batch),
            Self::Csv { head } => csv_lines(batch, head.take().is_some()),
            Self::Arrow(writer) => {
                writer.write(batch)?;
                Ok(std::mem::take(writer.get_mut()))
            }
            Self::Parquet(None) => Ok(Vec::new()),
            Self::Parquet(Some(writer)) => {
                writer.write(batch)?;
                let is_enough = writer.in_progress_rows() >= GROUP_ROWS
                    || writer.in_progress_size() >= GROUP_BYTES;
                if is_enough {
                    writer.flush()?;
                }
                Ok(std::mem::take(writer.inner_mut()))
            }
        }
    }

    fn end(&mut self) -> Result<Vec<u8>, ArrowError> {
        match self {
            Self::Json { head, rows } => {
                let mut bytes = head.take().unwrap_or_default();
                bytes.extend_from_slice(format!("],\"row_count\":{rows}}}\n").as_bytes());
                Ok(bytes)
            }
            Self::Ndjson => Ok(Vec::new()),
            Self::Csv { head } => match head.take() {
                None => Ok(Vec::new()),
                Some(schema) => csv_lines(&RecordBatch::new_empty(schema), true),
            },
            Self::Arrow(writer) => {
                writer.finish()?;
                Ok(std::mem::take(writer.get_mut()))
            }
            Self::Parquet(writer) => match writer.take() {
                None => Ok(Vec::new()),
                Some(writer) => Ok(writer.into_inner()?),
            },
        }
    }
}

/// All of the object up to the first row.
fn json_head(schema: &Schema, positions: &BTreeMap<String, Position>) -> Vec<u8> {
    let column = |field: &Arc<arrow::datatypes::Field>| -> Value {
        json!({ "name": field.name(), "type": type_name(field.data_type()) })
    };
    let columns: Vec<_> = schema.fields().iter().map(column).collect();
    let positions = positions_json(positions);
    let columns = Value::Array(columns);
    format!("{{\"columns\":{columns},\"positions\":{positions},\"rows\":[").into_bytes()
}

fn json_lines(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = JsonBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, LineDelimited>(Vec::new());
    writer.write(&textual(batch)?)?;
    writer.finish()?;
    Ok(writer.into_inner())
}

fn csv_lines(batch: &RecordBatch, with_head: bool) -> Result<Vec<u8>, ArrowError> {
    let mut bytes = Vec::new();
    let mut writer = CsvBuilder::new().with_header(with_head).build(&mut bytes);
    writer.write(&textual(batch)?)?;
    drop(writer);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use arrow::{
        array::{
            ArrayRef, BinaryArray, BooleanArray, Decimal128Array, FixedSizeBinaryArray, Int64Array,
            StringArray, TimestampMicrosecondArray,
        },
        ipc::reader::StreamReader,
    };
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

    use super::*;

    fn rows() -> RecordBatch {
        let word = [Some([7_u8; 32]), None].into_iter();
        let word = FixedSizeBinaryArray::try_from_sparse_iter_with_size(word, 32);
        let amount = Decimal128Array::from(vec![Some(10_i128.pow(37)), None]);
        let times = vec![Some(1_700_000_000_000_000), Some(1_700_000_000_000_001)];
        let columns: [(&str, ArrayRef); 7] = [
            ("height", Arc::new(Int64Array::from(vec![i64::MAX, -1]))),
            (
                "hash",
                Arc::new(StringArray::from(vec![Some("0xab"), None])),
            ),
            (
                "amount",
                Arc::new(amount.with_precision_and_scale(38, 0).expect("digits")),
            ),
            ("word", Arc::new(word.expect("32 bytes"))),
            (
                "data",
                Arc::new(BinaryArray::from(vec![Some(&b"\x00\xff"[..]), None])),
            ),
            (
                "time",
                Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")),
            ),
            (
                "success",
                Arc::new(BooleanArray::from(vec![Some(true), None])),
            ),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true)))
            .expect("a batch")
    }

    /// The rows twice, as two batches.
    fn encoded(format: SqlFormat) -> Vec<u8> {
        let positions = BTreeMap::from([("main".to_owned(), Position(9))]);
        let mark = [("cairn.positions".to_owned(), positions_json(&positions))];
        let schema = rows().schema().as_ref().clone().with_metadata(mark.into());
        let mut encoder = Encoder::new(format, &Arc::new(schema), &positions).expect("an encoder");
        let mut all = encoder.rows(&rows()).expect("rows");
        all.extend(encoder.rows(&rows()).expect("rows"));
        all.extend(encoder.end().expect("an end"));
        all
    }

    #[test]
    fn json_has_exact_texts_and_whole_numbers() {
        let value: Value = serde_json::from_slice(&encoded(SqlFormat::Json)).expect("JSON");
        assert_eq!(value["row_count"], 4);
        assert_eq!(value["positions"], json!({ "main": 9 }));
        assert_eq!(
            value["columns"][2],
            json!({ "name": "amount", "type": "decimal(38,0)" })
        );
        let first = json!({
            "height": i64::MAX,
            "hash": "0xab",
            "amount": "10000000000000000000000000000000000000",
            "word": format!("0x{}", "07".repeat(32)),
            "data": "0x00ff",
            "time": "2023-11-14T22:13:20Z",
            "success": true,
        });
        assert_eq!(value["rows"][0], first);
        assert_eq!(value["rows"][2], first);
        let second = json!({
            "height": -1, "hash": null, "amount": null, "word": null, "data": null,
            "time": "2023-11-14T22:13:20.000001Z", "success": null,
        });
        assert_eq!(value["rows"][3], second);
    }

    #[test]
    fn lines_are_the_rows() {
        let lines = String::from_utf8(encoded(SqlFormat::Ndjson)).expect("text");
        assert_eq!(lines.lines().count(), 4);
        let csv = String::from_utf8(encoded(SqlFormat::Csv)).expect("text");
        let lines: Vec<_> = csv.lines().collect();
        assert_eq!(lines.len(), 5);
        assert_eq!(lines[0], "height,hash,amount,word,data,time,success");
        let amount = "10000000000000000000000000000000000000";
        let word = "07".repeat(32);
        let first = format!(
            "{},0xab,{amount},0x{word},0x00ff,2023-11-14T22:13:20Z,true",
            i64::MAX
        );
        assert_eq!(lines[1], first);
    }

    #[test]
    fn columns_come_back_as_they_were() {
        let arrow = encoded(SqlFormat::Arrow);
        let read = StreamReader::try_new(&arrow[..], None).expect("a stream");
        let read: Vec<_> = read.collect::<Result<_, _>>().expect("batches");
        let mark = read[0].schema().metadata().get("cairn.positions").cloned();
        assert_eq!(mark.as_deref(), Some("{\"main\":9}"));
        let read: Vec<_> = read.iter().map(RecordBatch::columns).collect();
        assert_eq!(read, [rows().columns(), rows().columns()]);
        let parquet = Bytes::from(encoded(SqlFormat::Parquet));
        let read = ParquetRecordBatchReaderBuilder::try_new(parquet).expect("a file");
        let marks = read.metadata().file_metadata().key_value_metadata();
        let mark = KeyValue::new("cairn.positions".to_owned(), "{\"main\":9}".to_owned());
        assert!(marks.expect("metadata").contains(&mark));
        let read: Vec<_> = read
            .build()
            .expect("a reader")
            .collect::<Result<_, _>>()
            .expect("rows");
        let all = arrow::compute::concat_batches(&rows().schema(), &read).expect("one batch");
        assert_eq!(
            all.columns(),
            arrow::compute::concat_batches(&rows().schema(), &[rows(), rows()])
                .expect("one batch")
                .columns()
        );
    }
}
