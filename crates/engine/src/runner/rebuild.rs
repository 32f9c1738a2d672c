//! Rebuilds: projections folded afresh from the log by the bulk path, beside the live ones.

use std::{collections::BTreeMap, sync::Arc};

use cairn_domain::{
    Commit, Position,
    projections::{ALL, Projection},
    table::{TableDef, TableKind},
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{
    ReadAhead, RunnerError, RunnerHandle,
    fold::Folder,
    hot::{CommitShape, HotChange, HotCommit, HotWindow},
    past::{RebuildPast, RowImages},
};
use crate::{
    log::Log,
    store::{BulkBase, BulkWriter, Overlay, Store, StoreError, projection},
};

/// What a rebuild did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rebuilt {
    /// The projections.
    pub projections: Vec<String>,
    /// The position they reached.
    pub position: Position,
}

/// Bytes of log that are decoded at a time.
const READ_BYTES: usize = 8 << 20;

/// A rebuild under way: folds into the next generation of some projections.
pub(crate) struct Rebuild<'a> {
    store: &'a Store,
    log: &'a Arc<dyn Log>,
    folder: Folder,
    base: BulkBase,
    images: RowImages,
    writer: BulkWriter<'a>,
    generations: Vec<(&'static dyn Projection, u32)>,
    position: Position,
    /// Turns true when it is to give up.
    stop: Option<watch::Receiver<bool>>,
}

/// The projections of these names; all for no names.
pub(crate) fn named(names: &[String]) -> Result<Vec<&'static dyn Projection>, RunnerError> {
    let unknown = |name: &String| {
        let all: Vec<_> = ALL.iter().map(|projection| projection.name()).collect();
        RunnerError::Unknown(name.clone(), all.join(", "))
    };
    match names {
        [] => Ok(ALL.to_vec()),
        names => names
            .iter()
            .map(|name| projection(name).ok_or_else(|| unknown(name)))
            .collect(),
    }
}

fn check(stop: Option<&watch::Receiver<bool>>) -> Result<(), RunnerError> {
    match stop {
        Some(stop) if *stop.borrow() => Err(RunnerError::Cancelled),
        Some(_) | None => Ok(()),
    }
}

impl<'a> Rebuild<'a> {
    pub(crate) fn new(
        store: &'a Store,
        log: &'a Arc<dyn Log>,
        projections: Vec<&'static dyn Projection>,
    ) -> Result<Self, RunnerError> {
        let mut generations = Vec::new();
        for projection in &projections {
            let generation = store.generation(projection.name()) + 1;
            store.create_families(*projection, generation)?;
            generations.push((*projection, generation));
        }
        Ok(Self {
            store,
            log,
            folder: Folder {
                projections,
                hot: HotWindow::default(),
            },
            base: BulkBase::default(),
            images: RowImages::new(),
            writer: BulkWriter::new(store)?,
            generations,
            position: Position(0),
            stop: None,
        })
    }

    /// Folds the log up to a position.
    pub(crate) async fn fold_to(
        &mut self,
        until: Position,
        progress: &(dyn Fn(Position, Position) + Send + Sync),
    ) -> Result<(), RunnerError> {
        let from = self.position.next();
        let mut commits = ReadAhead::new(Arc::clone(self.log), from, Some(until), READ_BYTES);
        let folded = self.fold_from(&mut commits, until, progress).await;
        commits.stop().await;
        folded
    }

    async fn fold_from(
        &mut self,
        commits: &mut ReadAhead,
        until: Position,
        progress: &(dyn Fn(Position, Position) + Send + Sync),
    ) -> Result<(), RunnerError> {
        let mut chunk = Vec::new();
        let mut bytes = 0;
        while self.position < until {
            let batch = commits.next().await?;
            let resets = batch.iter().any(|commit| CommitShape::of(commit).reset);
            bytes += READ_BYTES;
            chunk.extend(batch);
            let last = chunk
                .last()
                .map_or(self.position, |commit: &Commit| commit.position);
            // Rows take about as much memory as the log they come from, several times over.
            if resets || last >= until || bytes * 4 >= self.store.options().bulk_bytes {
                tokio::task::block_in_place(|| self.fold(&chunk))?;
                progress(self.position, until);
                chunk.clear();
                bytes = 0;
            }
        }
        Ok(())
    }

    fn fold(&mut self, commits: &[Commit]) -> Result<(), RunnerError> {
        let mut rest = commits;
        while !rest.is_empty() {
            // A reset reads all keys of its stream, so what came before must be in the base.
            let resets = |commit: &Commit| CommitShape::of(commit).reset;
            let length = rest
                .iter()
                .skip(1)
                .position(resets)
                .map_or(rest.len(), |at| at + 1);
            let (chunk, behind) = rest.split_at(length);
            self.fold_chunk(chunk)?;
            rest = behind;
        }
        Ok(())
    }

    fn fold_chunk(&mut self, chunk: &[Commit]) -> Result<(), RunnerError> {
        let Some((first, last)) = chunk.first().zip(chunk.last()) else {
            return Ok(());
        };
        let reset = self.reset_keys(first);
        let mut past = RebuildPast {
            log: self.log,
            images: &mut self.images,
            reset,
        };
        let tables: Vec<_> = self.folder.tables().collect();
        let mut overlay = Overlay::new(tables, &mut self.base);
        for commit in chunk {
            check(self.stop.as_ref())?;
            self.folder
                .fold(commit, &mut overlay, &mut past)
                .map_err(|failure| {
                    let (position, reason) = (commit.position, failure.error.to_string());
                    match failure.projection {
                        Some(name) => RunnerError::Projection {
                            name: name.into(),
                            position,
                            reason,
                        },
                        None => RunnerError::Commit { position, reason },
                    }
                })?;
            match self.folder.hot.lowest() {
                Some(lowest) => *past.images = past.images.split_off(&lowest),
                None => past.images.clear(),
            }
        }
        let tables = overlay.into_tables();
        tables.iter().for_each(|table| self.base.absorb(table));
        self.writer.add(tables)?;
        self.position = last.position;
        Ok(())
    }

    fn reset_keys(&self, commit: &Commit) -> Vec<(&'static TableDef, Vec<Vec<u8>>)> {
        if !CommitShape::of(commit).reset {
            return Vec::new();
        }
        let versioned = |table: &&'static TableDef| matches!(table.kind, TableKind::Versioned);
        let tables = self.folder.tables().filter(versioned);
        tables
            .map(|table| (table, self.base.stream_keys(table, &commit.header.stream)))
            .collect()
    }

    /// Hands the files over and makes the new generation the live one. Nothing may fold meanwhile.
    pub(crate) fn swap_in(self) -> Result<Rebuilt, RunnerError> {
        check(self.stop.as_ref())?;
        let tables = self
            .generations
            .iter()
            .flat_map(|(projection, generation)| {
                projection
                    .tables()
                    .iter()
                    .map(move |table| (*table, *generation))
            });
        self.writer.finish(&tables.collect::<Vec<_>>())?;
        let hot = merge_hot(self.store, &self.folder.hot, &self.generations)?;
        self.store.swap(&self.generations, self.position, &hot)?;
        let projections = self
            .generations
            .iter()
            .map(|(p, _)| p.name().into())
            .collect();
        Ok(Rebuilt {
            projections,
            position: self.position,
        })
    }
}

/// The stored hot window, with the keys of the rebuilt tables replaced.
fn merge_hot(
    store: &Store,
    rebuilt: &HotWindow,
    generations: &[(&'static dyn Projection, u32)],
) -> Result<Vec<HotChange>, StoreError> {
    let mut stored = store.load_hot()?;
    let mut changes = Vec::new();
    for (stream, position, fresh) in rebuilt.iter() {
        let old = stored
            .get_mut(stream)
            .and_then(|window| window.remove(&position));
        let empty = HotCommit {
            kind: fresh.kind.clone(),
            keys: BTreeMap::new(),
        };
        let mut commit = old.unwrap_or(empty);
        for table in generations
            .iter()
            .flat_map(|(projection, _)| projection.tables())
        {
            commit.keys.remove(table.name);
        }
        commit.keys.extend(fresh.keys.clone());
        changes.push(HotChange::Add(stream.clone(), position, commit));
    }
    // What is left was hot when the store last wrote and is final by now, or is ahead of a rebuild
    // of everything.
    for (stream, window) in stored {
        changes.extend(
            window
                .into_keys()
                .map(|position| HotChange::Remove(stream.clone(), position)),
        );
    }
    Ok(changes)
}

/// Rebuilds while a runner folds on.
pub(crate) async fn rebuild_live(
    runner: &RunnerHandle,
    names: &[String],
    progress: &(dyn Fn(Position, Position) + Send + Sync),
    stop: watch::Receiver<bool>,
) -> Result<Rebuilt, RunnerError> {
    let (log, store) = (&runner.log, &runner.store);
    let mut rebuild = Rebuild::new(store, log, named(names)?)?;
    rebuild.stop = Some(stop);
    // The long way without disturbing anybody, then twice what has come since, which is little.
    for _ in 0..3 {
        let target = *store.position().borrow();
        rebuild.fold_to(target, progress).await?;
    }
    runner
        .hold(async move |position| {
            rebuild.fold_to(position, progress).await?;
            tokio::task::block_in_place(|| rebuild.swap_in())
        })
        .await
}

/// Rebuilds where no runner runs, up to the log's head.
///
/// # Errors
/// [`RunnerError`]; the live generation then stays as it is.
pub async fn rebuild_offline(
    log: &Arc<dyn Log>,
    store: &Arc<Store>,
    names: &[String],
    progress: &(dyn Fn(Position, Position) + Send + Sync),
) -> Result<Rebuilt, RunnerError> {
    let projections = named(names)?;
    let all = projections.len() == ALL.len();
    let mut rebuild = Rebuild::new(store, log, projections)?;
    // The ones that are not rebuilt stand where they stand: all must be at the same position.
    let until = if all {
        *log.head().borrow()
    } else {
        *store.position().borrow()
    };
    rebuild.fold_to(until, progress).await?;
    tokio::task::block_in_place(|| rebuild.swap_in())
}
