//! How far back versions are kept.

use std::time::Duration;

use cairn_domain::{BlockRef, Position, Stream};

use crate::{
    clock::now_millis,
    store::{ReadView, StoreError},
};

/// A chain as far as the trimming goes.
struct Extent {
    stream: Stream,
    first: BlockRef,
    /// The head's time, in seconds since 1970.
    newest: u64,
}

/// The oldest position as of which something inside the span can be asked for. The span ends at the
/// newest block of all chains: one that came to its end before it began holds nothing back.
///
/// `trimmed` is the oldest position that is kept so far.
pub(super) fn oldest_kept(
    view: &ReadView,
    span: Duration,
    trimmed: Position,
) -> Result<Position, StoreError> {
    let chains = extents(view)?;
    let newest = chains.iter().map(|chain| chain.newest).max();
    // A chain whose clock runs ahead must not cost the others their past.
    let end = newest.unwrap_or_default().min(now_millis() / 1000);
    let start = end.saturating_sub(span.as_secs());
    let mut oldest = view.position();
    for chain in chains.iter().filter(|chain| chain.newest >= start) {
        let height = view.height_at(&chain.stream, start)?;
        let height = height.unwrap_or(chain.first.height);
        let position = match view.position_of(&chain.stream, height) {
            Ok(position) => position.unwrap_or(trimmed),
            Err(StoreError::Trimmed { .. }) => trimmed,
            Err(error) => return Err(error),
        };
        oldest = oldest.min(position);
    }
    Ok(oldest)
}

fn extents(view: &ReadView) -> Result<Vec<Extent>, StoreError> {
    let mut extents = Vec::new();
    for (stream, ends) in view.chains()? {
        let head = view.canonical(&stream, ends.head.height)?;
        extents.push(Extent {
            stream,
            first: ends.first,
            newest: head.map_or(0, |block| block.timestamp),
        });
    }
    Ok(extents)
}
