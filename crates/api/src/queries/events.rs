//! What contracts reported while a transaction was executed.

use cairn_domain::projections::transactions::{TransactionKey, TransactionLogKey, TransactionLogs};

use super::{decode::decode, transactions};
use crate::{
    error::ApiError,
    models::{EventList, TransactionEvent},
    scope::Scope,
};

/// The events of a transaction.
pub(crate) fn list(scope: &Scope, name: &str, orphaned: bool) -> Result<EventList, ApiError> {
    let place = transactions::place(scope, name, orphaned)?;
    let TransactionKey { block, index } = place.key;
    let key = TransactionLogKey { block, index };
    let logs = scope
        .view
        .find_any::<TransactionLogs>(&scope.stream, &key)?
        .unwrap_or_default();
    let event = |log| {
        let decoded = decode(&log);
        TransactionEvent::new(log, decoded)
    };
    let is_final = place.canonical && scope.is_final(block.height);
    Ok(EventList {
        events: logs.into_iter().map(event).collect(),
        is_final,
    })
}
