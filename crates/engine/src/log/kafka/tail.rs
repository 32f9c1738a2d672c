//! The newest commits in memory: what a fold that keeps up reads, so that every byte comes from the
//! brokers once.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex},
    time::{Duration, Instant},
};

use cairn_domain::Position;

use crate::log::StoredCommit;

/// For so long a reader that does not move holds the follower up.
const READER_PATIENCE: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Commits {
    commits: VecDeque<StoredCommit>,
    bytes: usize,
    /// The last position that was read from memory, and when.
    read: Option<(Position, Instant)>,
}

/// See the module.
pub(super) struct Tail {
    commits: Mutex<Commits>,
    moved: Condvar,
    limit: usize,
}

impl Tail {
    /// Holds about so many bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            commits: Mutex::default(),
            moved: Condvar::new(),
            limit,
        }
    }

    /// Takes commits in behind the others.
    pub(super) fn push(&self, commits: Vec<StoredCommit>) {
        let mut tail = self.commits.lock().expect("no panic holds it");
        tail.bytes += commits
            .iter()
            .map(|commit| commit.bytes.len())
            .sum::<usize>();
        tail.commits.extend(commits);
    }

    /// Makes room. A reader that has not come to the oldest commits yet, and that moves, is waited
    /// for at most `patience`; says whether there is room.
    pub(super) fn make_room(&self, patience: Duration) -> bool {
        let mut tail = self.commits.lock().expect("no panic holds it");
        let started = Instant::now();
        while tail.bytes > self.limit && tail.commits.len() > 1 {
            let oldest = tail.commits[0].position;
            let unread = tail.read.is_some_and(|(read, at)| {
                read < oldest && read.next() >= oldest && at.elapsed() < READER_PATIENCE
            });
            if unread {
                let left = patience.saturating_sub(started.elapsed());
                if left.is_zero() {
                    return false;
                }
                let waited = self.moved.wait_timeout(tail, left);
                tail = waited.expect("no panic holds it").0;
            } else if let Some(commit) = tail.commits.pop_front() {
                tail.bytes -= commit.bytes.len();
            }
        }
        true
    }

    /// Commits from a position on, at least one, of about so many bytes; none where memory does not
    /// reach back so far.
    pub(super) fn read(&self, from: Position, max_bytes: usize) -> Option<Vec<StoredCommit>> {
        let mut tail = self.commits.lock().expect("no panic holds it");
        let oldest = tail.commits.front()?.position;
        let skipped = usize::try_from(from.0.checked_sub(oldest.0)?).ok()?;
        let mut commits = Vec::new();
        let mut bytes = 0;
        for commit in tail.commits.range(skipped.min(tail.commits.len())..) {
            if !commits.is_empty() && bytes >= max_bytes {
                break;
            }
            bytes += commit.bytes.len();
            commits.push(commit.clone());
        }
        let last = commits.last()?.position;
        tail.read = Some((last, Instant::now()));
        self.moved.notify_all();
        Some(commits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commits(positions: std::ops::RangeInclusive<u64>) -> Vec<StoredCommit> {
        let commit = |position| StoredCommit {
            position: Position(position),
            bytes: vec![0; 10],
        };
        positions.map(commit).collect()
    }

    fn read(tail: &Tail, from: u64, max_bytes: usize) -> Option<Vec<u64>> {
        let commits = tail.read(Position(from), max_bytes)?;
        Some(commits.iter().map(|commit| commit.position.0).collect())
    }

    #[test]
    fn the_newest_are_read_from_memory_and_older_ones_are_not() {
        let tail = Tail::new(50);
        tail.push(commits(1..=9));
        assert!(tail.make_room(Duration::ZERO));
        assert_eq!(read(&tail, 4, 100), None);
        assert_eq!(read(&tail, 5, 20), Some(vec![5, 6]));
        assert_eq!(read(&tail, 9, 1), Some(vec![9]));
        assert_eq!(read(&tail, 10, 1), None);
    }

    #[test]
    fn a_reader_that_keeps_up_holds_what_it_has_not_read() {
        let tail = Tail::new(50);
        tail.push(commits(1..=6));
        assert_eq!(read(&tail, 1, 20), Some(vec![1, 2]));
        tail.push(commits(7..=9));
        // 1 and 2 were read and may go; 3 is what comes next.
        assert!(!tail.make_room(Duration::from_millis(5)));
        assert_eq!(read(&tail, 3, 1000).unwrap().len(), 7);
        assert!(tail.make_room(Duration::ZERO));
    }
}
