//! Datasets as Iceberg schemas. Fields have the ids that the files carry.

use std::sync::Arc;

use ::iceberg::spec::{NestedField, PrimitiveType, Schema, Type};
use cairn_domain::datasets::{ColumnType, DatasetDef};

use crate::LakeError;

/// The schema of a dataset.
///
/// # Errors
/// [`LakeError::Iceberg`] where Iceberg knows no such schema, which is a bug of the dataset.
pub(crate) fn table_schema(dataset: &DatasetDef) -> Result<Schema, LakeError> {
    let fields = (1..).zip((dataset.columns)()).map(|(id, column)| {
        let kind = Type::Primitive(primitive(column.kind));
        let field = NestedField::new(id, &column.name, kind, !column.nullable);
        Arc::new(field.with_doc(column.doc))
    });
    let schema = Schema::builder().with_fields(fields).build();
    schema.map_err(|error| LakeError::iceberg(dataset.name, error))
}

/// Whether two schemas read the same rows from the same file; what they say about them may differ.
pub(crate) fn reads_alike(one: &Schema, other: &Schema) -> bool {
    let (one, other) = (one.as_struct().fields(), other.as_struct().fields());
    one.len() == other.len()
        && one.iter().zip(other).all(|(one, other)| {
            (one.id, &one.name, one.required, &one.field_type)
                == (other.id, &other.name, other.required, &other.field_type)
        })
}

fn primitive(kind: ColumnType) -> PrimitiveType {
    let decimal = |precision| PrimitiveType::Decimal {
        precision,
        scale: 0,
    };
    match kind {
        ColumnType::Switch => PrimitiveType::Boolean,
        ColumnType::Int32 => PrimitiveType::Int,
        ColumnType::Int64 => PrimitiveType::Long,
        ColumnType::Decimal20 => decimal(20),
        ColumnType::Decimal38 => decimal(38),
        ColumnType::Word => PrimitiveType::Fixed(32),
        ColumnType::Text | ColumnType::Hash | ColumnType::Address => PrimitiveType::String,
        ColumnType::Bytes => PrimitiveType::Binary,
        ColumnType::Time => PrimitiveType::Timestamptz,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dataset_has_in_iceberg_the_ids_and_types_that_its_files_have() {
        for dataset in cairn_domain::datasets::all() {
            let files = ::iceberg::arrow::arrow_schema_to_schema(&crate::schema(dataset));
            let files = files.expect("a schema that Iceberg knows");
            let table = table_schema(dataset).expect("a schema");
            assert!(reads_alike(&files, &table), "{}: {table}", dataset.name);
        }
    }
}
