//! Typed tables with order-preserving keys: one [`table!`](crate::table!) gives a table its key,
//! its value, its docs and its digest.
//!
//! A key never names the stream it belongs to: the [`View`](crate::projections::View) of a commit
//! puts it in front of every key, so a fold cannot touch a row of another stream.

mod key;

use bincode::{Decode, Encode};

use crate::primitives::BlockRef;

pub use key::{Key, stored_prefix};

/// Why stored bytes are not the key or value that a table says they are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// A key ended too early, or holds what its type cannot be.
    #[error("a key of table {table} does not decode: {reason}")]
    Key {
        /// The table's name.
        table: &'static str,
        /// What is wrong.
        reason: &'static str,
    },
    /// A value does not decode.
    #[error("a value of table {table} does not decode: {reason}")]
    Value {
        /// The table's name.
        table: &'static str,
        /// What is wrong.
        reason: String,
    },
}

/// How the rows of a table live.
#[derive(Debug, Clone, Copy)]
pub enum TableKind {
    /// Rows change; every version is kept under the position that wrote it.
    Versioned,
    /// Rows are written once and belong to one block, named by key or value. They count while that
    /// block is canonical; rows of other blocks are the orphans.
    Immutable {
        /// Reads the block that a row belongs to.
        block: fn(key: &[u8], value: &[u8]) -> Result<BlockRef, TableError>,
    },
}

/// Cuts a stored key.
pub type Prefix = fn(key: &[u8]) -> &[u8];

/// What is known of a table without its types.
#[derive(Debug)]
pub struct TableDef {
    /// Unique among all tables; reaches disk.
    pub name: &'static str,
    /// How its rows live.
    pub kind: TableKind,
    /// What its rows say.
    pub doc: &'static str,
    /// Names and types of the key's fields, in order, behind the stream.
    pub key: &'static [(&'static str, &'static str)],
    /// The value's type.
    pub value: &'static str,
    /// Cuts a stored key behind its first field, for filters: readers scan all rows that share the
    /// stream and this field. None where they name whole keys.
    pub prefix: Option<Prefix>,
}

/// A table with its types.
pub trait Table: 'static {
    /// The table without its types.
    const DEF: &'static TableDef;
    /// The key, without the stream.
    type Key: Key;
    /// The value.
    type Value: Encode + Decode<()>;
}

/// A table whose rows change and can be read as of any kept position.
pub trait Versioned: Table {}

/// A table whose rows are written once and belong to one block.
pub trait Immutable: Table {
    /// The block that a row belongs to.
    fn block(key: &Self::Key, value: &Self::Value) -> BlockRef;
}

const CONFIG: bincode::config::Configuration = bincode::config::standard();

/// Encodes a value into `out`, replacing what it held.
pub fn encode_value<T: Table>(value: &T::Value, out: &mut Vec<u8>) {
    out.clear();
    // Writing to memory fails only for types that refuse to be encoded, of which no table has any.
    bincode::encode_into_std_write(value, out, CONFIG).expect("a table's value always encodes");
}

/// Decodes a value.
///
/// # Errors
/// [`TableError::Value`] when the bytes are not such a value.
pub fn decode_value<T: Table>(bytes: &[u8]) -> Result<T::Value, TableError> {
    match bincode::decode_from_slice(bytes, CONFIG) {
        Ok((value, _)) => Ok(value),
        Err(error) => Err(TableError::Value {
            table: T::DEF.name,
            reason: error.to_string(),
        }),
    }
}

/// Decodes a whole key, without its stream.
///
/// # Errors
/// [`TableError::Key`] when the bytes are not such a key.
pub fn decode_key<T: Table>(mut bytes: &[u8]) -> Result<T::Key, TableError> {
    let fail = |reason| TableError::Key {
        table: T::DEF.name,
        reason,
    };
    let key = T::Key::read(&mut bytes).ok_or(fail("it is too short or malformed"))?;
    if bytes.is_empty() {
        Ok(key)
    } else {
        Err(fail("bytes are left over"))
    }
}

/// The block of a row, from its bytes: what [`TableKind::Immutable`] points at.
///
/// # Errors
/// As [`decode_key`] and [`decode_value`].
pub fn block_of<T: Immutable>(key: &[u8], value: &[u8]) -> Result<BlockRef, TableError> {
    Ok(T::block(&decode_key::<T>(key)?, &decode_value::<T>(value)?))
}

/// Defines a table: its marker type, its key and its place in the docs.
///
/// ```
/// use cairn_domain::{Address, table};
///
/// table! {
///     /// How often an account was seen.
///     pub versioned Sightings = "sightings" {
///         key SightingKey { address: Address },
///         value: u64,
///     }
/// }
/// ```
#[macro_export]
macro_rules! table {
    (
        $(#[doc = $doc:literal])+
        pub versioned $table:ident = $name:literal {
            key $key:ident { $($field:ident: $type:ty),* $(,)? },
            value: $value:ty $(, scan: $by:ident)? $(,)?
        }
    ) => {
        $crate::table!(@types [$($doc)+] $table $key { $($field: $type),* } $value);

        impl $crate::table::Table for $table {
            const DEF: &'static $crate::table::TableDef = {
                // A static, because its address tells tables apart.
                static DEF: $crate::table::TableDef = $crate::table::TableDef {
                name: $name,
                kind: $crate::table::TableKind::Versioned,
                doc: concat!($($doc, "\n"),+),
                key: &[$((stringify!($field), stringify!($type))),*],
                value: stringify!($value),
                prefix: $crate::table!(@prefix $($by)? $($type),*),
                };
                &DEF
            };
            type Key = $key;
            type Value = $value;
        }

        impl $crate::table::Versioned for $table {}
    };
    (
        $(#[doc = $doc:literal])+
        pub immutable $table:ident = $name:literal {
            key $key:ident { $($field:ident: $type:ty),* $(,)? },
            value: $value:ty,
            block: $block:expr $(, scan: $by:ident)? $(,)?
        }
    ) => {
        $crate::table!(@types [$($doc)+] $table $key { $($field: $type),* } $value);

        impl $crate::table::Table for $table {
            const DEF: &'static $crate::table::TableDef = {
                // A static, because its address tells tables apart.
                static DEF: $crate::table::TableDef = $crate::table::TableDef {
                name: $name,
                kind: $crate::table::TableKind::Immutable { block: $crate::table::block_of::<$table> },
                doc: concat!($($doc, "\n"),+),
                key: &[$((stringify!($field), stringify!($type))),*],
                value: stringify!($value),
                prefix: $crate::table!(@prefix $($by)? $($type),*),
                };
                &DEF
            };
            type Key = $key;
            type Value = $value;
        }

        impl $crate::table::Immutable for $table {
            fn block(key: &$key, value: &$value) -> $crate::primitives::BlockRef {
                let block: fn(&$key, &$value) -> $crate::primitives::BlockRef = $block;
                block(key, value)
            }
        }
    };
    (@prefix by_first $first:ty $(, $rest:ty)*) => { Some($crate::table::stored_prefix::<$first>) };
    (@prefix $($type:ty),*) => { None };
    (@types [$($doc:literal)+] $table:ident $key:ident { $($field:ident: $type:ty),* } $value:ty) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, Copy)]
        pub struct $table;

        #[doc = concat!("The key of [`", stringify!($table), "`], behind the stream.")]
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $key {
            $(#[doc = concat!("Field `", stringify!($field), "`.")] pub $field: $type,)*
        }

        impl $crate::table::Key for $key {
            #[allow(unused_variables, reason = "a table of one row has no key fields")]
            fn write(&self, out: &mut Vec<u8>) {
                $($crate::table::Key::write(&self.$field, out);)*
            }

            #[allow(unused_variables, reason = "a table of one row has no key fields")]
            fn read(input: &mut &[u8]) -> Option<Self> {
                Some(Self { $($field: $crate::table::Key::read(input)?),* })
            }
        }
    };
}
