//! Datasets as Arrow schemas, and how their columns are written to Parquet.

use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use cairn_domain::datasets::{Column, ColumnType, DatasetDef};
use parquet::{
    arrow::{ArrowSchemaConverter, PARQUET_FIELD_ID_META_KEY},
    basic::{Compression, Encoding, ZstdLevel},
    file::properties::{EnabledStatistics, WriterProperties, WriterVersion},
    schema::{printer::print_schema, types::ColumnPath},
};

use crate::LakeError;

/// Version of the writer: one more whenever the same rows would give other bytes.
pub const WRITER_VERSION: &str = "cairn-lake 5";

/// The key under which answers in Arrow and Parquet say as of which position of each shard they are: a JSON
/// object by the shards' names.
pub(crate) const POSITIONS: &str = "cairn.positions";

/// Rows of a row group.
pub const ROW_GROUP_ROWS: usize = 131_072;

/// And about so many bytes: a writer holds them in memory until the group is complete.
pub(crate) const ROW_GROUP_BYTES: usize = 128 << 20;

/// Rows of a page, unless 1 MiB comes first: half a row group. Values repeat over thousands of rows, which
/// only a compressor that sees them together can use.
const PAGE_ROWS: usize = 65_536;

/// Dictionaries may grow to so many bytes: about as many as a row group has distinct accounts.
const DICTIONARY_BYTES: usize = 4 << 20;

/// The Arrow type of a column.
pub fn arrow_type(kind: ColumnType) -> DataType {
    match kind {
        ColumnType::Switch => DataType::Boolean,
        ColumnType::Int32 => DataType::Int32,
        ColumnType::Int64 => DataType::Int64,
        ColumnType::Decimal20 => DataType::Decimal128(20, 0),
        ColumnType::Decimal38 => DataType::Decimal128(38, 0),
        ColumnType::Word => DataType::FixedSizeBinary(32),
        ColumnType::Text | ColumnType::Hash | ColumnType::Address => DataType::Utf8,
        ColumnType::Bytes => DataType::Binary,
        ColumnType::Time => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
    }
}

/// The Arrow schema of a dataset. Fields carry the ids under which Iceberg knows them, from 1 on.
pub fn schema(dataset: &DatasetDef) -> SchemaRef {
    let fields: Vec<_> = (1..)
        .zip((dataset.columns)())
        .map(|(id, column)| field(id, &column))
        .collect();
    Arc::new(Schema::new(fields))
}

fn field(id: usize, column: &Column) -> Field {
    let metadata = HashMap::from([(PARQUET_FIELD_ID_META_KEY.to_owned(), id.to_string())]);
    Field::new(&column.name, arrow_type(column.kind), column.nullable).with_metadata(metadata)
}

/// The schema of the files of a dataset, as Parquet tools print it.
///
/// # Errors
/// [`LakeError::Columns`](crate::LakeError::Columns) for a column that Parquet has no type for, which is a
/// bug of the dataset.
pub fn parquet_schema(dataset: &DatasetDef) -> Result<String, LakeError> {
    let converter = ArrowSchemaConverter::new().schema_root(dataset.name);
    let parquet = converter.convert(&schema(dataset))?;
    let mut text = Vec::new();
    print_schema(&mut text, parquet.root_schema());
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// How the files of a dataset are written, with bloom filters where a row is looked for by its value, or
/// without.
pub(crate) fn properties(dataset: &DatasetDef, bloom_filters: bool) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_created_by(WRITER_VERSION.into())
        .set_compression(Compression::ZSTD(
            ZstdLevel::try_new(3).expect("a level of zstd"),
        ))
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
        .set_data_page_row_count_limit(PAGE_ROWS)
        .set_dictionary_page_size_limit(DICTIONARY_BYTES)
        .set_statistics_enabled(EnabledStatistics::Page);
    for column in (dataset.columns)() {
        let path = ColumnPath::from(column.name.as_str());
        properties = match column.kind {
            // Each value once: a dictionary would hold them all, and be given up.
            ColumnType::Hash if column.name == "hash" => properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path.clone(), Encoding::DELTA_LENGTH_BYTE_ARRAY)
                .set_column_bloom_filter_enabled(path.clone(), bloom_filters)
                .set_column_bloom_filter_ndv(path, ROW_GROUP_ROWS as u64),
            ColumnType::Hash | ColumnType::Address => properties
                .set_column_bloom_filter_enabled(path.clone(), bloom_filters)
                .set_column_bloom_filter_ndv(path, ROW_GROUP_ROWS as u64),
            // Sorted, or nearly so.
            ColumnType::Time => properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
            ColumnType::Int64 if is_ordered(&column.name) => properties
                .set_column_dictionary_enabled(path.clone(), false)
                .set_column_encoding(path, Encoding::DELTA_BINARY_PACKED),
            ColumnType::Switch
            | ColumnType::Int32
            | ColumnType::Int64
            | ColumnType::Decimal20
            | ColumnType::Decimal38
            | ColumnType::Word
            | ColumnType::Text
            | ColumnType::Bytes => properties,
        };
    }
    properties.build()
}

/// Whether a number grows from row to row, or from block to block.
fn is_ordered(name: &str) -> bool {
    matches!(
        name,
        "height" | "block_height" | "transaction_index" | "log_index" | "position"
    )
}
