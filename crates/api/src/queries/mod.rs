//! What handlers ask of the store, one file per resource. Every query reads one [`Scope`] and
//! nothing else: no clock, no snapshot.
//!
//! [`Scope`]: crate::scope::Scope

use cairn_domain::BlockRef;

use crate::{error::ApiError, scope::Scope};

pub(crate) mod address_lists;
pub(crate) mod addresses;
pub(crate) mod blocks;
pub(crate) mod chains;
pub(crate) mod datasets;
pub(crate) mod decode;
pub(crate) mod events;
pub(crate) mod exports;
pub(crate) mod history;
pub(crate) mod partners;
pub(crate) mod stats;
pub(crate) mod tokens;
pub(crate) mod top;
pub(crate) mod transaction_list;
pub(crate) mod transactions;

/// Which blocks are canonical, remembering the last that was asked for: rows of a page come in runs
/// of one block.
struct Canonical<'a> {
    scope: &'a Scope,
    last: Option<(BlockRef, bool)>,
}

impl<'a> Canonical<'a> {
    fn new(scope: &'a Scope) -> Self {
        Self { scope, last: None }
    }

    fn is(&mut self, block: BlockRef) -> Result<bool, ApiError> {
        if let Some((_, known)) = self.last.filter(|(last, _)| *last == block) {
            return Ok(known);
        }
        let canonical = self.scope.is_canonical(block)?;
        self.last = Some((block, canonical));
        Ok(canonical)
    }
}
