//! A Parquet file out of a range of heights, made of the lake's own: row groups inside the range go over
//! column by column as they are, without being decoded; of those at its ends the rows are picked; what is in
//! no file yet is answered by the query engine, as of the same position.

use std::{
    fs::File,
    io::{self, BufWriter},
    ops::RangeInclusive,
    path::Path,
    sync::Arc,
};

use arrow::{
    array::{ArrayRef, AsArray as _, BooleanArray, BooleanBuilder},
    compute::filter_record_batch,
    datatypes::{DataType, Field, Int64Type, Schema, SchemaRef},
    record_batch::RecordBatch,
};
use bytes::{Buf as _, Bytes, buf::Reader};
use cairn_domain::datasets::DatasetDef;
use futures_util::TryStreamExt as _;
use object_store::{ObjectStore, ObjectStoreExt as _};
use parquet::{
    arrow::{
        ArrowWriter, ParquetRecordBatchStreamBuilder,
        arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions},
        arrow_writer::{ArrowRowGroupWriterFactory, ArrowWriterOptions, compute_leaves},
        async_reader::ParquetObjectReader,
    },
    column::writer::ColumnCloseResult,
    data_type::BoolType,
    errors::{ParquetError, Result as ParquetResult},
    file::{
        metadata::{PageIndexPolicy, ParquetMetaData},
        reader::{ChunkReader, Length},
        statistics::Statistics,
        writer::SerializedFileWriter,
    },
};

use crate::{
    LakeError, Place,
    hashed::Hashed,
    manifest::FileEntry,
    schema::{ROW_GROUP_BYTES, ROW_GROUP_ROWS, properties, schema},
};

/// The column behind those of the dataset, as in answers.
const FINAL: &str = "final";

/// A file on its way: the columns of a dataset, and whether each row is final.
pub(crate) struct Copy {
    objects: Arc<dyn ObjectStore>,
    /// The column of heights.
    height: &'static str,
    heights: RangeInclusive<i64>,
    schema: SchemaRef,
    writer: SerializedFileWriter<Hashed>,
    encoders: ArrowRowGroupWriterFactory,
    waiting: Vec<RecordBatch>,
    rows: u64,
}

impl Copy {
    /// Begins a file of rows of these heights.
    ///
    /// # Errors
    /// [`LakeError::Storage`] where it cannot be made.
    pub(crate) fn new(
        place: &Place,
        path: &Path,
        dataset: &DatasetDef,
        height: &'static str,
        heights: RangeInclusive<i64>,
    ) -> Result<Self, LakeError> {
        let fail = |error: io::Error| LakeError::storage(path.display().to_string(), error);
        let columns = schema(dataset);
        let behind = Arc::new(Field::new(FINAL, DataType::Boolean, false));
        let fields = columns.fields().iter().cloned().chain([behind]);
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let file = BufWriter::with_capacity(1 << 20, File::create(path).map_err(fail)?);
        let options = ArrowWriterOptions::new().with_properties(properties(dataset, false));
        let writer =
            ArrowWriter::try_new_with_options(Hashed::new(file), Arc::clone(&schema), options)?;
        let (writer, encoders) = writer.into_serialized_writer()?;
        Ok(Self {
            objects: Arc::clone(place.objects()),
            height,
            heights,
            schema,
            writer,
            encoders,
            waiting: Vec::new(),
            rows: 0,
        })
    }

    /// How many rows it has.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Takes the rows of a file of the lake; `progress` hears how many rows there are so far.
    ///
    /// # Errors
    /// [`LakeError::Storage`], and [`LakeError::Columns`] for a file that is not what it should be.
    pub(crate) async fn take(
        &mut self,
        entry: &FileEntry,
        progress: &(dyn Fn(u64) + Send + Sync),
    ) -> Result<(), LakeError> {
        let mut reader =
            ParquetObjectReader::new(Arc::clone(&self.objects), entry.path.as_str().into())
                .with_file_size(entry.bytes);
        let options = ArrowReaderOptions::new().with_page_index_policy(PageIndexPolicy::Required);
        let footer = ArrowReaderMetadata::load_async(&mut reader, options).await?;
        for index in 0..footer.metadata().num_row_groups() {
            match self.place_of(footer.metadata(), index) {
                Overlap::None => continue,
                Overlap::All => self.copy(entry, footer.metadata(), index).await?,
                Overlap::Some => self.pick(reader.clone(), footer.clone(), index).await?,
            }
            progress(self.rows);
        }
        Ok(())
    }

    /// How a row group lies to the range.
    fn place_of(&self, footer: &ParquetMetaData, index: usize) -> Overlap {
        let columns = footer.row_group(index).columns();
        let height = columns
            .iter()
            .find(|column| column.column_path().string() == self.height);
        let Some(Statistics::Int64(known)) = height.and_then(|column| column.statistics()) else {
            return Overlap::Some;
        };
        match (known.min_opt(), known.max_opt()) {
            (Some(low), Some(high)) if low > self.heights.end() || high < self.heights.start() => {
                Overlap::None
            }
            (Some(low), Some(high))
                if self.heights.contains(low) && self.heights.contains(high) =>
            {
                Overlap::All
            }
            _ => Overlap::Some,
        }
    }

    /// Copies a row group as it is. No more than a column of it is in memory.
    async fn copy(
        &mut self,
        entry: &FileEntry,
        footer: &ParquetMetaData,
        index: usize,
    ) -> Result<(), LakeError> {
        self.write_waiting()?;
        let group = footer.row_group(index);
        let rows = group.num_rows().unsigned_abs();
        let columns = footer.column_index().map(|columns| &columns[index]);
        let offsets = footer.offset_index().map(|offsets| &offsets[index]);
        let mut target = self.writer.next_row_group()?;
        for (number, column) in group.columns().iter().enumerate() {
            let (start, length) = column.byte_range();
            let path = entry.path.as_str().into();
            let bytes = self.objects.get_range(&path, start..start + length).await;
            let bytes = bytes.map_err(|error| LakeError::object(&entry.path, error))?;
            let close = ColumnCloseResult {
                bytes_written: length,
                rows_written: rows,
                metadata: column.clone(),
                bloom_filter: None,
                column_index: columns.map(|columns| columns[number].clone()),
                offset_index: offsets.map(|offsets| offsets[number].clone()),
            };
            target.append_column(&Chunk { start, bytes }, close)?;
        }
        // What is in files is final.
        if let Some(mut column) = target.next_column()? {
            let finals = vec![true; rows as usize];
            column
                .typed::<BoolType>()
                .write_batch(&finals, None, None)?;
            column.close()?;
        }
        target.close()?;
        self.rows += rows;
        Ok(())
    }

    /// Takes the rows of a row group that are in the range.
    async fn pick(
        &mut self,
        reader: ParquetObjectReader,
        footer: ArrowReaderMetadata,
        index: usize,
    ) -> Result<(), LakeError> {
        let builder = ParquetRecordBatchStreamBuilder::new_with_metadata(reader, footer);
        let mut batches = builder.with_row_groups(vec![index]).build()?;
        while let Some(batch) = batches.try_next().await? {
            let heights = batch.column_by_name(self.height);
            let heights = heights.and_then(|heights| heights.as_primitive_opt::<Int64Type>());
            let heights = heights
                .ok_or_else(|| LakeError::Columns(format!("a file lacks {}", self.height)))?;
            let is_in = |height: &i64| self.heights.contains(height);
            let is_in: BooleanArray = heights
                .values()
                .iter()
                .map(|height| Some(is_in(height)))
                .collect();
            let picked = filter_record_batch(&batch, &is_in)?;
            let mut finals = BooleanBuilder::with_capacity(picked.num_rows());
            finals.append_n(picked.num_rows(), true);
            let finals: ArrayRef = Arc::new(finals.finish());
            let columns = picked.columns().iter().cloned().chain([finals]).collect();
            self.add(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)?;
        }
        Ok(())
    }

    /// Takes rows that are in no file: the columns of the dataset, and whether each row is final.
    ///
    /// # Errors
    /// [`LakeError::Columns`].
    pub(crate) fn add(&mut self, batch: RecordBatch) -> Result<(), LakeError> {
        self.rows += batch.num_rows() as u64;
        self.waiting.push(batch);
        let rows: usize = self.waiting.iter().map(RecordBatch::num_rows).sum();
        let bytes = self.waiting.iter().map(RecordBatch::get_array_memory_size);
        match rows >= ROW_GROUP_ROWS || bytes.sum::<usize>() >= ROW_GROUP_BYTES {
            true => self.write_waiting(),
            false => Ok(()),
        }
    }

    fn write_waiting(&mut self) -> Result<(), LakeError> {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.iter().all(|batch| batch.num_rows() == 0) {
            return Ok(());
        }
        let index = self.writer.flushed_row_groups().len();
        let mut encoders = self.encoders.create_column_writers(index)?;
        for batch in &waiting {
            let columns = self.schema.fields().iter().zip(batch.columns());
            for (encoder, (field, column)) in encoders.iter_mut().zip(columns) {
                for leaf in compute_leaves(field, column)? {
                    encoder.write(&leaf)?;
                }
            }
        }
        let mut target = self.writer.next_row_group()?;
        for encoder in encoders {
            encoder.close()?.append_to_row_group(&mut target)?;
        }
        target.close()?;
        Ok(())
    }

    /// Ends the file and makes it durable; gives its size in bytes and its SHA-256 in hex.
    ///
    /// # Errors
    /// [`LakeError::Storage`], [`LakeError::Columns`].
    pub(crate) fn finish(mut self) -> Result<(u64, String), LakeError> {
        self.write_waiting()?;
        let file = self.writer.into_inner()?;
        file.finish()
            .map_err(|error| LakeError::storage("the file of an export", error))
    }
}

/// How much of a row group is in a range of heights.
enum Overlap {
    None,
    Some,
    All,
}

/// Bytes of a file from `start` on.
struct Chunk {
    start: u64,
    bytes: Bytes,
}

impl Chunk {
    fn from(&self, start: u64) -> ParquetResult<Bytes> {
        let at = start.checked_sub(self.start).map(|at| at as usize);
        let at = at.filter(|at| *at <= self.bytes.len());
        let at = at.ok_or_else(|| ParquetError::EOF(format!("{start} is not in this chunk")))?;
        Ok(self.bytes.slice(at..))
    }
}

impl Length for Chunk {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Chunk {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        let bytes = self.from(start)?;
        match length <= bytes.len() {
            true => Ok(bytes.slice(..length)),
            false => Err(ParquetError::EOF(format!(
                "{length} bytes are not in this chunk"
            ))),
        }
    }
}
