//! The columns of tables: types as the query engine has them, and what kind of text or bytes each holds.

use std::{collections::HashMap, sync::Arc};

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use cairn_domain::datasets::{Column, ColumnType, DatasetDef};
use datafusion::datasource::table_schema::TableSchema;

use crate::arrow_type;

/// The column behind those of the dataset: whether the row cannot be taken back.
pub(super) const FINAL: &str = "final";

/// What the rows of a block are in the order of, as far as a dataset has these columns.
pub(super) const ORDER_IN_BLOCK: &[&str] =
    &["transaction_index", "log_index", "part", "withdrawal_index"];

/// Under this key a field says of which kind it is.
const KIND: &str = "cairn.kind";

/// How a column is compared with a literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Hex digits in lower case behind `0x`.
    Hex,
    /// An exact number of 256 bits.
    Word,
    /// Free bytes.
    Bytes,
}

const KINDS: &[(&str, Kind)] = &[
    ("hex", Kind::Hex),
    ("word", Kind::Word),
    ("bytes", Kind::Bytes),
];

impl Kind {
    fn of(kind: ColumnType) -> Option<&'static str> {
        match kind {
            ColumnType::Hash | ColumnType::Address => Some("hex"),
            ColumnType::Word => Some("word"),
            ColumnType::Bytes => Some("bytes"),
            ColumnType::Switch
            | ColumnType::Int32
            | ColumnType::Int64
            | ColumnType::Decimal20
            | ColumnType::Decimal38
            | ColumnType::Text
            | ColumnType::Time => None,
        }
    }

    /// What a field says of itself.
    pub(super) fn of_field(field: &Field) -> Option<Self> {
        let name = field.metadata().get(KIND)?;
        KINDS
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, kind)| *kind)
    }
}

fn field(column: &Column) -> Field {
    let metadata = Kind::of(column.kind).map(|kind| (KIND.to_owned(), kind.to_owned()));
    Field::new(&column.name, arrow_type(column.kind), column.nullable)
        .with_metadata(HashMap::from_iter(metadata))
}

/// The columns of a dataset's table: those of its files, and [`FINAL`].
pub(super) fn table_schema(dataset: &DatasetDef) -> TableSchema {
    let columns = (dataset.columns)();
    let in_files = Schema::new(columns.iter().map(field).collect::<Vec<_>>());
    let behind = Field::new(FINAL, DataType::Boolean, false);
    TableSchema::new(Arc::new(in_files), vec![Arc::new(behind)])
}

/// The columns of a dataset, as answers have them.
pub(crate) fn shown_columns(dataset: &DatasetDef) -> SchemaRef {
    answer_schema(table_schema(dataset).table_schema())
}

/// The columns of an answer: types that every reader of Arrow and Parquet knows, and no name twice.
pub(super) fn answer_schema(schema: &Schema) -> SchemaRef {
    let mut taken = HashMap::<String, usize>::new();
    let fields = schema.fields().iter().map(|field| {
        let count = taken.entry(field.name().clone()).or_default();
        *count += 1;
        let name = match *count {
            1 => field.name().clone(),
            count => format!("{}_{count}", field.name()),
        };
        Field::new(name, answer_type(field.data_type()), field.is_nullable())
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

fn answer_type(kind: &DataType) -> DataType {
    let inner = |field: &Arc<Field>| {
        let kind = answer_type(field.data_type());
        Arc::new(Field::new(field.name(), kind, field.is_nullable()))
    };
    match kind {
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        DataType::BinaryView | DataType::LargeBinary => DataType::Binary,
        DataType::Dictionary(_, values) => answer_type(values),
        DataType::List(field) => DataType::List(inner(field)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(inner).collect()),
        other => other.clone(),
    }
}

/// What a type is called in answers.
pub(super) fn type_name(kind: &DataType) -> String {
    match kind {
        DataType::Boolean => "boolean".into(),
        DataType::Int8 | DataType::Int16 | DataType::Int32 => "int32".into(),
        DataType::Int64 | DataType::UInt8 | DataType::UInt16 | DataType::UInt32 => "int64".into(),
        DataType::UInt64 => "uint64".into(),
        DataType::Float16 | DataType::Float32 | DataType::Float64 => "double".into(),
        DataType::Decimal128(digits, scale) | DataType::Decimal256(digits, scale) => {
            format!("decimal({digits},{scale})")
        }
        DataType::Utf8 => "text".into(),
        DataType::Binary | DataType::FixedSizeBinary(_) => "bytes".into(),
        DataType::Timestamp(..) => "timestamp".into(),
        DataType::Date32 | DataType::Date64 => "date".into(),
        DataType::List(field) => format!("list({})", type_name(field.data_type())),
        other => other.to_string().to_lowercase(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_one_name_are_told_apart_in_an_answer() {
        let field = |name| Field::new(name, DataType::Utf8View, true);
        let schema = Schema::new(vec![field("hash"), field("height"), field("hash")]);
        let answer = answer_schema(&schema);
        let names: Vec<_> = answer.fields().iter().map(|field| field.name()).collect();
        assert_eq!(names, ["hash", "height", "hash_2"]);
        assert_eq!(answer.field(0).data_type(), &DataType::Utf8);
    }

    #[test]
    fn every_table_has_the_columns_of_its_dataset_and_final() {
        for dataset in cairn_domain::datasets::all() {
            let schema = table_schema(dataset);
            let names: Vec<_> = schema
                .table_schema()
                .fields()
                .iter()
                .map(|f| f.name())
                .collect();
            let columns = (dataset.columns)();
            assert_eq!(names.len(), columns.len() + 1);
            assert_eq!(names.last().map(|name| name.as_str()), Some(FINAL));
        }
    }
}
