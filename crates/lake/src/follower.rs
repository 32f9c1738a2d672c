//! Follows the log of a shard and keeps its files: what is final streams into parts, a cut puts what is
//! there into files, a reset drops a chain.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, LazyLock},
    time::Duration,
};

use cairn_domain::{
    BlockRef, Commit, Event, Position, Stream,
    commit::{CommitHeader, RawRecord, read_frame},
};
use cairn_engine::{
    health::{Phase, Reporter},
    log::{Log, LogError, StoredCommit},
    store::{ReadView, Store, StoreError},
};
use tokio::sync::watch;

use crate::{
    LakeError, blocks,
    chain::{FileEntryDraft, OpenChain, Origin},
    events::{EventFile, event_datasets, event_rows},
    lake::{Lake, Publication, TailRows},
    manifest::{ChainState, Placed, ShardState},
    rows::RowBuffer,
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
            if let Some(stored) = self.shard.log.read(position, 1).await?.first() {
                self.keep_rows(&stored.decode()?, false)?;
            }
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
                    reporter.phase(Phase::Following);
                }
            } => followed,
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

    /// Takes a commit in.
    async fn take(&mut self, stored: &StoredCommit, view: &ReadView) -> Result<(), LakeError> {
        let position = stored.position;
        let fail = |source| LogError::Commit { position, source };
        let (header, records) = read_frame(&stored.bytes).map_err(fail)?;
        let is_row = |record| matches!(interest(record), Interest::Row | Interest::Both);
        if records.iter().any(is_row) {
            self.keep_rows(&stored.decode()?, true)?;
        }
        for record in records {
            if matches!(interest(&record), Interest::Structure | Interest::Both) {
                let decoded = Event::decode(record);
                let event = decoded.map_err(|source| LakeError::Event { position, source })?;
                self.take_event(&header, position, event, view).await?;
            }
        }
        self.state.position = position;
        Ok(())
    }

    async fn take_event(
        &mut self,
        header: &CommitHeader,
        position: Position,
        event: Event,
        view: &ReadView,
    ) -> Result<(), LakeError> {
        let stream = &header.stream;
        match event {
            Event::BlockAppended(appended) => {
                let placed = Placed {
                    block: appended.block,
                    position,
                };
                self.chain(stream).hot.push(placed);
            }
            Event::BlockReverted(reverted) => {
                self.chain(stream)
                    .hot
                    .retain(|placed| placed.block != reverted.block);
            }
            Event::BlockFinalized(finalized) => {
                self.finalize(stream, finalized.block, view)?;
            }
            Event::ChainReset(_) => self.reset(stream, position),
            Event::LakeCut(_) => self.cut(stream, view).await?,
            Event::TransactionIncluded(_)
            | Event::TransactionExecuted(_)
            | Event::TokenDescribed(_) => {}
        }
        Ok(())
    }

    fn chain(&mut self, stream: &Stream) -> &mut ChainState {
        self.state
            .chains
            .entry(stream.as_str().to_owned())
            .or_default()
    }

    /// What is final now streams into the open parts.
    fn finalize(
        &mut self,
        stream: &Stream,
        finalized: BlockRef,
        view: &ReadView,
    ) -> Result<(), LakeError> {
        let chain = self.chain(stream);
        let is_final = |placed: &Placed| placed.block.height <= finalized.height;
        let count = chain
            .hot
            .iter()
            .take_while(|placed| is_final(placed))
            .count();
        let blocks: Vec<_> = chain.hot.drain(..count).collect();
        for placed in blocks {
            if self.chain(stream).failure.is_some() {
                return Ok(());
            }
            match self.stream_block(stream, placed, view) {
                Err(error @ LakeError::Cell { .. }) => self.fail(stream, &error),
                taken => taken?,
            }
        }
        Ok(())
    }

    fn stream_block(
        &mut self,
        stream: &Stream,
        placed: Placed,
        view: &ReadView,
    ) -> Result<(), LakeError> {
        let place = self.lake.place().clone();
        let mut state = std::mem::take(self.chain(stream));
        let parts = state.parts.clone();
        let taken = self.stream_into(&place, stream, &mut state, placed, view);
        if taken.is_err() {
            // A part that the block had ended is not published, so it is not complete.
            state.parts = parts;
        }
        *self.chain(stream) = state;
        taken
    }

    fn stream_into(
        &mut self,
        place: &crate::Place,
        stream: &Stream,
        state: &mut ChainState,
        placed: Placed,
        view: &ReadView,
    ) -> Result<(), LakeError> {
        if !self.open.contains_key(stream) {
            let mut open = OpenChain::new(stream.clone());
            if !open.fill(place, view, state)? {
                tracing::info!(%stream, "the lake waits for the reset of a chain");
                state.failure = Some("the chain is reset further on in the log".into());
                return Ok(());
            }
            self.open.insert(stream.clone(), open);
        }
        // Rows of final blocks never change, so it does not matter that the store is further on.
        let data = blocks::block(view, stream, placed.block)?;
        let data = data.ok_or_else(|| missing(stream, placed.block))?;
        if let Some(open) = self.open.get_mut(stream) {
            let layout = self.lake.layout();
            let complete = open.take(place, &self.origin, layout, state, (&data, placed))?;
            self.publication.extend(complete);
        }
        state.finalized = Some(placed);
        Ok(())
    }

    /// A chain that cannot be taken in stops, loudly, and no other.
    fn fail(&mut self, stream: &Stream, error: &LakeError) {
        tracing::error!(%stream, %error, "a chain is not taken into the lake any more");
        self.open.remove(stream);
        self.chain(stream).failure = Some(error.to_string());
    }

    fn reset(&mut self, stream: &Stream, position: Position) {
        self.open.remove(stream);
        // Files of the old chain that are not published yet are not published any more.
        self.publication
            .retain(|draft| draft.entry.stream != stream.as_str());
        self.resets.push((stream.as_str().to_owned(), position));
        *self.chain(stream) = ChainState {
            reset: position,
            ..ChainState::default()
        };
    }

    /// Puts all that is final and in no file yet into files.
    async fn cut(&mut self, stream: &Stream, view: &ReadView) -> Result<(), LakeError> {
        self.cut_events(stream).await?;
        if let Some(state) = self.state.chains.get(stream.as_str()) {
            let is_news = |last: &Placed| {
                let published = state.published.map(|placed| placed.block.height);
                state.failure.is_none() && published < Some(last.block.height)
            };
            if let Some(last) = state.finalized.filter(is_news) {
                let chain = OpenChain::new(stream.clone());
                let files = chain.cut(self.lake.place(), &self.origin, view, state, last)?;
                if let Some(files) = files {
                    self.publication.extend(files);
                    self.chain(stream).published = Some(last);
                }
            }
        }
        self.publish().await
    }

    async fn cut_events(&mut self, stream: &Stream) -> Result<(), LakeError> {
        for (dataset, rows) in event_datasets() {
            let events = self.state.events.get_mut(dataset.name);
            let Some(state) = events.and_then(|streams| streams.get_mut(stream.as_str())) else {
                continue;
            };
            let pending: Vec<_> = std::mem::take(&mut state.pending).into_iter().collect();
            if pending.is_empty() {
                continue;
            }
            let file = EventFile {
                dataset,
                rows,
                stream,
                pending: &pending,
            };
            let manifest = self.lake.manifest();
            let log = self.shard.log.as_ref();
            let draft = file
                .write(self.lake.place(), &self.origin, &manifest, log)
                .await?;
            self.publication.extend(draft);
        }
        Ok(())
    }

    /// Keeps the rows of events until they are in a file.
    fn keep_rows(&mut self, commit: &Commit, is_new: bool) -> Result<(), LakeError> {
        let stream = commit.header.stream.as_str();
        for (dataset, rows) in event_datasets() {
            let mut buffer = RowBuffer::new(dataset);
            event_rows(dataset, rows, commit, &mut buffer)?;
            if buffer.rows() == 0 {
                continue;
            }
            let row = TailRows {
                position: commit.position,
                stream: stream.to_owned(),
                batch: buffer.take()?,
            };
            if is_new {
                let streams = self
                    .state
                    .events
                    .entry(dataset.name.to_owned())
                    .or_default();
                let state = streams.entry(stream.to_owned()).or_default();
                state.pending.insert(commit.position);
            }
            self.lake.change_tail(&self.shard.name, |tail| {
                tail.rows.entry(dataset.name).or_default().push_back(row);
            });
        }
        Ok(())
    }

    fn publish_tail_position(&self) {
        let position = self.state.position;
        self.lake
            .change_tail(&self.shard.name, |tail| tail.position = position);
    }

    /// Publishes what is complete.
    async fn publish(&mut self) -> Result<(), LakeError> {
        if !self.publication.is_empty() || !self.resets.is_empty() {
            let mut publication = Publication {
                files: Vec::new(),
                resets: std::mem::take(&mut self.resets),
            };
            for draft in self.publication.drain(..) {
                let path = &draft.entry.path;
                self.lake.place().publish(&draft.spooled.path, path).await?;
                publication.files.push(draft.entry);
            }
            self.lake
                .publish(&self.shard.name, &self.state, publication)
                .await?;
        }
        self.publish_tail_position();
        Ok(())
    }
}

/// What a kind of event is to a lake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interest {
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

fn interest(record: &RawRecord<'_>) -> Interest {
    let known = INTERESTS.get(usize::from(record.kind));
    known.copied().unwrap_or(Interest::Structure)
}

fn missing(stream: &Stream, block: BlockRef) -> LakeError {
    let reason =
        format!("the store lacks {block} of {stream}, which it has folded; run `cairn verify`");
    StoreError::Storage(reason).into()
}
