//! Datasets: rows for analysts, in columns. One file per dataset that blocks are made into; events
//! that are rows by themselves say so in their own definition.
//!
//! A dataset holds what cannot be taken back: rows of blocks that are final, and events that no
//! reorganisation undoes. Which rows those are is a function of the log (promise P7).
//!
//! To add one: an event with a `dataset` clause (see [`event!`](crate::event!)) needs nothing more;
//! rows that a block is made into are a file here with [`dataset!`](crate::dataset!) and one line in
//! the registry.

use crate::{
    commit::Commit,
    events::{BlockAppended, Event, Log, Visibility},
    projections::transactions::TransactionRow,
};

mod blocks;
mod cells;
mod logs;
mod token_transfers;
mod transactions;
mod withdrawals;

pub use cells::{Cell, CellError, Milliseconds, Seconds, Wide};

/// The type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// True or false.
    Switch,
    /// A whole number of 32 bits.
    Int32,
    /// A whole number of 64 bits.
    Int64,
    /// A whole number of up to 20 digits: all of 64 bits without sign.
    Decimal20,
    /// A whole number of up to 38 digits; null where the exact value beside it has more.
    Decimal38,
    /// 32 bytes, big-endian: an exact 256-bit number.
    Word,
    /// Text.
    Text,
    /// A hash: `0x` and 64 lower-case hex digits. Mostly distinct values.
    Hash,
    /// An account: EVM ones as `0x` and 40 lower-case hex digits, those of other chains as they are.
    Address,
    /// Free bytes.
    Bytes,
    /// A moment, microseconds since 1970, UTC.
    Time,
}

impl ColumnType {
    /// Its name in documents and answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Switch => "boolean",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Decimal20 => "decimal(20,0)",
            Self::Decimal38 => "decimal(38,0)",
            Self::Word => "fixed(32)",
            Self::Text | Self::Hash | Self::Address => "string",
            Self::Bytes => "binary",
            Self::Time => "timestamp",
        }
    }
}

/// A column of a dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub kind: ColumnType,
    /// Whether a row may have no value.
    pub nullable: bool,
    /// What it says.
    pub doc: &'static str,
}

/// Takes the values of rows, in the order of the columns.
pub trait Cells {
    /// A [`ColumnType::Switch`].
    fn switch(&mut self, value: Option<bool>);
    /// A [`ColumnType::Int32`].
    fn int32(&mut self, value: Option<i32>);
    /// A [`ColumnType::Int64`].
    fn int64(&mut self, value: Option<i64>);
    /// A [`ColumnType::Decimal20`] or [`ColumnType::Decimal38`].
    fn decimal(&mut self, value: Option<i128>);
    /// A [`ColumnType::Word`].
    fn word(&mut self, value: Option<&[u8; 32]>);
    /// A [`ColumnType::Text`], [`ColumnType::Hash`] or [`ColumnType::Address`].
    fn text(&mut self, value: Option<&str>);
    /// A [`ColumnType::Bytes`].
    fn bytes(&mut self, value: Option<&[u8]>);
    /// A [`ColumnType::Time`].
    fn time(&mut self, micros: Option<i64>);
    /// Ends a row.
    fn end_row(&mut self);
}

/// A block with its transactions, what executing them did, and their logs.
#[derive(Debug)]
pub struct BlockData<'a> {
    /// The chain.
    pub chain: &'a str,
    /// The block.
    pub block: BlockAppended,
    /// Its transactions in its order, each with its logs.
    pub transactions: Vec<(TransactionRow, Vec<Log>)>,
}

/// Writes the rows that a block is made into.
pub type BlockRows = fn(block: &BlockData<'_>, cells: &mut dyn Cells) -> Result<(), CellError>;
/// Writes the rows of one kind of event among those of a commit.
pub type EventRows = fn(commit: &Commit, cells: &mut dyn Cells) -> Result<(), CellError>;

/// What the rows of a dataset are made of.
#[derive(Debug, Clone, Copy)]
pub enum RowSource {
    /// Final blocks; rows stand in the order of heights.
    Blocks(BlockRows),
    /// Events of this kind; rows stand in the order of positions.
    Events {
        /// The kind on disk.
        kind: u16,
        /// Writes its rows.
        rows: EventRows,
    },
}

/// A dataset without its types.
#[derive(Debug, Clone, Copy)]
pub struct DatasetDef {
    /// Its name: of directories, SQL tables, URLs.
    pub name: &'static str,
    /// Version of its columns.
    pub version: u32,
    /// What a row is.
    pub doc: &'static str,
    /// Who may see it.
    pub visibility: Visibility,
    /// Its columns, in order.
    pub columns: fn() -> Vec<Column>,
    /// What its rows are made of.
    pub source: RowSource,
}

/// Rows that blocks are made into.
const BLOCK_DATASETS: &[DatasetDef] = &[
    blocks::DEF,
    transactions::DEF,
    logs::DEF,
    token_transfers::DEF,
    withdrawals::DEF,
];

/// Every dataset: those that blocks are made into, then those of events.
pub fn all() -> impl Iterator<Item = &'static DatasetDef> {
    let events = Event::DEFS.iter().filter_map(|def| def.dataset.as_ref());
    BLOCK_DATASETS.iter().chain(events)
}

/// The dataset called `name`.
pub fn dataset(name: &str) -> Option<&'static DatasetDef> {
    all().find(|dataset| dataset.name == name)
}

/// The columns of a field.
pub fn columns_of<T: Cell>(
    name: &'static str,
    doc: &'static str,
) -> impl Iterator<Item = Column> + use<T> {
    T::COLUMNS.iter().map(move |(suffix, kind)| Column {
        name: format!("{name}{suffix}"),
        kind: *kind,
        // The number that can be summed is not there where it does not fit.
        nullable: T::NULLABLE || *kind == ColumnType::Decimal38,
        doc,
    })
}

/// Defines the row of a dataset: its columns and what they say. The type of a field is a [`Cell`].
#[macro_export]
macro_rules! dataset {
    (
        $(#[doc = $doc:literal])*
        $name:literal version $version:literal, $visibility:ident, $rows:path;
        struct $row:ident<$life:lifetime> {
            $($(#[doc = $field_doc:literal])* $field:ident $(as $column:literal)?: $type:ty),* $(,)?
        }
    ) => {
        pub(super) const DEF: $crate::datasets::DatasetDef = $crate::datasets::DatasetDef {
            name: $name,
            version: $version,
            doc: concat!($($doc),*).trim_ascii(),
            visibility: $crate::events::Visibility::$visibility,
            columns: $row::columns,
            source: $crate::datasets::RowSource::Blocks($rows),
        };

        struct $row<$life> {
            $($field: $type,)*
        }

        impl<$life> $row<$life> {
            fn columns() -> Vec<$crate::datasets::Column> {
                let mut columns = Vec::new();
                $(columns.extend($crate::datasets::columns_of::<$type>(
                    $crate::column_name!($field $(as $column)?),
                    concat!($($field_doc),*).trim_ascii(),
                ));)*
                columns
            }

            fn put(
                &self,
                cells: &mut dyn $crate::datasets::Cells,
            ) -> Result<(), $crate::datasets::CellError> {
                $($crate::datasets::Cell::put(&self.$field, cells)?;)*
                cells.end_row();
                Ok(())
            }
        }
    };
}

/// The name of a column: that of its field, unless it is given.
#[doc(hidden)]
#[macro_export]
macro_rules! column_name {
    ($field:ident) => {
        stringify!($field)
    };
    ($field:ident as $column:literal) => {
        $column
    };
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn no_two_datasets_and_no_two_columns_of_one_share_a_name() {
        let mut names = BTreeSet::new();
        for dataset in all() {
            assert!(names.insert(dataset.name), "{}", dataset.name);
            let columns = (dataset.columns)();
            let distinct: BTreeSet<_> = columns.iter().map(|column| &column.name).collect();
            assert_eq!(distinct.len(), columns.len(), "{}", dataset.name);
            for column in &columns {
                assert!(!column.doc.is_empty(), "{}.{}", dataset.name, column.name);
            }
        }
    }
}
