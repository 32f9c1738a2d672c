//! The hot window: what must be known to take back blocks that are not final.
//!
//! For every commit of a stream since the last final block it keeps which rows the commit touched.
//! A revert gives these rows what they held as of the fork and folds again the commits in between
//! that no block carried. Commits at or below the final block are forgotten.

use std::collections::{BTreeMap, BTreeSet};

use bincode::{Decode, Encode};
use cairn_domain::{
    BlockRef, Commit, Event, Position, Stream, projections::FoldError, table::TableDef,
};

/// What a hot commit was.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) enum HotKind {
    /// It appended a block.
    Block(BlockRef),
    /// It took blocks back.
    Revert,
    /// No block carried it: it survives a revert.
    Free,
}

/// A commit that may have to be taken back.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub(crate) struct HotCommit {
    pub(crate) kind: HotKind,
    /// Keys that it touched, by table.
    pub(crate) keys: BTreeMap<String, BTreeSet<Vec<u8>>>,
}

/// What happens to the stored hot window.
#[derive(Debug, Clone)]
pub(crate) enum HotChange {
    Add(Stream, Position, HotCommit),
    Remove(Stream, Position),
}

impl HotCommit {
    pub(crate) fn encode(&self) -> Vec<u8> {
        bincode::encode_to_vec(self, bincode::config::standard())
            .expect("plain data always encodes")
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        bincode::decode_from_slice(bytes, bincode::config::standard())
            .ok()
            .map(|(commit, _)| commit)
    }

    pub(crate) fn touch(&mut self, table: &'static TableDef, key: &[u8]) {
        if let Some(keys) = self.keys.get_mut(table.name) {
            keys.insert(key.to_vec());
        } else {
            self.keys
                .insert(table.name.into(), BTreeSet::from([key.to_vec()]));
        }
    }
}

/// What a commit does to the window, read off its events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CommitShape {
    /// The block it appends.
    pub(crate) block: Option<BlockRef>,
    /// The blocks it takes back.
    pub(crate) reverted: BTreeSet<BlockRef>,
    /// The highest block it declares final.
    pub(crate) finalized: Option<BlockRef>,
    /// Whether the whole stream becomes void.
    pub(crate) reset: bool,
}

impl CommitShape {
    pub(crate) fn of(commit: &Commit) -> Self {
        let mut shape = Self {
            block: None,
            reverted: BTreeSet::new(),
            finalized: None,
            reset: false,
        };
        for event in &commit.events {
            match event {
                Event::BlockAppended(event) => shape.block = Some(event.block),
                Event::BlockReverted(event) => {
                    shape.reverted.insert(event.block);
                }
                Event::BlockFinalized(event) => {
                    shape.finalized = shape.finalized.max(Some(event.block));
                }
                Event::ChainReset(_) => shape.reset = true,
                // Whatever else happens moves no block: a new kind of event changes nothing here.
                _ => {}
            }
        }
        shape
    }

    /// Whether its block was final when it came, so that nothing can take it back.
    fn final_on_arrival(&self) -> bool {
        self.block.is_some() && self.block <= self.finalized
    }

    /// Whether what it does depends on the hot window.
    pub(crate) fn takes_back(&self) -> bool {
        self.reset || !self.reverted.is_empty()
    }
}

/// See the module.
#[derive(Debug, Default, Clone)]
pub(crate) struct HotWindow {
    streams: BTreeMap<Stream, BTreeMap<Position, HotCommit>>,
}

impl HotWindow {
    pub(crate) fn new(streams: BTreeMap<Stream, BTreeMap<Position, HotCommit>>) -> Self {
        Self { streams }
    }

    /// Whether the rows that a commit touches must be remembered, and as what.
    pub(crate) fn kind_of(&self, stream: &Stream, shape: &CommitShape) -> Option<HotKind> {
        match shape.block {
            Some(_) if shape.final_on_arrival() => None,
            Some(block) => Some(HotKind::Block(block)),
            None if shape.reset => None,
            None if !shape.reverted.is_empty() => Some(HotKind::Revert),
            None => self.streams.contains_key(stream).then_some(HotKind::Free),
        }
    }

    /// Takes a folded commit in, forgets what it makes final, and says what changes on disk.
    pub(crate) fn apply(
        &mut self,
        stream: &Stream,
        position: Position,
        shape: &CommitShape,
        commit: Option<HotCommit>,
    ) -> Vec<HotChange> {
        let mut changes = Vec::new();
        if let Some(commit) = commit {
            changes.push(HotChange::Add(stream.clone(), position, commit.clone()));
            self.streams
                .entry(stream.clone())
                .or_default()
                .insert(position, commit);
        }
        let Some(window) = self.streams.get_mut(stream) else {
            return changes;
        };
        let last_final = match shape.finalized {
            _ if shape.reset => Some(position),
            None => None,
            Some(finalized) => {
                let is_final = |(_, commit): &(&Position, &HotCommit)| matches!(commit.kind, HotKind::Block(block) if block.height <= finalized.height);
                window
                    .iter()
                    .rev()
                    .find(is_final)
                    .map(|(position, _)| *position)
            }
        };
        if let Some(last_final) = last_final {
            let kept = window.split_off(&last_final.next());
            let gone = std::mem::replace(window, kept);
            changes.extend(
                gone.into_keys()
                    .map(|gone| HotChange::Remove(stream.clone(), gone)),
            );
        }
        if window.is_empty() {
            self.streams.remove(stream);
        }
        changes
    }

    /// The commits of a stream from the lowest of some reverted blocks on, which a revert undoes.
    ///
    /// # Errors
    /// When one of the blocks is not in the window: it is final, or was never appended.
    pub(crate) fn undone(
        &self,
        stream: &Stream,
        reverted: &BTreeSet<BlockRef>,
    ) -> Result<Vec<(Position, &HotCommit)>, FoldError> {
        static EMPTY: BTreeMap<Position, HotCommit> = BTreeMap::new();
        let window = self.streams.get(stream).unwrap_or(&EMPTY);
        let mut lowest = None;
        for block in reverted {
            // A block that was taken back and appended again stands here twice: the last one counts.
            let is_it =
                |(_, commit): &(&Position, &HotCommit)| commit.kind == HotKind::Block(*block);
            let Some((position, _)) = window.iter().rev().find(is_it) else {
                return Err(FoldError::Contradiction(format!(
                    "{block} is reverted, but it is final or was never appended"
                )));
            };
            lowest = Some(lowest.map_or(*position, |lowest: Position| lowest.min(*position)));
        }
        let Some(lowest) = lowest else {
            return Ok(Vec::new());
        };
        Ok(window
            .range(lowest..)
            .map(|(position, commit)| (*position, commit))
            .collect())
    }

    /// The lowest position that a revert may still have to read below.
    pub(crate) fn lowest(&self) -> Option<Position> {
        self.streams
            .values()
            .filter_map(|window| window.keys().next())
            .min()
            .copied()
    }

    /// Every hot commit of every stream.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Stream, Position, &HotCommit)> {
        self.streams.iter().flat_map(|(stream, window)| {
            window
                .iter()
                .map(move |(position, commit)| (stream, *position, commit))
        })
    }
}
