//! Reads of what is not in memory any more: from the last mark before it, through the same acceptor.
//! A reader that goes on where it was is kept, so that a replay is one pass.

use std::{
    collections::VecDeque,
    sync::Mutex,
    time::{Duration, Instant},
};

use cairn_domain::Position;

use super::{
    acceptor::{Accepted, Mark},
    client::Client,
    feed::{Fed, Feed},
    index::Index,
    shared::Shared,
};
use crate::log::{LogError, StoredCommit};

/// Readers that are kept, and for how long.
const KEPT: usize = 3;
const KEPT_FOR: Duration = Duration::from_secs(30);
/// How long a read waits for brokers that do not answer.
const PATIENCE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(100);

/// A pass through the topic.
pub(super) struct Pass {
    feed: Feed,
    /// Read, but not asked for yet.
    ahead: VecDeque<(StoredCommit, i64)>,
    /// The offset of the last record of the commit that came last.
    offset: i64,
    used: Instant,
}

impl Pass {
    pub(super) fn new(shared: &Shared, mark: Mark) -> Result<Self, LogError> {
        Ok(Self {
            feed: Feed::new(&shared.options, Client::Reader, shared.id, mark)?,
            ahead: VecDeque::new(),
            offset: 0,
            used: Instant::now(),
        })
    }

    /// The position that it gives next.
    fn next_position(&self) -> Position {
        match self.ahead.front() {
            Some((commit, _)) => commit.position,
            None => self.feed.acceptor().position().next(),
        }
    }

    /// The next commit.
    pub(super) fn next(&mut self) -> Result<StoredCommit, LogError> {
        let mut heard = Instant::now();
        loop {
            if let Some((commit, offset)) = self.ahead.pop_front() {
                self.offset = offset;
                return Ok(commit);
            }
            let offset = self.feed.acceptor().next();
            match self.feed.next(POLL)? {
                Fed::Record(Accepted::Commits(commits), _) => {
                    let ends = self.feed.acceptor().ends().iter().copied();
                    self.ahead.extend(commits.into_iter().zip(ends));
                }
                Fed::Record(..) => heard = Instant::now(),
                Fed::End | Fed::Nothing if heard.elapsed() < PATIENCE => {}
                Fed::End | Fed::Nothing => {
                    return Err(LogError::Unavailable(format!(
                        "no record behind offset {offset} came within {} s",
                        PATIENCE.as_secs()
                    )));
                }
            }
        }
    }

    /// The offset of the last record of the commit that came last.
    pub(super) fn offset(&self) -> i64 {
        self.offset
    }
}

/// The readers that are kept.
#[derive(Default)]
pub(super) struct Readers(Mutex<Vec<Pass>>);

impl Readers {
    fn take(&self, from: Position) -> Option<Pass> {
        let mut passes = self.0.lock().expect("no panic holds it");
        let found = passes
            .iter()
            .position(|pass| pass.next_position() == from)?;
        Some(passes.swap_remove(found))
    }

    fn keep(&self, mut pass: Pass) {
        pass.used = Instant::now();
        let mut passes = self.0.lock().expect("no panic holds it");
        passes.push(pass);
        passes.sort_by_key(|pass| std::cmp::Reverse(pass.used));
        let kept = passes.len().min(KEPT);
        let closed = passes.split_off(kept);
        // Closing a consumer takes a while, in which others may read.
        drop(passes);
        drop(closed);
    }

    /// Closes readers that nobody goes on with.
    pub(super) fn tidy(&self) {
        let mut passes = self.0.lock().expect("no panic holds it");
        let old = |pass: &mut Pass| pass.used.elapsed() >= KEPT_FOR;
        let closed: Vec<_> = passes.extract_if(.., old).collect();
        drop(passes);
        drop(closed);
    }

    /// Commits from a position on, up to `last`, of about so many bytes; at least one. Blocks.
    pub(super) fn read(
        &self,
        (shared, index): (&Shared, &Index),
        (from, last): (Position, Position),
        max_bytes: usize,
    ) -> Result<Vec<StoredCommit>, LogError> {
        let mut pass = match self.take(from) {
            Some(pass) => pass,
            None => Pass::new(shared, index.before(from)?)?,
        };
        let (mut commits, mut bytes) = (Vec::new(), 0);
        while commits.is_empty() || (bytes < max_bytes && pass.next_position() <= last) {
            let commit = pass.next()?;
            if commit.position < from {
                continue;
            }
            bytes += commit.bytes.len();
            commits.push(commit);
        }
        self.keep(pass);
        Ok(commits)
    }
}
