//! Blocks that a filter names. What is looked for by a hash, an account or a height is found by the store's
//! own indexes, and its rows are made of the few blocks that can hold it: no file is read.

use std::{collections::BTreeSet, ops::ControlFlow};

use cairn_domain::{
    Address, Hash,
    datasets::DatasetDef,
    projections::{
        blocks::{BlockHeightKey, BlockHeights},
        transactions::{AddressTransactions, TransactionBlocks},
    },
};
use datafusion::{
    logical_expr::{BinaryExpr, Expr, Operator, expr::InList},
    scalar::ScalarValue,
};

use super::{SqlError, ranges::TailChain};

/// Files are read where more blocks than this can hold a row.
const MOST_BLOCKS: usize = 256;
/// And where an account has more transactions than this in them.
const MOST_ROWS: usize = 4096;
/// And where more values than this are asked for.
const MOST_VALUES: usize = 64;

/// Chain, by its place in the list, and height.
pub(super) type Blocks = BTreeSet<(usize, u64)>;

/// What the value of a column leads to.
#[derive(Clone, Copy)]
enum Index {
    Height,
    BlockHash,
    TransactionHash,
    Account,
}

impl Index {
    fn of(dataset: &DatasetDef, column: &str) -> Option<Self> {
        match (dataset.name, column) {
            ("blocks", "height") | (_, "block_height") => Some(Self::Height),
            ("blocks", "hash") | (_, "block_hash") => Some(Self::BlockHash),
            ("transactions", "hash") | (_, "transaction_hash") => Some(Self::TransactionHash),
            ("transactions", "from_address" | "to_address") => Some(Self::Account),
            _ => None,
        }
    }
}

/// Finds blocks of some chains.
pub(super) struct Locator<'a> {
    pub(super) dataset: &'a DatasetDef,
    pub(super) chains: &'a [TailChain],
}

impl Locator<'_> {
    /// The blocks that hold every row for which all of these are true; none where the store has no index
    /// for them, or there are too many.
    pub(super) fn all_of(&self, filters: &[Expr]) -> Result<Option<Blocks>, SqlError> {
        let mut found: Option<Blocks> = None;
        for filter in filters {
            found = match (found, self.blocks(filter)?) {
                (Some(one), Some(other)) => Some(&one & &other),
                (one, other) => one.or(other),
            };
        }
        Ok(found)
    }

    fn blocks(&self, filter: &Expr) -> Result<Option<Blocks>, SqlError> {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match op {
                Operator::And => self.all_of(&[(**left).clone(), (**right).clone()]),
                Operator::Or => Ok(match (self.blocks(left)?, self.blocks(right)?) {
                    (Some(one), Some(other)) => few(&one | &other),
                    _ => None,
                }),
                Operator::Eq => match (&**left, &**right) {
                    (Expr::Column(column), Expr::Literal(value, _))
                    | (Expr::Literal(value, _), Expr::Column(column)) => {
                        self.find(&column.name, value)
                    }
                    _ => Ok(None),
                },
                _ => Ok(None),
            },
            Expr::InList(InList {
                expr,
                list,
                negated: false,
            }) if list.len() <= MOST_VALUES => {
                let Expr::Column(column) = &**expr else {
                    return Ok(None);
                };
                let mut all = Blocks::new();
                for value in list {
                    let Expr::Literal(value, _) = value else {
                        return Ok(None);
                    };
                    match self.find(&column.name, value)? {
                        Some(found) => all.extend(found),
                        None => return Ok(None),
                    }
                }
                Ok(few(all))
            }
            _ => Ok(None),
        }
    }

    /// The blocks of rows with a value in a column.
    fn find(&self, column: &str, value: &ScalarValue) -> Result<Option<Blocks>, SqlError> {
        let Some(index) = Index::of(self.dataset, column) else {
            return Ok(None);
        };
        let mut all = Blocks::new();
        for (number, chain) in self.chains.iter().enumerate() {
            let Some(heights) = heights(chain, index, value)? else {
                return Ok(None);
            };
            let inside = |height: &u64| chain.heights.contains(height);
            all.extend(
                heights
                    .into_iter()
                    .filter(inside)
                    .map(|height| (number, height)),
            );
        }
        Ok(few(all))
    }
}

fn few(blocks: Blocks) -> Option<Blocks> {
    (blocks.len() <= MOST_BLOCKS).then_some(blocks)
}

/// Heights of a chain at which a block may have rows with a value, canonical or not.
fn heights(
    chain: &TailChain,
    index: Index,
    value: &ScalarValue,
) -> Result<Option<BTreeSet<u64>>, SqlError> {
    if let (Index::Height, ScalarValue::Int64(Some(height))) = (index, value) {
        return Ok(Some(u64::try_from(*height).into_iter().collect()));
    }
    let Some(Some(text)) = value.try_as_str() else {
        return Ok(None);
    };
    let (view, stream) = (&chain.view, &chain.stream);
    let mut heights = BTreeSet::new();
    match index {
        Index::Height => return Ok(None),
        Index::BlockHash => {
            let Ok(hash) = text.parse::<Hash>() else {
                return Ok(None);
            };
            heights.extend(view.find_any::<BlockHeights>(stream, &BlockHeightKey { hash })?);
        }
        Index::TransactionHash => {
            let Ok(hash) = text.parse::<Hash>() else {
                return Ok(None);
            };
            view.scan::<TransactionBlocks>(stream, &hash, None, |row| {
                heights.insert(row.key.block.height);
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Index::Account => {
            let Ok(address) = text.parse::<Address>() else {
                return Ok(None);
            };
            let mut rows = 0;
            view.scan::<AddressTransactions>(stream, &address, None, |row| {
                rows += 1;
                heights.insert(row.key.height.0);
                let enough = rows > MOST_ROWS || heights.len() > MOST_BLOCKS;
                Ok(match enough {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                })
            })?;
            if rows > MOST_ROWS {
                return Ok(None);
            }
        }
    }
    Ok(Some(heights))
}
