//! The times in which final blocks stay as they are.

use cairn_domain::Position;

/// A mark of such a time; a store gives each out once while it is open.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FinalMark(u64);

/// The current time: its mark, and the position that it began at.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct FinalTime {
    mark: FinalMark,
    from: Position,
}

impl FinalTime {
    /// The time behind this one.
    pub(super) fn next(self, from: Position) -> Self {
        // A replay may begin one at the same position, so the position is no mark.
        let mark = FinalMark(self.mark.0 + 1);
        Self { mark, from }
    }

    /// Its mark, for a view that lies in it.
    pub(super) fn mark_at(self, position: Position) -> Option<FinalMark> {
        (position >= self.from).then_some(self.mark)
    }
}
