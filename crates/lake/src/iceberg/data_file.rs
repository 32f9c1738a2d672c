//! Files of the lake as Iceberg tables list them: with what a reader needs to pass them over.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use ::iceberg::spec::{
    DataContentType, DataFile, DataFileBuilder, DataFileFormat, Datum, NestedField, Schema,
};
use object_store::path::Path as ObjectPath;
use parquet::{
    arrow::async_reader::{AsyncFileReader as _, ParquetObjectReader},
    file::{
        metadata::{ColumnChunkMetaData, ParquetMetaData},
        statistics::Statistics,
    },
};

use super::address::Address;
use crate::{FileEntry, LakeError, Place};

/// Reads the footer of a file, and gives what a table says of it.
///
/// # Errors
/// [`LakeError::Columns`] where the file is not what the manifest says, [`LakeError::Iceberg`].
pub(crate) async fn data_file(
    place: &Place,
    address: &Address,
    schema: &Schema,
    file: &FileEntry,
) -> Result<DataFile, LakeError> {
    let footer = footer(place, file).await?;
    let metrics =
        Metrics::of(schema, &footer).map_err(|error| LakeError::iceberg(&file.path, error))?;
    let groups = footer.row_groups().iter();
    let built = DataFileBuilder::default()
        .content(DataContentType::Data)
        .file_path(address.url(&file.path))
        .file_format(DataFileFormat::Parquet)
        .record_count(file.rows)
        .file_size_in_bytes(file.bytes)
        .column_sizes(metrics.sizes)
        .value_counts(metrics.values)
        .null_value_counts(metrics.nulls)
        .lower_bounds(metrics.lowest)
        .upper_bounds(metrics.highest)
        .split_offsets(Some(
            groups.filter_map(|group| group.file_offset()).collect(),
        ))
        .build();
    built.map_err(|error| LakeError::iceberg(&file.path, error))
}

async fn footer(place: &Place, file: &FileEntry) -> Result<Arc<ParquetMetaData>, LakeError> {
    let path = ObjectPath::from(file.path.as_str());
    let reader = ParquetObjectReader::new(Arc::clone(place.objects()), path);
    let footer = reader.with_file_size(file.bytes).get_metadata(None).await?;
    let rows = footer.file_metadata().num_rows();
    if u64::try_from(rows) != Ok(file.rows) {
        return Err(LakeError::Columns(format!(
            "{} has {rows} rows, the manifest says {}: run `cairn lake rebuild`",
            file.path, file.rows
        )));
    }
    Ok(footer)
}

/// What the footer says of columns, by their ids.
#[derive(Default)]
struct Metrics {
    /// Bytes in the file.
    sizes: HashMap<i32, u64>,
    /// Values, nulls among them.
    values: HashMap<i32, u64>,
    nulls: HashMap<i32, u64>,
    /// At most the lowest value; text and bytes may be cut off.
    lowest: HashMap<i32, Datum>,
    /// At least the highest value.
    highest: HashMap<i32, Datum>,
}

impl Metrics {
    fn of(schema: &Schema, footer: &ParquetMetaData) -> ::iceberg::Result<Self> {
        let mut metrics = Self::default();
        for group in footer.row_groups() {
            // Datasets are flat: a column of the file is a field of the schema.
            for (field, column) in schema.as_struct().fields().iter().zip(group.columns()) {
                metrics.add(field, column)?;
            }
        }
        Ok(metrics)
    }

    fn add(&mut self, field: &NestedField, column: &ColumnChunkMetaData) -> ::iceberg::Result<()> {
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        *self.sizes.entry(field.id).or_default() += count(column.compressed_size());
        *self.values.entry(field.id).or_default() += count(column.num_values());
        let Some(statistics) = column.statistics() else {
            return Ok(());
        };
        if let Some(nulls) = statistics.null_count_opt() {
            *self.nulls.entry(field.id).or_default() += nulls;
        }
        let (lowest, highest) = bounds(field, statistics)?;
        keep(&mut self.lowest, field.id, lowest, |new, old| new < old);
        keep(&mut self.highest, field.id, highest, |new, old| new > old);
        Ok(())
    }
}

/// The bounds of a column chunk. Parquet and Iceberg write single values of these types alike.
fn bounds(
    field: &NestedField,
    statistics: &Statistics,
) -> ::iceberg::Result<(Option<Datum>, Option<Datum>)> {
    let datum = |bytes: Option<&[u8]>| {
        let kind = field.field_type.as_primitive_type().cloned();
        let value = bytes.zip(kind);
        value
            .map(|(bytes, kind)| Datum::try_from_bytes(bytes, kind))
            .transpose()
    };
    Ok((
        datum(statistics.min_bytes_opt())?,
        datum(statistics.max_bytes_opt())?,
    ))
}

fn keep(
    bounds: &mut HashMap<i32, Datum>,
    id: i32,
    new: Option<Datum>,
    is_further: fn(&Datum, &Datum) -> bool,
) {
    let Some(new) = new else {
        return;
    };
    match bounds.entry(id) {
        Entry::Vacant(none) => {
            none.insert(new);
        }
        Entry::Occupied(mut old) if is_further(&new, old.get()) => {
            old.insert(new);
        }
        Entry::Occupied(_) => {}
    }
}
