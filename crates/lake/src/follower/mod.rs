//! Follows the log of a shard and keeps its files: what is final streams into parts, a cut puts what is
//! there into files, a reset drops a chain.

mod intake;
mod interest;
mod publishing;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use cairn_domain::{Position, Stream};
use cairn_engine::{
    health::{Phase, Reporter},
    log::{Log, LogError},
    store::{ReadView, Store},
};
use tokio::sync::watch;

use crate::{
    LakeError,
    chain::{FileEntryDraft, OpenChain, Origin},
    event_tail::EventTail,
    lake::Lake,
    manifest::{ChainState, ShardState},
};

/// Bytes of the log that are read at a time.
const BATCH_BYTES: usize = 4 << 20;
/// Before something outside is asked again that did not answer.
const PAUSE: Duration = Duration::from_millis(500);

/// A shard whose files are kept.
#[derive(Clone)]
pub struct LakeShard {
    /// Its name.
    pub name: String,
    /// Its log.
    pub log: Arc<dyn Log>,
    /// Its store.
    pub store: Arc<Store>,
}

/// See the module.
pub struct Follower {
    lake: Arc<Lake>,
    shard: LakeShard,
    origin: Origin,
    state: ShardState,
    open: BTreeMap<Stream, OpenChain>,
    publication: Vec<FileEntryDraft>,
    resets: Vec<(String, Position)>,
}

impl Follower {
    /// Goes on where the manifest says that the files end.
    ///
    /// # Errors
    /// [`LakeError::Incompatible`] where the files are of another log.
    pub async fn new(lake: Arc<Lake>, shard: LakeShard) -> Result<Self, LakeError> {
        let log = shard.log.id().to_string();
        let state = lake.manifest().shard(&shard.name).cloned();
        let state = state.unwrap_or_else(|| ShardState {
            log: log.clone(),
            ..ShardState::default()
        });
        if state.log != log {
            return Err(LakeError::Incompatible {
                place: lake.place().shown().to_owned(),
                reason: format!(
                    "its files of shard {} are of log {}, not of log {log}: use the lake of this log, or run `cairn lake rebuild`",
                    shard.name, state.log
                ),
            });
        }
        let origin = Origin {
            shard: shard.name.clone(),
            log,
        };
        // What another follower of this process had kept is read again.
        lake.change_tail(&shard.name, |tail| *tail = EventTail::default());
        let mut follower = Self {
            lake,
            shard,
            origin,
            state,
            open: BTreeMap::new(),
            publication: Vec::new(),
            resets: Vec::new(),
        };
        follower.load_tail().await?;
        Ok(follower)
    }

    /// Reads the events again that are in no file yet.
    async fn load_tail(&mut self) -> Result<(), LakeError> {
        // A commit may have rows of several datasets, and is read once.
        let pending: BTreeSet<Position> = self
            .state
            .events
            .values()
            .flat_map(BTreeMap::values)
            .flat_map(|state| state.pending.iter().copied())
            .collect();
        for position in pending {
            let read = self.shard.log.read(position, 1).await?;
            // A file is made of these rows alone: none of them may be missing.
            let stored = read.first().ok_or_else(|| {
                LogError::Unavailable(format!("position {position} is not read yet"))
            })?;
            self.keep_rows(&stored.decode()?, false)?;
        }
        self.publish_tail_position();
        Ok(())
    }

    /// Follows the log until `stop` turns true.
    ///
    /// # Errors
    /// [`LakeError`]; what was published stays, and another follower goes on from there.
    pub async fn follow(
        mut self,
        reporter: &Reporter,
        mut stop: watch::Receiver<bool>,
    ) -> Result<(), LakeError> {
        let mut stopped = stop.clone();
        tokio::select! {
            _ = stopped.wait_for(|stop| *stop) => Ok(()),
            followed = async {
                loop {
                    let mut head = self.shard.log.head();
                    let next = self.state.position.next();
                    if head.wait_for(|head| *head >= next).await.is_err() {
                        return Ok(());
                    }
                    let target = *head.borrow();
                    reporter.at(self.state.position.0, target.0);
                    self.advance(target, &mut stop).await?;
                    reporter.at(self.state.position.0, self.shard.log.head().borrow().0);
                    self.report(reporter);
                }
            } => followed,
        }
    }

    /// Shows that it follows, unless a chain is not taken in.
    fn report(&self, reporter: &Reporter) {
        let failure = |(stream, chain): (&String, &ChainState)| {
            let failure = chain.failure.as_ref()?;
            Some(format!("{stream} is not taken in: {failure}"))
        };
        let is_at_end = self.state.position >= *self.shard.log.head().borrow();
        match self.state.chains.iter().find_map(failure) {
            Some(failure) if is_at_end => reporter.explain(Phase::Failed, failure),
            _ => reporter.phase(Phase::Following),
        }
    }

    /// Takes the log in up to a position, and gives how far it is now.
    ///
    /// # Errors
    /// As [`Follower::follow`].
    pub async fn catch_up(
        &mut self,
        target: Position,
        progress: &(dyn Fn(Position, Position) + Sync),
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), LakeError> {
        while self.state.position < target {
            if *stop.borrow() {
                return Err(LakeError::Cancelled);
            }
            self.advance(target, stop).await?;
            progress(self.state.position, target);
        }
        Ok(())
    }

    /// Takes the next batch of the log in, and publishes what is complete with it.
    async fn advance(
        &mut self,
        target: Position,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<(), LakeError> {
        let next = self.state.position.next();
        let mut commits = match self.shard.log.read(next, BATCH_BYTES).await {
            Ok(commits) => commits,
            Err(error) if error.is_passing() => {
                tokio::time::sleep(PAUSE).await;
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        commits.retain(|commit| commit.position <= target);
        let Some(last) = commits.last().map(|commit| commit.position) else {
            return Ok(());
        };
        let Some(view) = self.view_at(last, stop).await? else {
            return Ok(());
        };
        for commit in commits {
            self.take(&commit, &view).await?;
        }
        self.publish().await
    }

    /// The store, once it has folded up to a position; none when it is time to stop.
    async fn view_at(
        &self,
        position: Position,
        stop: &mut watch::Receiver<bool>,
    ) -> Result<Option<ReadView>, LakeError> {
        let mut folded = self.shard.store.position();
        tokio::select! {
            reached = folded.wait_for(|folded| *folded >= position) => {
                if reached.is_err() {
                    return Ok(None);
                }
            }
            _ = stop.wait_for(|stop| *stop) => return Ok(None),
        }
        Ok(Some(self.shard.store.view(None)?))
    }
}
