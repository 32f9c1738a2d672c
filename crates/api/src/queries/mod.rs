//! What handlers ask of the store, one file per resource. Every query reads one [`Scope`] and
//! nothing else: no clock, no snapshot.
//!
//! [`Scope`]: crate::scope::Scope

use cairn_domain::{Hash, projections::blocks::CanonicalBlock};

use crate::{error::ApiError, scope::Scope};

pub(crate) mod address_lists;
pub(crate) mod addresses;
pub(crate) mod blocks;
pub(crate) mod chains;
pub(crate) mod decode;
pub(crate) mod events;
pub(crate) mod stats;
pub(crate) mod tokens;
pub(crate) mod transaction_list;
pub(crate) mod transactions;

/// Which blocks are canonical, remembering the last height that was asked for: rows of a page come
/// in runs of one height.
struct Canonical<'a> {
    scope: &'a Scope,
    last: Option<(u64, Option<Hash>)>,
}

impl<'a> Canonical<'a> {
    fn new(scope: &'a Scope) -> Self {
        Self { scope, last: None }
    }

    fn is(&mut self, height: u64, hash: Hash) -> Result<bool, ApiError> {
        if let Some((_, known)) = self.last.filter(|(last, _)| *last == height) {
            return Ok(known == Some(hash));
        }
        let known = self
            .scope
            .canonical(height)?
            .map(|block: CanonicalBlock| block.hash);
        self.last = Some((height, known));
        Ok(known == Some(hash))
    }
}
