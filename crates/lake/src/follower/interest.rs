//! Which records of the log a lake looks at.

use std::sync::LazyLock;

use cairn_domain::{Event, commit::RawRecord};

/// What a kind of event is to a lake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interest {
    None,
    /// Says which rows are final, or which go into files.
    Structure,
    /// Is a row itself.
    Row,
    Both,
}

/// By kind. What is not known at all stops here, as it stops the fold.
static INTERESTS: LazyLock<Vec<Interest>> = LazyLock::new(|| {
    const STRUCTURAL: &[&str] = &[
        "block_appended",
        "block_reverted",
        "block_finalized",
        "chain_reset",
        "lake_cut",
    ];
    let highest = Event::DEFS.iter().map(|def| def.kind).max().unwrap_or(0);
    let mut interests = vec![Interest::Structure; usize::from(highest) + 1];
    for def in Event::DEFS {
        let structural = STRUCTURAL.contains(&def.name);
        interests[usize::from(def.kind)] = match (structural, def.dataset.is_some()) {
            (true, true) => Interest::Both,
            (true, false) => Interest::Structure,
            (false, true) => Interest::Row,
            (false, false) => Interest::None,
        };
    }
    interests
});

pub(super) fn interest(record: &RawRecord<'_>) -> Interest {
    let known = INTERESTS.get(usize::from(record.kind));
    known.copied().unwrap_or(Interest::Structure)
}
