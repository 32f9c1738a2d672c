//! Values as text: exact numbers, bytes as hex digits, moments in UTC.

use std::sync::Arc;

use arrow::{
    array::{Array as _, ArrayRef, AsArray as _, ListArray, StringArray, StructArray},
    compute::cast,
    datatypes::{DataType, Field, Schema, TimeUnit},
    error::ArrowError,
    record_batch::{RecordBatch, RecordBatchOptions},
};

/// Rows whose decimals, bytes and moments are texts: decimals exact, bytes as `0x…`, moments as RFC 3339
/// with `Z`. Other values stay.
pub(super) fn textual(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let columns = batch
        .columns()
        .iter()
        .map(text)
        .collect::<Result<Vec<_>, _>>()?;
    let fields = batch.schema();
    let fields = fields.fields().iter().zip(&columns);
    let fields = fields.map(|(field, column)| {
        Field::new(
            field.name(),
            column.data_type().clone(),
            field.is_nullable(),
        )
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(schema, columns, &options)
}

fn text(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        DataType::Decimal128(..) | DataType::Decimal256(..) | DataType::Interval(_) => {
            cast(column, &DataType::Utf8)
        }
        DataType::Timestamp(unit, _) => {
            let utc = DataType::Timestamp(*unit, Some("UTC".into()));
            cast(&cast(column, &utc)?, &DataType::Utf8)
        }
        DataType::Date64 => {
            let utc = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
            cast(&cast(column, &utc)?, &DataType::Utf8)
        }
        DataType::Binary | DataType::FixedSizeBinary(_) => {
            let bytes = cast(column, &DataType::Binary)?;
            let hex = bytes.as_binary::<i32>().iter();
            let hex = hex.map(|bytes| bytes.map(const_hex::encode_prefixed));
            Ok(Arc::new(hex.collect::<StringArray>()))
        }
        DataType::List(field) => {
            let list = column.as_list::<i32>();
            let values = text(list.values())?;
            let kind = values.data_type().clone();
            let field = Arc::new(Field::new(field.name(), kind, field.is_nullable()));
            let (offsets, nulls) = (list.offsets().clone(), list.nulls().cloned());
            Ok(Arc::new(ListArray::try_new(field, offsets, values, nulls)?))
        }
        DataType::Struct(fields) => {
            let inner = column.as_struct();
            let columns = inner
                .columns()
                .iter()
                .map(text)
                .collect::<Result<Vec<_>, _>>()?;
            let fields = fields.iter().zip(&columns).map(|(field, column)| {
                Field::new(
                    field.name(),
                    column.data_type().clone(),
                    field.is_nullable(),
                )
            });
            let nulls = inner.nulls().cloned();
            Ok(Arc::new(StructArray::try_new(
                fields.collect(),
                columns,
                nulls,
            )?))
        }
        _ => Ok(Arc::clone(column)),
    }
}
