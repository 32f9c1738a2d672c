//! The newest events of all shards, ready to go out: whoever follows takes them from here at its own pace, and who
//! is too slow finds them gone.

use std::{
    collections::VecDeque,
    sync::{
        Arc, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use cairn_domain::Position;
use cairn_engine::{
    health::{Phase, Reporter},
    log::LogError,
};
use tokio::sync::{Notify, Semaphore, watch};

use super::{
    channel::{CHANNELS, RenderError},
    frame::Frame,
};
use crate::{cursor::CursorKeys, shard::Shard};

/// Events are of so many commits at most.
const MOST_COMMITS: usize = 16_384;

/// The log is read in steps of so many bytes.
const STEP: usize = 256 << 10;

/// So many of those who replay read the log at a time.
const REPLAYS: usize = 4;

/// Before the log is read again that could not be read.
const PAUSE: Duration = Duration::from_secs(1);

/// Why events cannot be told.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FeedError {
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A commit cannot be shown.
    #[error("commit {position}: {source}")]
    Render {
        /// The commit.
        position: Position,
        /// Why.
        source: RenderError,
    },
    /// The thread that showed it is gone.
    #[error("it panicked")]
    Panicked,
}

/// The events of a commit; there are some.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) shard: usize,
    pub(super) position: Position,
    pub(super) frames: Vec<Arc<Frame>>,
}

#[derive(Debug)]
struct Ring {
    /// The number of the first entry that is there.
    first: u64,
    entries: VecDeque<Arc<Entry>>,
    bytes: usize,
    most_bytes: usize,
    /// What of each shard is before the first entry.
    start: Vec<Position>,
    /// What of each shard is in the entries, or holds nothing to tell.
    end: Vec<Position>,
    /// Whether nobody follows, so that nothing is read.
    is_asleep: bool,
    followers: usize,
}

impl Ring {
    fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn push(&mut self, entry: Entry) {
        self.bytes += bytes(&entry);
        self.entries.push_back(Arc::new(entry));
        while self.bytes > self.most_bytes || self.entries.len() > MOST_COMMITS {
            let Some(oldest) = self.entries.pop_front() else {
                return;
            };
            self.first += 1;
            self.bytes -= bytes(&oldest);
            self.start[oldest.shard] = oldest.position;
        }
    }
}

fn bytes(entry: &Entry) -> usize {
    entry.frames.iter().map(|frame| frame.bytes()).sum()
}

/// See the module.
pub(crate) struct Feed {
    pub(super) shards: Vec<Arc<Shard>>,
    pub(super) keys: CursorKeys,
    ring: RwLock<Ring>,
    /// The number of the entry that comes next, and whether the server goes on.
    news: watch::Sender<u64>,
    stopping: watch::Sender<bool>,
    wanted: Notify,
    reporter: Reporter,
    is_driven: AtomicBool,
    /// So many read the log at a time.
    replays: Semaphore,
}

/// Somebody follows, as long as this is there.
pub(crate) struct Follower {
    pub(super) feed: Arc<Feed>,
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.feed.ring_to_change().followers -= 1;
    }
}

/// What is taken from the ring.
pub(super) enum Taken {
    /// These entries, and the number of the one behind them.
    Entries(Vec<Arc<Entry>>, u64),
    /// What comes next is gone already.
    Gone,
}

impl Feed {
    /// That of some shards; nothing is read before somebody follows.
    pub(crate) fn new(
        shards: Vec<Arc<Shard>>,
        keys: CursorKeys,
        most_bytes: usize,
        reporter: Reporter,
    ) -> Arc<Self> {
        reporter.phase(Phase::Following);
        let none = vec![Position(0); shards.len()];
        Arc::new(Self {
            ring: RwLock::new(Ring {
                first: 0,
                entries: VecDeque::new(),
                bytes: 0,
                most_bytes,
                start: none.clone(),
                end: none,
                is_asleep: true,
                followers: 0,
            }),
            shards,
            keys,
            news: watch::Sender::new(0),
            stopping: watch::Sender::new(false),
            wanted: Notify::new(),
            reporter,
            is_driven: AtomicBool::new(false),
            replays: Semaphore::new(REPLAYS),
        })
    }

    /// Lets somebody follow; the first one has what is folded read from now on.
    pub(crate) fn follow(self: &Arc<Self>) -> Follower {
        if !self.is_driven.swap(true, Ordering::Relaxed) {
            tokio::spawn(Arc::clone(self).drive());
        }
        self.ring_to_change().followers += 1;
        self.wanted.notify_one();
        Follower {
            feed: Arc::clone(self),
        }
    }

    /// Ends all that is told.
    pub(crate) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Turns true when nothing more is told.
    pub(crate) fn stopping(&self) -> watch::Receiver<bool> {
        self.stopping.subscribe()
    }

    /// Moves with each entry.
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    fn ring(&self) -> RwLockReadGuard<'_, Ring> {
        self.ring.read().expect("no panic holds it")
    }

    fn ring_to_change(&self) -> RwLockWriteGuard<'_, Ring> {
        self.ring.write().expect("no panic holds it")
    }

    /// What of each shard is told, and the number of the entry that comes behind that; none while nothing is read.
    pub(super) fn end(&self) -> Option<(Vec<Position>, u64)> {
        let ring = self.ring();
        (!ring.is_asleep).then(|| (ring.end.clone(), ring.next()))
    }

    /// The number of the first entry behind a position of the only shard, if all of those are still there. That
    /// of the entry at the position itself, where there is one: a part of it may be told.
    pub(super) fn number_of(&self, position: Position) -> Option<u64> {
        let ring = self.ring();
        let ([start], [end]) = (ring.start.as_slice(), ring.end.as_slice()) else {
            return None;
        };
        let is_within = !ring.is_asleep && *start < position && position <= *end;
        let before = ring
            .entries
            .partition_point(|entry| entry.position < position);
        is_within.then_some(ring.first + before as u64)
    }

    /// Entries from a number on, at most so many.
    pub(super) fn take(&self, from: u64, most: usize) -> Taken {
        let ring = self.ring();
        let Some(skip) = from.checked_sub(ring.first) else {
            return Taken::Gone;
        };
        let entries: Vec<_> = ring
            .entries
            .iter()
            .skip(skip as usize)
            .take(most)
            .cloned()
            .collect();
        let next = from + entries.len() as u64;
        Taken::Entries(entries, next)
    }

    /// Reads what is folded, as long as anybody follows and the server goes on.
    async fn drive(self: Arc<Self>) {
        let mut stopping = self.stopping();
        let driving = async {
            loop {
                if self.sleeps() {
                    self.reporter.phase(Phase::Following);
                    self.wanted.notified().await;
                    self.wake();
                }
                match self.step().await {
                    Ok(true) => {}
                    Ok(false) => {
                        self.reporter.phase(Phase::Following);
                        self.moved().await;
                    }
                    Err(error) => {
                        tracing::error!(%error, "events cannot be told");
                        self.reporter.explain(Phase::Waiting, error.to_string());
                        tokio::time::sleep(PAUSE).await;
                    }
                }
                let told: u64 = self.ring().end.iter().map(|position| position.0).sum();
                let folded: u64 = self.shards.iter().map(|shard| shard.position().0).sum();
                self.reporter.at(told, folded);
            }
        };
        tokio::select! {
            () = driving => {}
            _ = stopping.wait_for(|stop| *stop) => {}
        }
    }

    /// Falls asleep if nobody follows; who begins to, sees that.
    fn sleeps(&self) -> bool {
        let mut ring = self.ring_to_change();
        ring.is_asleep |= ring.followers == 0;
        ring.is_asleep
    }

    /// Goes on from here: what happened meanwhile is in the log for who asks for it.
    fn wake(&self) {
        let mut ring = self.ring_to_change();
        let now: Vec<_> = self.shards.iter().map(|shard| shard.position()).collect();
        ring.first = ring.next();
        ring.entries.clear();
        ring.bytes = 0;
        (ring.start, ring.end) = (now.clone(), now);
        ring.is_asleep = false;
        self.news.send_replace(ring.next());
    }

    /// Returns when something more is folded, or nobody follows any more for a while.
    async fn moved(&self) {
        const LOOK_EVERY: Duration = Duration::from_secs(10);
        let end = self.ring().end.clone();
        let waits = self.shards.iter().zip(end).map(|(shard, end)| {
            let mut position = shard.store.position();
            Box::pin(async move {
                // A store that is closed moves no more.
                let _closed = position.wait_for(|position| *position > end).await;
            })
        });
        let any = futures_util::future::select_all(waits);
        // Nobody may follow meanwhile.
        let _patience = tokio::time::timeout(LOOK_EVERY, any).await;
    }

    /// Takes in some commits of each shard; says whether there were any.
    async fn step(self: &Arc<Self>) -> Result<bool, FeedError> {
        let mut moved = false;
        for index in 0..self.shards.len() {
            let end = self.ring().end.clone();
            let to = self.shards[index].position();
            if end[index] >= to {
                continue;
            }
            moved = true;
            let (frames, reached) = self.read(index, (end, to), None).await?;
            let mut ring = self.ring_to_change();
            for entry in frames {
                ring.push(entry);
            }
            ring.end[index] = reached;
            self.news.send_replace(ring.next());
        }
        Ok(moved)
    }

    /// The events of a channel in the commits of a shard, when it is the reader's turn; as [`Feed::read`].
    pub(super) async fn replay(
        self: &Arc<Self>,
        index: usize,
        wanted: (Vec<Position>, Position),
        channel: u8,
    ) -> Result<(Vec<Entry>, Position), FeedError> {
        // It is never closed.
        let _turn = self.replays.acquire().await;
        self.read(index, wanted, Some(channel)).await
    }

    /// The events of the commits of a shard behind what was told of it, up to a position at most, and the position
    /// that they reach; of one channel, or of all.
    async fn read(
        self: &Arc<Self>,
        index: usize,
        (told, to): (Vec<Position>, Position),
        channel: Option<u8>,
    ) -> Result<(Vec<Entry>, Position), FeedError> {
        let shard = &self.shards[index];
        let commits = shard.log.read(told[index].next(), STEP).await?;
        let feed = Arc::clone(self);
        let shown = tokio::task::spawn_blocking(move || {
            let (shard, mut reached) = (&feed.shards[index], told[index]);
            let mut told = told;
            let mut entries = Vec::new();
            for stored in commits
                .into_iter()
                .take_while(|stored| stored.position <= to)
            {
                let commit = stored.decode()?;
                let mut frames = Vec::new();
                let channels = CHANNELS.iter();
                for known in
                    channels.filter(|known| channel.is_none_or(|one| known.number() == one))
                {
                    let made = Frame::all_of(*known, (shard, &feed.keys), &commit, &told);
                    let made = made.map_err(|source| FeedError::Render {
                        position: commit.position,
                        source,
                    })?;
                    frames.extend(made.into_iter().map(Arc::new));
                }
                reached = commit.position;
                told[index] = reached;
                if !frames.is_empty() {
                    entries.push(Entry {
                        shard: index,
                        position: reached,
                        frames,
                    });
                }
            }
            Ok((entries, reached))
        });
        shown.await.unwrap_or(Err(FeedError::Panicked))
    }
}
