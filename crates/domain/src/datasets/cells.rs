//! How values become columns: one value, one column or two.

use super::{Cells, ColumnType};
use crate::primitives::{Address, Amount, BlockRef, Bytes, Hash};

/// Why a value has no place in its column.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CellError {
    /// A whole number is beyond 63 bits, which is all that readers of Parquet and Iceberg share.
    #[error("{0} does not fit a column of 64 bits with sign")]
    TooLarge(u64),
    /// A time is beyond what microseconds in 64 bits reach.
    #[error("the time {0}, in seconds since 1970, does not fit a column of microseconds")]
    TooLate(u64),
    /// A log has more topics than there are columns.
    #[error("a log has {0} topics, and there are columns for 4")]
    Topics(usize),
}

/// A value of a row.
pub trait Cell {
    /// Its columns: what stands behind the field's name, and the type.
    const COLUMNS: &'static [(&'static str, ColumnType)];
    /// Whether there may be none.
    const NULLABLE: bool = false;

    /// Writes its columns.
    ///
    /// # Errors
    /// [`CellError`] when the value has no place in its column.
    fn put(&self, cells: &mut dyn Cells) -> Result<(), CellError>;

    /// Writes its columns where there is no value.
    fn put_none(cells: &mut dyn Cells);
}

impl<T: Cell> Cell for Option<T> {
    const COLUMNS: &'static [(&'static str, ColumnType)] = T::COLUMNS;
    const NULLABLE: bool = true;

    fn put(&self, cells: &mut dyn Cells) -> Result<(), CellError> {
        match self {
            Some(value) => value.put(cells),
            None => {
                T::put_none(cells);
                Ok(())
            }
        }
    }

    fn put_none(cells: &mut dyn Cells) {
        T::put_none(cells);
    }
}

impl<T: Cell + ?Sized> Cell for &T {
    const COLUMNS: &'static [(&'static str, ColumnType)] = T::COLUMNS;
    const NULLABLE: bool = T::NULLABLE;

    fn put(&self, cells: &mut dyn Cells) -> Result<(), CellError> {
        (*self).put(cells)
    }

    fn put_none(cells: &mut dyn Cells) {
        T::put_none(cells);
    }
}

/// A value with one column.
macro_rules! one_column {
    ($type:ty, $column:ident, $method:ident, |$value:ident| $cell:expr) => {
        impl Cell for $type {
            const COLUMNS: &'static [(&'static str, ColumnType)] = &[("", ColumnType::$column)];

            fn put(&self, cells: &mut dyn Cells) -> Result<(), CellError> {
                let $value = self;
                cells.$method(Some($cell));
                Ok(())
            }

            fn put_none(cells: &mut dyn Cells) {
                cells.$method(None);
            }
        }
    };
}

one_column!(bool, Switch, switch, |value| *value);
one_column!(u8, Int32, int32, |value| i32::from(*value));
one_column!(u32, Int64, int64, |value| i64::from(*value));
one_column!(u64, Int64, int64, |value| {
    i64::try_from(*value).map_err(|_| CellError::TooLarge(*value))?
});
one_column!(str, Text, text, |value| value);
one_column!(String, Text, text, |value| value);
one_column!(Bytes, Bytes, bytes, |value| &value.0);
one_column!(Wide, Decimal20, decimal, |value| i128::from(value.0));
one_column!(Seconds, Time, time, |value| micros(value.0, 1_000_000)?);
one_column!(Milliseconds, Time, time, |value| micros(value.0, 1_000)?);

/// A whole number that may use all of 64 bits, such as a limit of gas that stands for none.
#[derive(Debug, Clone, Copy)]
pub struct Wide(pub u64);

/// A time, in seconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct Seconds(pub u64);

/// A time, in milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub struct Milliseconds(pub u64);

fn micros(time: u64, unit: i64) -> Result<i64, CellError> {
    let micros = i64::try_from(time).ok().and_then(|t| t.checked_mul(unit));
    micros.ok_or(CellError::TooLate(time / (1_000_000 / unit as u64)))
}

impl Cell for Hash {
    const COLUMNS: &'static [(&'static str, ColumnType)] = &[("", ColumnType::Hash)];

    fn put(&self, cells: &mut dyn Cells) -> Result<(), CellError> {
        cells.text(Some(const_hex::Buffer::<32, true>::new().format(&self.0)));
        Ok(())
    }

    fn put_none(cells: &mut dyn Cells) {
        cells.text(None);
    }
}

impl Cell for Address {
    const COLUMNS: &'static [(&'static str, ColumnType)] = &[("", ColumnType::Address)];

    fn put(&self, cells: &mut dyn Cells) -> Result<(), CellError> {
        match self {
            Self::Evm(bytes) => {
                cells.text(Some(const_hex::Buffer::<20, true>::new().format(bytes)));
            }
            Self::Text(text) => cells.text(Some(text)),
        }
        Ok(())
    }

    fn put_none(cells: &mut dyn Cells) {
        cells.text(None);
    }
}

/// The exact value beside one that can be summed.
impl Cell for Amount {
    const COLUMNS: &'static [(&'static str, ColumnType)] =
        &[("", ColumnType::Decimal38), ("_u256", ColumnType::Word)];

    fn put(&self, cells: &mut dyn Cells) -> Result<(), CellError> {
        let small = i128::try_from(self.0).ok();
        cells.decimal(small.filter(|value| *value < 10_i128.pow(38)));
        cells.word(Some(&self.0.to_be_bytes::<32>()));
        Ok(())
    }

    fn put_none(cells: &mut dyn Cells) {
        cells.decimal(None);
        cells.word(None);
    }
}

impl Cell for BlockRef {
    const COLUMNS: &'static [(&'static str, ColumnType)] =
        &[("_height", ColumnType::Int64), ("_hash", ColumnType::Hash)];

    fn put(&self, cells: &mut dyn Cells) -> Result<(), CellError> {
        self.height.put(cells)?;
        self.hash.put(cells)
    }

    fn put_none(cells: &mut dyn Cells) {
        u64::put_none(cells);
        Hash::put_none(cells);
    }
}
