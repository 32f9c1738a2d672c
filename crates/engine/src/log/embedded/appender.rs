//! The writing thread: positions, one fsync for all that wait, the head, acknowledgements.

use std::sync::{Arc, mpsc};

use cairn_domain::{Position, commit::NewCommit};
use rocksdb::WriteBatch;
use tokio::sync::oneshot;

use super::{COMMITS, Claim, EPOCHS, LAST, LogError, MORE, Shared, commit_key, family};
use crate::clock::now_millis;

/// What the writing thread is asked for.
pub(super) enum Request {
    TakeOver {
        claim: Claim,
        done: oneshot::Sender<Result<u64, LogError>>,
    },
    Append {
        epoch: u64,
        commits: Vec<NewCommit>,
        done: oneshot::Sender<Result<Position, LogError>>,
    },
    Close,
}

/// Parts are numbered by 16 bits.
const MOST_PARTS: usize = 1 << 16;

/// The writing thread.
pub(super) struct Appender {
    pub(super) shared: Arc<Shared>,
}

type Acknowledgement = (
    oneshot::Sender<Result<Position, LogError>>,
    Result<Position, LogError>,
);

impl Appender {
    pub(super) fn run(mut self, requests: &mpsc::Receiver<Request>) {
        while let Ok(first) = requests.recv() {
            let mut group = Group::new(*self.shared.head.borrow());
            let mut next = Some(first);
            while let Some(request) = next {
                match request {
                    Request::Append {
                        epoch,
                        commits,
                        done,
                    } => {
                        let result = self.add(&mut group, epoch, commits);
                        group.waiting.push((done, result));
                    }
                    Request::TakeOver { claim, done } => {
                        // What came before it belongs to the older epoch: write that first.
                        self.write(std::mem::replace(&mut group, Group::new(Position(0))));
                        group = Group::new(*self.shared.head.borrow());
                        let _gone = done.send(self.begin_epoch(&claim));
                    }
                    Request::Close => {
                        self.write(group);
                        return;
                    }
                }
                next = if group.bytes < GROUP_BYTES {
                    requests.try_recv().ok()
                } else {
                    None
                };
            }
            self.write(group);
        }
    }

    fn current_epoch(&self) -> u64 {
        let epoch = self.shared.epoch.borrow();
        epoch.as_ref().map_or(0, |record| record.epoch)
    }

    fn begin_epoch(&mut self, claim: &Claim) -> Result<u64, LogError> {
        let current = self.shared.epoch.borrow().clone();
        let record = claim.record(current.as_ref(), *self.shared.head.borrow())?;
        let json = serde_json::to_vec(&record).map_err(|e| LogError::Storage(e.to_string()))?;
        let mut batch = WriteBatch::default();
        let epochs = family(&self.shared.db, EPOCHS);
        batch.put_cf(epochs, record.epoch.to_be_bytes(), json);
        self.shared.write(batch)?;
        let epoch = record.epoch;
        self.shared.epoch.send_replace(Some(record));
        Ok(epoch)
    }

    fn add(
        &self,
        group: &mut Group,
        epoch: u64,
        commits: Vec<NewCommit>,
    ) -> Result<Position, LogError> {
        let current = self.current_epoch();
        if epoch != current {
            return Err(LogError::Fenced {
                own: epoch,
                current,
            });
        }
        // Before anything is put into the group: an append is taken whole or not at all.
        self.check_sizes(&commits)?;
        let first = group.last.next();
        let recorded_time = now_millis();
        for commit in commits {
            group.last = group.last.next();
            group.bytes += commit.size();
            self.put(group, &commit.seal(epoch, recorded_time));
        }
        Ok(first)
    }

    fn part_bytes(&self) -> usize {
        self.shared.options.part_bytes.max(1)
    }

    fn check_sizes(&self, commits: &[NewCommit]) -> Result<(), LogError> {
        let most = self.part_bytes().saturating_mul(MOST_PARTS);
        match commits.iter().map(NewCommit::size).max() {
            Some(bytes) if bytes > most => Err(LogError::TooLarge { bytes, most }),
            _ => Ok(()),
        }
    }

    /// Puts the parts of a commit into the group, at the group's last position.
    fn put(&self, group: &mut Group, stored: &[u8]) {
        let parts = stored.chunks(self.part_bytes());
        let last = parts.len().saturating_sub(1);
        let commits = family(&self.shared.db, COMMITS);
        for (number, bytes) in (0..=u16::MAX).zip(parts) {
            let mark = if usize::from(number) == last {
                LAST
            } else {
                MORE
            };
            let value = [&[mark][..], bytes].concat();
            let key = commit_key(group.last, number);
            group.batch.put_cf(commits, key, value);
        }
    }

    /// Writes a group with one fsync, moves the head, then acknowledges.
    fn write(&self, group: Group) {
        let something = !group.batch.is_empty();
        let written = if something {
            self.shared.write(group.batch)
        } else {
            Ok(())
        };
        if written.is_ok() && something {
            self.shared.head.send_replace(group.last);
        }
        for (done, result) in group.waiting {
            let result = match &written {
                Ok(()) => result,
                Err(error) => result.and(Err(error.clone())),
            };
            let _gone = done.send(result);
        }
    }
}

/// A group is closed at this size, so that a flood of appends cannot delay the first of them.
const GROUP_BYTES: usize = 8 << 20;

struct Group {
    batch: WriteBatch,
    last: Position,
    bytes: usize,
    waiting: Vec<Acknowledgement>,
}

impl Group {
    fn new(last: Position) -> Self {
        Self {
            batch: WriteBatch::default(),
            last,
            bytes: 0,
            waiting: Vec::new(),
        }
    }
}
