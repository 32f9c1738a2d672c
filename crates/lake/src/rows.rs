//! Rows on their way into columns.

use std::sync::Arc;

use arrow::{
    array::{
        ArrayRef, BinaryBuilder, BooleanBuilder, Decimal128Builder, FixedSizeBinaryBuilder,
        Int32Builder, Int64Builder, StringBuilder, TimestampMicrosecondBuilder,
    },
    datatypes::SchemaRef,
    record_batch::RecordBatch,
};
use cairn_domain::datasets::{Cells, ColumnType, DatasetDef};

use crate::{
    LakeError,
    schema::{arrow_type, schema},
};

/// Rows that are not a batch yet.
pub struct RowBuffer {
    schema: SchemaRef,
    columns: Vec<ColumnBuilder>,
    /// The column that the next value is of.
    next: usize,
    rows: usize,
    /// Of texts and bytes; the rest is of a fixed width.
    bytes: usize,
}

enum ColumnBuilder {
    Switch(BooleanBuilder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Decimal(Decimal128Builder),
    Word(FixedSizeBinaryBuilder),
    Text(StringBuilder),
    Bytes(BinaryBuilder),
    Time(TimestampMicrosecondBuilder),
}

impl ColumnBuilder {
    fn new(kind: ColumnType) -> Self {
        match kind {
            ColumnType::Switch => Self::Switch(BooleanBuilder::new()),
            ColumnType::Int32 => Self::Int32(Int32Builder::new()),
            ColumnType::Int64 => Self::Int64(Int64Builder::new()),
            ColumnType::Decimal20 | ColumnType::Decimal38 => {
                Self::Decimal(Decimal128Builder::new().with_data_type(arrow_type(kind)))
            }
            ColumnType::Word => Self::Word(FixedSizeBinaryBuilder::new(32)),
            ColumnType::Text | ColumnType::Hash | ColumnType::Address => {
                Self::Text(StringBuilder::new())
            }
            ColumnType::Bytes => Self::Bytes(BinaryBuilder::new()),
            ColumnType::Time => Self::Time(TimestampMicrosecondBuilder::new().with_timezone("UTC")),
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Switch(builder) => Arc::new(builder.finish()),
            Self::Int32(builder) => Arc::new(builder.finish()),
            Self::Int64(builder) => Arc::new(builder.finish()),
            Self::Decimal(builder) => Arc::new(builder.finish()),
            Self::Word(builder) => Arc::new(builder.finish()),
            Self::Text(builder) => Arc::new(builder.finish()),
            Self::Bytes(builder) => Arc::new(builder.finish()),
            Self::Time(builder) => Arc::new(builder.finish()),
        }
    }
}

impl RowBuffer {
    /// No rows yet.
    pub fn new(dataset: &DatasetDef) -> Self {
        let columns = (dataset.columns)();
        Self {
            schema: schema(dataset),
            columns: columns
                .iter()
                .map(|column| ColumnBuilder::new(column.kind))
                .collect(),
            next: 0,
            rows: 0,
            bytes: 0,
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// How many bytes their texts and bytes have.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes the rows out.
    ///
    /// # Errors
    /// [`LakeError::Columns`] where a column lacks a value, which is a bug of the dataset.
    pub fn take(&mut self) -> Result<RecordBatch, LakeError> {
        let columns = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
        (self.rows, self.bytes, self.next) = (0, 0, 0);
        Ok(RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    fn column(&mut self) -> &mut ColumnBuilder {
        self.next += 1;
        &mut self.columns[self.next - 1]
    }
}

/// A value of another type than its column's is a bug of the dataset: the batch then has columns of
/// unequal length, which [`RowBuffer::take`] refuses.
macro_rules! append {
    ($self:ident, $column:ident, $builder:ident => $append:expr) => {
        if let ColumnBuilder::$column($builder) = $self.column() {
            $append;
        }
    };
}

impl Cells for RowBuffer {
    fn switch(&mut self, value: Option<bool>) {
        append!(self, Switch, builder => builder.append_option(value));
    }

    fn int32(&mut self, value: Option<i32>) {
        append!(self, Int32, builder => builder.append_option(value));
    }

    fn int64(&mut self, value: Option<i64>) {
        append!(self, Int64, builder => builder.append_option(value));
    }

    fn decimal(&mut self, value: Option<i128>) {
        append!(self, Decimal, builder => builder.append_option(value));
    }

    fn word(&mut self, value: Option<&[u8; 32]>) {
        append!(self, Word, builder => match value {
            Some(word) => builder.append_value(word).expect("the column is 32 bytes wide"),
            None => builder.append_null(),
        });
    }

    fn text(&mut self, value: Option<&str>) {
        self.bytes += value.map_or(0, str::len);
        append!(self, Text, builder => builder.append_option(value));
    }

    fn bytes(&mut self, value: Option<&[u8]>) {
        self.bytes += value.map_or(0, <[u8]>::len);
        append!(self, Bytes, builder => builder.append_option(value));
    }

    fn time(&mut self, micros: Option<i64>) {
        append!(self, Time, builder => builder.append_option(micros));
    }

    fn end_row(&mut self) {
        self.next = 0;
        self.rows += 1;
    }
}

/// A row of a test that has this number, or these bytes, in every column.
#[cfg(test)]
pub(crate) fn put_row(dataset: &DatasetDef, cells: &mut dyn Cells, number: i32, bytes: &[u8]) {
    for column in (dataset.columns)() {
        match column.kind {
            ColumnType::Switch => cells.switch(Some(true)),
            ColumnType::Int32 => cells.int32(Some(number)),
            ColumnType::Int64 => cells.int64(Some(number.into())),
            ColumnType::Decimal20 | ColumnType::Decimal38 => cells.decimal(Some(number.into())),
            ColumnType::Word => cells.word(Some(&[0; 32])),
            ColumnType::Text | ColumnType::Hash | ColumnType::Address => {
                cells.text(Some(&number.to_string()));
            }
            ColumnType::Bytes => cells.bytes(Some(bytes)),
            ColumnType::Time => cells.time(Some(number.into())),
        }
    }
    cells.end_row();
}
