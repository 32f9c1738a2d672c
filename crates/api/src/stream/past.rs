//! What events name and do not hold: blocks that were appended long before they are reverted. Their rows stay,
//! canonical or not.

use std::{cell::OnceCell, ops::ControlFlow};

use cairn_domain::{
    BlockRef, Stream,
    events::BlockAppended,
    projections::{
        blocks::{BlockKey, BlocksByRef},
        transactions::{TransactionRow, TransactionsByBlock},
    },
};
use cairn_engine::store::ReadView;

use super::channel::RenderError;
use crate::shard::Shard;

/// See the module.
pub(crate) struct Past<'a> {
    shard: &'a Shard,
    stream: &'a Stream,
    view: OnceCell<ReadView>,
}

impl<'a> Past<'a> {
    /// That of a stream, as far as it is folded.
    pub(crate) fn new(shard: &'a Shard, stream: &'a Stream) -> Self {
        Self {
            shard,
            stream,
            view: OnceCell::new(),
        }
    }

    fn view(&self) -> Result<&ReadView, RenderError> {
        if self.view.get().is_none() {
            // Nobody else has the cell.
            let _first = self.view.set(self.shard.store.view(None)?);
        }
        let view = self.view.get();
        view.ok_or_else(|| RenderError::Contradiction("the store has no view".into()))
    }

    /// A block.
    pub(crate) fn block(&self, block: BlockRef) -> Result<BlockAppended, RenderError> {
        let key = BlockKey { block };
        let row = self.view()?.find_any::<BlocksByRef>(self.stream, &key)?;
        row.ok_or_else(|| RenderError::Contradiction(format!("{block} is reverted, and not there")))
    }

    /// Its transactions, in its order.
    pub(crate) fn transactions(&self, block: BlockRef) -> Result<Vec<TransactionRow>, RenderError> {
        let mut rows = Vec::new();
        let visit = |row: cairn_engine::store::Row<TransactionsByBlock>| {
            rows.push(row.value);
            Ok(ControlFlow::Continue(()))
        };
        self.view()?
            .scan::<TransactionsByBlock>(self.stream, &block, None, visit)?;
        Ok(rows)
    }
}
