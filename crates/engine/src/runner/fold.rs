//! One commit into an overlay: the step that live folding, rebuilds and verification share.

use std::collections::{BTreeMap, BTreeSet};

use cairn_domain::{
    Commit, Position, Stream,
    projections::{FoldError, Folded, Projection, Rows, View},
    table::{TableDef, TableKind},
};

use super::hot::{CommitShape, HotChange, HotCommit, HotKind, HotWindow};
use crate::store::Overlay;

/// What taking blocks back needs to know of the past.
pub(crate) trait Past {
    /// What a row held as of a position.
    fn as_of(
        &mut self,
        table: &'static TableDef,
        key: &[u8],
        at: Position,
    ) -> Result<Option<Vec<u8>>, FoldError>;
    /// Every key of a stream in a versioned table; asked only when nothing of the stream is in the
    /// overlay.
    fn stream_keys(
        &mut self,
        table: &'static TableDef,
        stream: &Stream,
    ) -> Result<Vec<Vec<u8>>, FoldError>;
    /// A commit of the log.
    fn fetch(&mut self, position: Position) -> Result<Commit, FoldError>;
    /// Called with every row that a hot commit touched, behind that commit.
    fn remember(
        &mut self,
        position: Position,
        overlay: &mut Overlay<'_>,
        touched: &[(&'static TableDef, Vec<u8>)],
    ) -> Result<(), FoldError>;
}

/// Why a fold stopped.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{error}")]
pub(crate) struct Failure {
    /// The projection that stopped; none when the commit itself is at fault.
    pub(crate) projection: Option<&'static str>,
    pub(crate) error: FoldError,
}

/// The projections that fold along and what they may have to take back.
pub(crate) struct Folder {
    pub(crate) projections: Vec<&'static dyn Projection>,
    pub(crate) hot: HotWindow,
}

impl Folder {
    /// The tables of its projections.
    pub(crate) fn tables(&self) -> impl Iterator<Item = &'static TableDef> {
        self.projections
            .iter()
            .flat_map(|projection| projection.tables())
            .copied()
    }

    fn versioned(&self) -> Vec<&'static TableDef> {
        self.tables()
            .filter(|table| matches!(table.kind, TableKind::Versioned))
            .collect()
    }

    /// Folds a commit and says how the hot window changes.
    ///
    /// # Errors
    /// Names the projection that stopped. Overlay and hot window are then half-written: drop both.
    pub(crate) fn fold(
        &mut self,
        commit: &Commit,
        overlay: &mut Overlay<'_>,
        past: &mut dyn Past,
    ) -> Result<Vec<HotChange>, Failure> {
        let blame_commit = |error| Failure {
            projection: None,
            error,
        };
        let stream = &commit.header.stream;
        let shape = CommitShape::of(commit);
        overlay.begin(commit.position);
        let mark = overlay.mark();
        if shape.reset {
            self.reset(stream, overlay, past).map_err(blame_commit)?;
        } else if !shape.reverted.is_empty() {
            self.revert(stream, &shape.reverted, overlay, past)?;
        }
        self.apply(commit, overlay)?;
        let hot = match self.hot.kind_of(stream, &shape) {
            Some(kind) => {
                let touched: Vec<_> = overlay
                    .touched(&mark)
                    .map(|(t, key)| (t, key.to_vec()))
                    .collect();
                past.remember(commit.position, overlay, &touched)
                    .map_err(blame_commit)?;
                let mut hot = HotCommit {
                    kind,
                    keys: BTreeMap::new(),
                };
                touched
                    .iter()
                    .for_each(|(table, key)| hot.touch(table, key));
                Some(hot)
            }
            None => None,
        };
        Ok(self.hot.apply(stream, commit.position, &shape, hot))
    }

    fn apply(&self, commit: &Commit, overlay: &mut Overlay<'_>) -> Result<(), Failure> {
        let folded = Folded::new(commit).map_err(|error| Failure {
            projection: None,
            error,
        })?;
        for projection in &self.projections {
            let mut view = View::new(overlay, &commit.header.stream);
            projection
                .apply(&folded, &mut view)
                .map_err(|error| Failure {
                    projection: Some(projection.name()),
                    error,
                })?;
        }
        Ok(())
    }

    /// Empties the versioned rows of a stream. Its immutable rows become orphans by themselves,
    /// because no block of the stream is canonical any more.
    fn reset(
        &self,
        stream: &Stream,
        overlay: &mut Overlay<'_>,
        past: &mut dyn Past,
    ) -> Result<(), FoldError> {
        for table in self.versioned() {
            for key in past.stream_keys(table, stream)? {
                overlay.delete(table, &key);
            }
        }
        Ok(())
    }

    /// Gives the touched rows what they held as of the fork, then folds again what no block carried.
    fn revert(
        &self,
        stream: &Stream,
        reverted: &BTreeSet<cairn_domain::BlockRef>,
        overlay: &mut Overlay<'_>,
        past: &mut dyn Past,
    ) -> Result<(), Failure> {
        let blame_commit = |error| Failure {
            projection: None,
            error,
        };
        let undone = self.hot.undone(stream, reverted).map_err(blame_commit)?;
        let Some((lowest, _)) = undone.first() else {
            return Ok(());
        };
        let fork = lowest.previous();
        for table in self.versioned() {
            let keys = undone
                .iter()
                .filter_map(|(_, commit)| commit.keys.get(table.name));
            let keys: BTreeSet<&Vec<u8>> = keys.flatten().collect();
            for key in keys {
                match past.as_of(table, key, fork).map_err(blame_commit)? {
                    Some(value) => overlay.put(table, key, &value),
                    None => overlay.delete(table, key),
                }
            }
        }
        for (position, commit) in undone {
            if commit.kind == HotKind::Free {
                let free = past.fetch(position).map_err(blame_commit)?;
                self.apply(&free, overlay)?;
            }
        }
        Ok(())
    }
}
