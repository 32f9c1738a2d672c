//! The thread that keeps up with the topic: it reads, moves the head, and leaves marks.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use super::{
    acceptor::{Accepted, Mark},
    client::Client,
    feed::{Fed, Feed},
    index::Index,
    shared::{Shared, State},
};
use crate::log::LogError;

/// Marks are so many bytes or records apart.
const MARK_BYTES: usize = 4 << 20;
const MARK_RECORDS: u64 = 8192;
/// How often the newest mark is written.
const NEWEST_EVERY: Duration = Duration::from_secs(1);
const POLL: Duration = Duration::from_millis(100);
/// Reads the topic from a mark on, until the log is closed or broken.
pub(super) fn follow(shared: &Arc<Shared>, index: &Arc<Index>, mark: Mark) {
    let (options, id) = (&shared.options, shared.id);
    let followed = Feed::new(options, Client::Follower, id, mark).and_then(|feed| {
        let mut follower = Follower {
            shared: Arc::clone(shared),
            index: Arc::clone(index),
            feed,
            bytes: 0,
            records: 0,
            newest: Instant::now(),
            moved: false,
        };
        let followed = follower.run();
        follower.remember()?;
        index.flush()?;
        followed
    });
    if let Err(error) = followed {
        shared.fail(&error);
    }
}

struct Follower {
    shared: Arc<Shared>,
    index: Arc<Index>,
    feed: Feed,
    /// Since the last mark.
    bytes: usize,
    records: u64,
    /// When the newest mark was written, and whether there is a newer one.
    newest: Instant,
    moved: bool,
}

impl Follower {
    fn run(&mut self) -> Result<(), LogError> {
        while !self.shared.is_closing() {
            match self.feed.next(POLL) {
                Ok(Fed::Record(accepted, bytes)) => self.take(accepted, bytes)?,
                Ok(Fed::End) => self.shared.note(State::Well),
                Ok(Fed::Nothing) => {}
                Err(LogError::Unavailable(reason)) => self.shared.note(State::Away(reason)),
                Err(error) => return Err(error),
            }
            if self.moved && self.newest.elapsed() > NEWEST_EVERY {
                self.remember()?;
            }
        }
        Ok(())
    }

    fn take(&mut self, accepted: Accepted, bytes: usize) -> Result<(), LogError> {
        let shared = Arc::clone(&self.shared);
        let acceptor = self.feed.acceptor();
        match accepted {
            Accepted::Nothing => {}
            Accepted::PassedOver => {
                shared.passed_over.fetch_add(1, Ordering::Relaxed);
            }
            Accepted::Epoch => shared.epoch(acceptor),
            Accepted::Commits(commits) => shared.commits(acceptor, commits),
        }
        let next = acceptor.next();
        shared.next.send_replace(next);
        shared.end.fetch_max(next, Ordering::Relaxed);
        self.moved = true;
        self.bytes += bytes;
        self.records += 1;
        if self.bytes >= MARK_BYTES || self.records >= MARK_RECORDS {
            self.mark()?;
        }
        while !shared.tail.make_room(POLL) && !shared.is_closing() {}
        Ok(())
    }

    /// Leaves a mark, unless an append is incomplete.
    fn mark(&mut self) -> Result<(), LogError> {
        if let Some(mark) = self.feed.acceptor().mark() {
            self.index.add(&mark)?;
            (self.bytes, self.records) = (0, 0);
        }
        Ok(())
    }

    fn remember(&mut self) -> Result<(), LogError> {
        if let Some(mark) = self.feed.acceptor().mark() {
            self.index.set_newest(&mark)?;
            (self.newest, self.moved) = (Instant::now(), false);
        }
        Ok(())
    }
}
