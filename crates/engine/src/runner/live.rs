//! The live fold: small batches, each written as one.

use std::{sync::Arc, time::Instant};

use cairn_domain::{Commit, Position, projections::FoldError};
use tokio::sync::mpsc;

use super::{
    History, ReadAhead, Request, RunnerError, RunnerOptions, behind_the_end,
    fold::{Failure, Folder},
    hot::{CommitShape, HotWindow},
    past::LivePast,
    trim::oldest_kept,
};
use crate::{
    health::{Phase, Reporter},
    log::Log,
    store::{LiveBase, Overlay, Store, StoreError, projection},
};

pub(crate) struct Live {
    log: Arc<dyn Log>,
    store: Arc<Store>,
    options: RunnerOptions,
    reporter: Reporter,
    folder: Folder,
    position: Position,
    trimmed: Instant,
}

impl Live {
    pub(crate) fn new(
        log: Arc<dyn Log>,
        store: Arc<Store>,
        options: RunnerOptions,
        reporter: Reporter,
    ) -> Result<Self, RunnerError> {
        let folder = Folder {
            projections: Vec::new(),
            hot: HotWindow::default(),
        };
        let position = Position(0);
        let trimmed = Instant::now();
        let mut live = Self {
            log,
            store,
            options,
            reporter,
            folder,
            position,
            trimmed,
        };
        live.reload()?;
        Ok(live)
    }

    /// Takes projections, hot window and position as the store has them.
    fn reload(&mut self) -> Result<(), RunnerError> {
        let names = self.store.live();
        self.folder.projections = names.iter().filter_map(|name| projection(name)).collect();
        self.folder.hot = HotWindow::new(self.store.load_hot()?);
        self.position = *self.store.position().borrow();
        Ok(())
    }

    fn read_ahead(&self) -> ReadAhead {
        ReadAhead::new(
            Arc::clone(&self.log),
            self.position.next(),
            None,
            self.options.batch_bytes,
        )
    }

    pub(crate) async fn run(
        mut self,
        inbox: mpsc::UnboundedReceiver<Request>,
    ) -> Result<(), RunnerError> {
        let mut inbox = inbox;
        if !self.is_behind_the_end(&mut inbox).await? {
            return Ok(());
        }
        // A log with nothing new in it is no reason to look as if this had not begun.
        self.report();
        let mut commits = self.read_ahead();
        let result = self.fold_until_told(inbox, &mut commits).await;
        commits.stop().await;
        result
    }

    /// Waits until the log is known as far as the store is; whoever wants the fold to stand still
    /// meanwhile may have that. Says no when it is to stop.
    async fn is_behind_the_end(
        &mut self,
        inbox: &mut mpsc::UnboundedReceiver<Request>,
    ) -> Result<bool, RunnerError> {
        loop {
            tokio::select! {
                biased;
                checked = behind_the_end(&self.store, &self.log, &self.reporter) => {
                    return checked.map(|()| true);
                }
                request = inbox.recv() => match request {
                    None | Some(Request::Stop) => return Ok(false),
                    Some(Request::Hold { at, release }) => {
                        let _gone = at.send(self.position);
                        let _released = release.await;
                        self.reload()?;
                    }
                },
            }
        }
    }

    async fn fold_until_told(
        &mut self,
        mut inbox: mpsc::UnboundedReceiver<Request>,
        commits: &mut ReadAhead,
    ) -> Result<(), RunnerError> {
        loop {
            tokio::select! {
                biased;
                request = inbox.recv() => match request {
                    None | Some(Request::Stop) => return Ok(()),
                    Some(Request::Hold { at, release }) => {
                        // Whoever asked may be gone; then there is nothing to wait for.
                        let _gone = at.send(self.position);
                        let _released = release.await;
                        let before = self.position;
                        self.reload()?;
                        self.report();
                        if self.position != before {
                            std::mem::replace(commits, self.read_ahead()).stop().await;
                        }
                    }
                },
                batch = commits.next() => {
                    self.fold(&batch?)?;
                    self.report();
                    self.trim()?;
                }
            }
        }
    }

    fn report(&self) {
        let target = *self.log.head().borrow();
        self.reporter.at(self.position.0, target.0);
        let behind = target.0.saturating_sub(self.position.0);
        let failed: Vec<_> = self
            .store
            .states()
            .into_iter()
            .filter_map(|(name, s)| Some((name, s.failure?)))
            .collect();
        match failed.first() {
            Some((name, failure)) => {
                self.reporter.explain(
                    Phase::Failed,
                    format!("projection {name} stopped: {failure}"),
                );
            }
            None if behind > 1000 => self.reporter.phase(Phase::CatchingUp),
            None => self.reporter.phase(Phase::Following),
        }
    }

    /// Folds a run of commits. What comes before a commit that takes blocks back is written first,
    /// because that one reads the past from the store.
    pub(crate) fn fold(&mut self, commits: &[Commit]) -> Result<(), RunnerError> {
        let mut rest = commits;
        while let Some(first) = rest.first() {
            if first.position != self.position.next() {
                let reason = format!("commit {} was expected", self.position.next());
                return Err(RunnerError::Commit {
                    position: first.position,
                    reason,
                });
            }
            let takes_back = |commit: &Commit| CommitShape::of(commit).takes_back();
            let length = match rest.iter().position(takes_back) {
                Some(0) => 1,
                Some(length) => length,
                None => rest.len(),
            };
            if CommitShape::of(first).reset {
                self.store.unsettle(first.position);
            }
            let (batch, behind) = rest.split_at(length);
            self.write(batch)?;
            rest = behind;
        }
        Ok(())
    }

    fn write(&mut self, batch: &[Commit]) -> Result<(), RunnerError> {
        let Some(last) = batch.last() else {
            return Ok(());
        };
        match self.try_write(batch, last.position) {
            Ok(result) => result,
            Err((index, failure)) => {
                // Nothing of the batch is written yet. What the window took in from it goes too.
                self.reload()?;
                self.write(&batch[..index])?;
                self.fail(&batch[index], failure)?;
                self.write(&batch[index..])
            }
        }
    }

    /// Stops the projection at fault, or the fold when it is the commit's.
    fn fail(&mut self, commit: &Commit, failure: Failure) -> Result<(), RunnerError> {
        let (position, reason) = (commit.position, failure.error.to_string());
        if let FoldError::Store(reason) = failure.error {
            // The disk is at fault, not the projection: what is written stays good.
            return Err(StoreError::Storage(reason).into());
        }
        let Some(name) = failure.projection else {
            return Err(RunnerError::Commit { position, reason });
        };
        tracing::error!(projection = name, %position, reason, "a projection stopped");
        self.store
            .fail(name, &format!("commit {position}: {reason}"))?;
        let remaining = self.store.live();
        if remaining.is_empty() {
            return Err(RunnerError::Projection {
                name: name.into(),
                position,
                reason,
            });
        }
        self.folder
            .projections
            .retain(|projection| projection.name() != name);
        Ok(())
    }

    fn try_write(
        &mut self,
        batch: &[Commit],
        last: Position,
    ) -> Result<Result<(), RunnerError>, (usize, Failure)> {
        let mut base = LiveBase(&self.store);
        let mut overlay = Overlay::new(self.folder.tables().collect::<Vec<_>>(), &mut base);
        let mut past = LivePast {
            store: &self.store,
            log: &self.log,
        };
        let mut changes = Vec::new();
        for (index, commit) in batch.iter().enumerate() {
            let folded = self.folder.fold(commit, &mut overlay, &mut past);
            changes.extend(folded.map_err(|failure| (index, failure))?);
        }
        let names: Vec<_> = self.folder.projections.iter().map(|p| p.name()).collect();
        let written = self.store.commit(&overlay, &changes, &names, last);
        if written.is_ok() {
            self.position = last;
        }
        Ok(written.map_err(RunnerError::from))
    }

    /// Forgets versions that are older than the kept history and that no revert can need.
    fn trim(&mut self) -> Result<(), RunnerError> {
        let History::Span(span) = self.options.history else {
            return Ok(());
        };
        if self.trimmed.elapsed() < self.options.trim_interval {
            return Ok(());
        }
        self.trimmed = Instant::now();
        let view = self.store.view(None)?;
        let kept = match oldest_kept(&view, span, self.store.oldest()) {
            Ok(kept) => kept,
            // While the blocks wait for a rebuild nothing is known of the chains: next time.
            Err(StoreError::Unavailable { .. }) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let undone = self.folder.hot.lowest().map(Position::previous);
        Ok(self
            .store
            .trim(undone.map_or(kept, |undone| undone.min(kept)))?)
    }
}
