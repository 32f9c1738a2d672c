//! Folds: how events become rows. One file per projection; the registry below lists them.
//!
//! A projection is a function of (its view, the commit): no clock, no randomness, no I/O, no
//! iteration in hash order (promise P3). It writes no undo of its own: the runner takes a revert
//! back by reading what the touched rows held as of the fork.
//!
//! To add a projection: create `projections/<name>.rs`, add one line to [`ALL`].

use crate::{
    commit::{Commit, Stream},
    events::{BlockAppended, Event, TransactionExecuted, TransactionIncluded},
    table::{Immutable, Key, Table, TableDef, TableError, Versioned, decode_value, encode_value},
};

pub mod activity;
pub mod addresses;
pub mod blocks;
pub mod exports;
pub mod partners;
pub mod tokens;
pub mod transactions;

/// Every projection, in the order in which they are applied.
pub const ALL: &[&dyn Projection] = &[
    &blocks::Blocks,
    &transactions::Transactions,
    &addresses::Addresses,
    &tokens::Tokens,
    &activity::ActivityByPeriod,
    &exports::ExportList,
    &partners::PartnerList,
];

/// Why a fold stopped. It stops this projection, loudly, and no other (promise P9).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// A row that the fold reads is damaged.
    #[error(transparent)]
    Table(#[from] TableError),
    /// The store behind the view failed.
    #[error("the store failed: {0}")]
    Store(String),
    /// The commit contradicts itself or what came before it.
    #[error("the log contradicts itself: {0}")]
    Contradiction(String),
}

/// A named, versioned fold with its tables.
pub trait Projection: Send + Sync {
    /// Name; reaches disk.
    fn name(&self) -> &'static str;
    /// Version. One more whenever the same log would give other rows; the store then rebuilds the
    /// projection beside the live one.
    fn version(&self) -> u32;
    /// What it is for, one sentence.
    fn doc(&self) -> &'static str;
    /// Its tables. No other projection writes them.
    fn tables(&self) -> &'static [&'static TableDef];
    /// Folds a commit.
    ///
    /// # Errors
    /// Stops this projection at the commit's position.
    fn apply(&self, commit: &Folded<'_>, view: &mut View<'_>) -> Result<(), FoldError>;
}

/// A commit, its block put together once for all projections.
#[derive(Debug)]
pub struct Folded<'a> {
    /// The commit.
    pub commit: &'a Commit,
    /// The block that it carries, if any.
    pub block: Option<BlockContents<'a>>,
}

/// A block with its transactions and their receipts.
#[derive(Debug)]
pub struct BlockContents<'a> {
    /// The block.
    pub block: &'a BlockAppended,
    /// Its transactions in order, each with its receipt where the source had one.
    pub transactions: Vec<(&'a TransactionIncluded, Option<&'a TransactionExecuted>)>,
}

impl<'a> Folded<'a> {
    /// Puts a commit's block together.
    ///
    /// # Errors
    /// [`FoldError::Contradiction`] when transactions or receipts do not fit their block.
    pub fn new(commit: &'a Commit) -> Result<Self, FoldError> {
        let mut block: Option<BlockContents<'a>> = None;
        let misfit = |what| {
            Err(FoldError::Contradiction(format!(
                "commit {}: {what}",
                commit.position
            )))
        };
        for event in &commit.events {
            match (event, &mut block) {
                (Event::BlockAppended(appended), None) => {
                    let transactions = Vec::with_capacity(appended.transaction_count as usize);
                    block = Some(BlockContents {
                        block: appended,
                        transactions,
                    });
                }
                (Event::BlockAppended(_), Some(_)) => return misfit("it carries two blocks"),
                (Event::TransactionIncluded(transaction), Some(contents)) => {
                    if transaction.index as usize != contents.transactions.len() {
                        return misfit("its transactions are not in order");
                    }
                    contents.transactions.push((transaction, None));
                }
                (Event::TransactionExecuted(receipt), Some(contents)) => {
                    match contents.transactions.last_mut() {
                        Some((transaction, slot @ None)) if transaction.index == receipt.index => {
                            *slot = Some(receipt);
                        }
                        _ => return misfit("a receipt does not follow its transaction"),
                    }
                }
                (Event::TransactionIncluded(_) | Event::TransactionExecuted(_), None) => {
                    return misfit("a transaction has no block");
                }
                _ => {}
            }
        }
        match &block {
            Some(contents)
                if contents.transactions.len() != contents.block.transaction_count as usize =>
            {
                misfit("its block has another number of transactions than it says")
            }
            _ => Ok(Self { commit, block }),
        }
    }
}

/// Rows by their bytes: what a store gives a fold to read and write.
pub trait Rows {
    /// The latest value of a row of a versioned table.
    ///
    /// # Errors
    /// [`FoldError::Store`].
    fn get(&mut self, table: &'static TableDef, key: &[u8]) -> Result<Option<&[u8]>, FoldError>;
    /// Writes a row.
    fn put(&mut self, table: &'static TableDef, key: &[u8], value: &[u8]);
    /// Deletes a row of a versioned table.
    fn delete(&mut self, table: &'static TableDef, key: &[u8]);
}

/// The typed rows of one stream: all that a fold can see and touch.
pub struct View<'a> {
    rows: &'a mut dyn Rows,
    stream: usize,
    key: Vec<u8>,
    value: Vec<u8>,
}

/// The bytes in front of every key of a stream.
pub fn stream_prefix(stream: &Stream) -> Vec<u8> {
    let mut prefix = stream.as_str().as_bytes().to_vec();
    prefix.push(0);
    prefix
}

impl<'a> View<'a> {
    /// The rows of one stream.
    pub fn new(rows: &'a mut dyn Rows, stream: &Stream) -> Self {
        let key = stream_prefix(stream);
        Self {
            rows,
            stream: key.len(),
            key,
            value: Vec::new(),
        }
    }

    fn set_key<T: Table>(&mut self, key: &T::Key) {
        self.key.truncate(self.stream);
        key.write(&mut self.key);
    }

    /// The latest value of a row, with all that this commit has already written.
    ///
    /// # Errors
    /// When the store fails or the row is damaged.
    pub fn get<T: Versioned>(&mut self, key: &T::Key) -> Result<Option<T::Value>, FoldError> {
        self.set_key::<T>(key);
        let bytes = self.rows.get(T::DEF, &self.key)?;
        bytes
            .map(|bytes| decode_value::<T>(bytes).map_err(FoldError::from))
            .transpose()
    }

    /// Writes a row that may change later.
    pub fn put<T: Versioned>(&mut self, key: &T::Key, value: &T::Value) {
        self.set_key::<T>(key);
        encode_value::<T>(value, &mut self.value);
        self.rows.put(T::DEF, &self.key, &self.value);
    }

    /// Deletes a row that may change later.
    pub fn delete<T: Versioned>(&mut self, key: &T::Key) {
        self.set_key::<T>(key);
        self.rows.delete(T::DEF, &self.key);
    }

    /// Writes a row that never changes.
    pub fn insert<T: Immutable>(&mut self, key: &T::Key, value: &T::Value) {
        self.set_key::<T>(key);
        encode_value::<T>(value, &mut self.value);
        self.rows.put(T::DEF, &self.key, &self.value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_projections_and_no_two_tables_share_a_name() {
        let mut names: Vec<_> = ALL.iter().map(|projection| projection.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
        let mut tables: Vec<_> = ALL
            .iter()
            .flat_map(|p| p.tables())
            .map(|t| t.name)
            .collect();
        let count = tables.len();
        tables.sort_unstable();
        tables.dedup();
        assert_eq!(tables.len(), count);
    }
}
