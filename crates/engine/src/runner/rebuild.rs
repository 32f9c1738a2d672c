//! Rebuilds: projections folded afresh from the log by the bulk path, beside the live ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use cairn_domain::{
    Commit, Position, Stream,
    projections::{ALL, Projection},
    table::{TableDef, TableKind},
};
use serde::{Deserialize, Serialize};
use tempfile::TempDir;
use tokio::sync::watch;

use super::{
    ReadAhead, RunnerError, RunnerHandle,
    fold::{Failure, Folder},
    hot::{CommitShape, HotChange, HotCommit, HotWindow},
    past::{RebuildPast, RowImages, TableKeys},
};
use crate::{
    log::Log,
    store::{BulkBase, BulkWriter, Overlay, Step, Store, StoreError, TableVersions, projection},
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
const READ_BYTES: usize = 4 << 20;

/// A rebuild under way: folds into the next generation of some projections.
pub(crate) struct Rebuild<'a> {
    store: &'a Store,
    log: &'a Arc<dyn Log>,
    folder: Folder,
    base: BulkBase,
    images: RowImages,
    /// What was folded since the last flush.
    tables: Vec<TableVersions>,
    /// None once its files are in place: what follows is written row by row.
    writer: Option<BulkWriter>,
    generations: Vec<(&'static dyn Projection, u32)>,
    position: Position,
    /// Turns true when it is to give up.
    pub(super) stop: Option<watch::Receiver<bool>>,
    /// Where files are until they are in place. It goes last: the base has files there, too.
    _directory: TempDir,
}

/// The projections of these names; all for no names.
pub(crate) fn named(names: &[String]) -> Result<Vec<&'static dyn Projection>, RunnerError> {
    let unknown = |name: &String| {
        let all: Vec<_> = ALL.iter().map(|projection| projection.name()).collect();
        RunnerError::Unknown(name.clone(), all.join(", "))
    };
    match names {
        [] => Ok(ALL.to_vec()),
        names => {
            // One that is named twice would be folded twice into the same files.
            let names: BTreeSet<&String> = names.iter().collect();
            let named = |name: &String| projection(name).ok_or_else(|| unknown(name));
            names.into_iter().map(named).collect()
        }
    }
}

fn check(stop: Option<&watch::Receiver<bool>>) -> Result<(), RunnerError> {
    match stop {
        Some(stop) if *stop.borrow() => Err(RunnerError::Cancelled),
        Some(_) | None => Ok(()),
    }
}

fn failed(position: Position, failure: Failure) -> RunnerError {
    let reason = failure.error.to_string();
    match failure.projection {
        Some(name) => RunnerError::Projection {
            name: name.into(),
            position,
            reason,
        },
        None => RunnerError::Commit { position, reason },
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
        let folder = Folder {
            projections,
            hot: HotWindow::default(),
        };
        let directory = store.bulk_directory()?;
        let limit = store.options().bulk_bytes / 2;
        Ok(Self {
            store,
            log,
            tables: folder.tables().map(TableVersions::new).collect(),
            folder,
            base: BulkBase::new(limit, &directory.path().join("base")),
            images: RowImages::new(),
            writer: Some(BulkWriter::new(directory.path())?),
            generations,
            position: Position(0),
            stop: None,
            _directory: directory,
        })
    }

    /// Folds the log up to a position.
    pub(crate) async fn fold_to(
        &mut self,
        until: Position,
        progress: &(dyn Fn(Position, Position) + Send + Sync),
    ) -> Result<(), RunnerError> {
        let from = self.position.next();
        let bytes = READ_BYTES.min(self.store.options().bulk_bytes);
        let mut commits = ReadAhead::new(Arc::clone(self.log), from, Some(until), bytes);
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
        while self.position < until {
            let batch = commits.next().await?;
            tokio::task::block_in_place(|| self.fold(&batch))?;
            progress(self.position, until);
        }
        Ok(())
    }

    fn fold(&mut self, commits: &[Commit]) -> Result<(), RunnerError> {
        let resets = |commit: &Commit| CommitShape::of(commit).reset;
        let mut rest = commits;
        while let Some(first) = rest.first() {
            let next_reset = rest.iter().skip(1).position(resets);
            let (batch, behind) = rest.split_at(next_reset.map_or(rest.len(), |at| at + 1));
            let reset = match resets(first) {
                // It reads all keys of its stream, so what came before must be in the base.
                true => {
                    self.flush()?;
                    self.keys_of(&first.header.stream)?
                }
                false => Vec::new(),
            };
            self.fold_batch(batch, reset)?;
            rest = behind;
        }
        // Half of the memory goes to the base. One chunk fills while another waits and a third is
        // written, and vectors that grow may take a third more than they hold.
        let bytes: usize = self.tables.iter().map(TableVersions::bytes).sum();
        if bytes * 8 >= self.store.options().bulk_bytes {
            self.flush()?;
        }
        Ok(())
    }

    fn fold_batch(&mut self, batch: &[Commit], reset: TableKeys) -> Result<(), RunnerError> {
        let mut past = RebuildPast {
            log: self.log,
            images: &mut self.images,
            reset,
        };
        let mut overlay = Overlay::over(std::mem::take(&mut self.tables), &mut self.base);
        for commit in batch {
            check(self.stop.as_ref())?;
            let folded = self.folder.fold(commit, &mut overlay, &mut past);
            for change in folded.map_err(|failure| failed(commit.position, failure))? {
                if let HotChange::Remove(_, gone) = change {
                    past.images.remove(&gone);
                }
            }
            self.position = commit.position;
        }
        self.tables = overlay.into_tables();
        Ok(())
    }

    /// Hands over what was folded since the last time.
    fn flush(&mut self) -> Result<(), RunnerError> {
        for table in &self.tables {
            self.base.absorb(table)?;
        }
        match &self.writer {
            Some(writer) => {
                let empty = || self.folder.tables().map(TableVersions::new).collect();
                let next = writer.add(std::mem::take(&mut self.tables))?;
                self.tables = next.unwrap_or_else(empty);
            }
            None => {
                let generations: Vec<_> = self.generations().collect();
                self.store.write_unseen(&self.tables, &generations)?;
                self.tables.iter_mut().for_each(TableVersions::clear);
            }
        }
        Ok(())
    }

    /// The generation of each table.
    fn generations(&self) -> impl Iterator<Item = (&'static TableDef, u32)> {
        self.generations
            .iter()
            .flat_map(|(projection, generation)| {
                let tables = projection.tables().iter();
                tables.map(move |table| (*table, *generation))
            })
    }

    fn keys_of(&self, stream: &Stream) -> Result<TableKeys, RunnerError> {
        let versioned = |table: &&'static TableDef| matches!(table.kind, TableKind::Versioned);
        let tables = self.folder.tables().filter(versioned);
        tables
            .map(|table| Ok((table, self.base.stream_keys(table, stream)?)))
            .collect()
    }

    /// Puts all that was folded in place, which nobody reads yet. What is folded behind it should
    /// be little: it is written row by row.
    pub(crate) fn finish_files(&mut self) -> Result<(), RunnerError> {
        self.flush()?;
        let Some(writer) = self.writer.take() else {
            return Ok(());
        };
        let generations: Vec<_> = self.generations().collect();
        let check = || check(self.stop.as_ref());
        writer.finish(self.store, &generations, check)?;
        self.store.options().steps.done(Step::FilesIngested);
        Ok(())
    }

    /// Makes the new generation the live one. Nothing may fold meanwhile.
    pub(crate) fn swap_in(mut self) -> Result<Rebuilt, RunnerError> {
        check(self.stop.as_ref())?;
        self.finish_files()?;
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
    // The long way without disturbing anybody; then, twice, what has come since, which is less.
    for round in 0..3 {
        let target = *store.position().borrow();
        rebuild.fold_to(target, progress).await?;
        if round == 0 {
            tokio::task::block_in_place(|| rebuild.finish_files())?;
        }
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
