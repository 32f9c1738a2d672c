//! Which records count: the rule that every reader of the topic applies, so that all of them see the
//! same log (promises P2 and P4). Pure: no broker, no clock.
//!
//! - The first record names the log.
//! - An epoch record is in force if its epoch is higher than the one that is; of two equal ones the
//!   first wins. Where the log is closed, only one that reopens it.
//! - A record of a commit counts if its epoch is in force and its sequence is the next one. Others
//!   are of a writer that was fenced, or are repeated: they are passed over. One whose epoch has not
//!   begun cannot be, because a writer waits until its epoch has: there reading began at a wrong place.
//! - Commits get their positions when the last record of their append is there. An append that
//!   another epoch interrupts is void.

use cairn_domain::Position;
use serde::{Deserialize, Serialize};

use super::record::{LogRecord, More, Part, Record, TakeOver};
use crate::log::{EpochRecord, LogId, StoredCommit};

/// A place between two appends, and what is known there: enough to go on reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    /// The next offset to read.
    pub(super) offset: i64,
    /// The last position before it.
    pub(super) position: Position,
    /// The epoch in force.
    pub(super) epoch: Option<EpochRecord>,
    /// How many epochs there were.
    pub(super) epochs: u64,
    /// The next sequence that counts.
    pub(super) sequence: u64,
}

impl Mark {
    /// Before the first record.
    pub(super) fn start() -> Self {
        Self {
            offset: 0,
            position: Position(0),
            epoch: None,
            epochs: 0,
            sequence: 0,
        }
    }
}

/// What a record was.
#[derive(Debug, PartialEq)]
pub(super) enum Accepted {
    /// It names the log, or is a part of something that is not complete.
    Nothing,
    /// It does not count.
    PassedOver,
    /// It begins an epoch.
    Epoch,
    /// It completes an append.
    Commits(Vec<StoredCommit>),
}

/// See the module.
pub(super) struct Acceptor {
    id: LogId,
    mark: Mark,
    /// The offset behind the last record.
    next: i64,
    /// Complete commits of an append that is not.
    whole: Vec<Vec<u8>>,
    /// The parts so far of the commit that is being read.
    open: Vec<u8>,
    /// Where each commit of the append that was read last ends.
    ends: Vec<i64>,
}

impl Acceptor {
    pub(super) fn new(id: LogId, mark: Mark) -> Self {
        Self {
            id,
            next: mark.offset,
            mark,
            whole: Vec::new(),
            open: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// The offset of the last record of each commit of the append that was read last.
    pub(super) fn ends(&self) -> &[i64] {
        &self.ends
    }

    /// The next offset to read.
    pub(super) fn next(&self) -> i64 {
        self.next
    }

    /// The last position.
    pub(super) fn position(&self) -> Position {
        self.mark.position
    }

    /// The epoch in force.
    pub(super) fn epoch(&self) -> Option<&EpochRecord> {
        self.mark.epoch.as_ref()
    }

    /// The next sequence that counts.
    pub(super) fn sequence(&self) -> u64 {
        self.mark.sequence
    }

    /// How many epochs there were.
    pub(super) fn epochs(&self) -> u64 {
        self.mark.epochs
    }

    /// Where reading could go on later; none in the middle of an append.
    pub(super) fn mark(&self) -> Option<Mark> {
        let between = self.whole.is_empty() && self.open.is_empty();
        between.then(|| Mark {
            offset: self.next,
            ..self.mark.clone()
        })
    }

    /// Passes over the record at an offset.
    pub(super) fn pass_over(&mut self, offset: i64) {
        self.next = offset + 1;
    }

    /// Takes the record at an offset in.
    ///
    /// # Errors
    /// A sentence that says why nothing behind it can be read, with the way out.
    pub(super) fn accept(&mut self, offset: i64, record: Record<'_>) -> Result<Accepted, String> {
        let accepted = match record {
            Record::Log(record) => self.named(offset, &record)?,
            Record::Epoch(take_over) => self.taken_over(take_over)?,
            Record::Part(part) => self.part(&part)?,
        };
        self.next = offset + 1;
        Ok(accepted)
    }

    /// Nodes that find a new topic at the same time all name the log: the first has it.
    fn named(&self, offset: i64, record: &LogRecord) -> Result<Accepted, String> {
        match offset == 0 && record.id != self.id {
            true => Err(self.other_log(record.id)),
            false => Ok(Accepted::Nothing),
        }
    }

    fn other_log(&self, other: LogId) -> String {
        format!(
            "it is of log {other}, but this node follows log {}: two deployments use one topic; give each its own",
            self.id
        )
    }

    fn taken_over(&mut self, take_over: TakeOver) -> Result<Accepted, String> {
        let TakeOver {
            log,
            reopens,
            mut record,
        } = take_over;
        if log != self.id {
            return Err(self.other_log(log));
        }
        let current = self.mark.epoch.as_ref();
        let closed = current.is_some_and(|current| current.closed.is_some());
        if current.is_some_and(|current| current.epoch >= record.epoch) || (closed && !reopens) {
            return Ok(Accepted::PassedOver);
        }
        record.after = self.mark.position;
        self.mark.epoch = Some(record);
        self.mark.epochs += 1;
        self.mark.sequence = 0;
        self.whole.clear();
        self.open.clear();
        self.ends.clear();
        Ok(Accepted::Epoch)
    }

    fn part(&mut self, part: &Part<'_>) -> Result<Accepted, String> {
        let in_force = self.mark.epoch.as_ref().map_or(0, |record| record.epoch);
        if part.epoch > in_force {
            return Err(format!(
                "it is of epoch {}, which has not begun: the topic is another one than before, or lost records; restart this node if the topic was restored, else restore it from a copy (`cairn log copy`)",
                part.epoch
            ));
        }
        if part.epoch < in_force || part.sequence != self.mark.sequence {
            return Ok(Accepted::PassedOver);
        }
        if self.whole.is_empty() {
            self.ends.clear();
        }
        self.mark.sequence += 1;
        self.open.extend_from_slice(part.bytes);
        if part.more == More::Part {
            return Ok(Accepted::Nothing);
        }
        self.whole.push(std::mem::take(&mut self.open));
        self.ends.push(self.next);
        if part.more == More::Commit {
            return Ok(Accepted::Nothing);
        }
        let number = |bytes| {
            self.mark.position = self.mark.position.next();
            StoredCommit {
                position: self.mark.position,
                bytes,
            }
        };
        let commits = std::mem::take(&mut self.whole);
        Ok(Accepted::Commits(commits.into_iter().map(number).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: LogId = LogId([1; 16]);

    fn epoch(number: u64, instance: &str) -> Record<'static> {
        take_over(number, instance, None, false)
    }

    fn take_over(
        number: u64,
        instance: &str,
        closed: Option<&str>,
        reopens: bool,
    ) -> Record<'static> {
        Record::Epoch(TakeOver {
            log: ID,
            reopens,
            record: EpochRecord {
                epoch: number,
                writer: instance.into(),
                address: None,
                after: Position(0),
                recorded_time: 0,
                instance: instance.into(),
                closed: closed.map(Into::into),
            },
        })
    }

    fn part(epoch: u64, sequence: u64, more: More, bytes: &'static str) -> Record<'static> {
        let bytes = bytes.as_bytes();
        Record::Part(Part {
            epoch,
            sequence,
            more,
            bytes,
        })
    }

    /// The commits that readers of these records see, in order.
    fn seen(records: Vec<Record<'static>>) -> Vec<(u64, String)> {
        let mut acceptor = Acceptor::new(ID, Mark::start());
        let mut seen = Vec::new();
        for (offset, record) in (0..).zip(records) {
            if let Accepted::Commits(commits) = acceptor.accept(offset, record).unwrap() {
                let text = |c: StoredCommit| (c.position.0, String::from_utf8(c.bytes).unwrap());
                seen.extend(commits.into_iter().map(text));
            }
            if let Some(mark) = acceptor.mark() {
                acceptor = Acceptor::new(ID, mark);
            }
        }
        seen
    }

    fn pairs(expected: &[(u64, &str)]) -> Vec<(u64, String)> {
        expected
            .iter()
            .map(|(n, text)| (*n, (*text).into()))
            .collect()
    }

    use More::{Commit, Nothing, Part as Open};

    #[test]
    fn an_append_counts_when_it_is_complete() {
        let records = vec![
            epoch(1, "a"),
            part(1, 0, Commit, "x"),
            part(1, 1, Open, "y"),
            part(1, 2, Nothing, "z"),
            part(1, 3, Commit, "never complete"),
        ];
        assert_eq!(seen(records), pairs(&[(1, "x"), (2, "yz")]));
    }

    #[test]
    fn what_a_fenced_writer_appends_is_passed_over_and_its_open_append_is_void() {
        let records = vec![
            epoch(1, "a"),
            part(1, 0, Nothing, "x"),
            part(1, 1, Commit, "half"),
            epoch(2, "b"),
            part(1, 2, Nothing, "zombie"),
            part(2, 0, Nothing, "y"),
            epoch(1, "c"),
            part(1, 0, Nothing, "older"),
            part(2, 1, Nothing, "z"),
        ];
        assert_eq!(seen(records), pairs(&[(1, "x"), (2, "y"), (3, "z")]));
    }

    #[test]
    fn of_two_equal_epochs_the_first_wins() {
        let mut acceptor = Acceptor::new(ID, Mark::start());
        assert_eq!(acceptor.accept(0, epoch(1, "a")), Ok(Accepted::Epoch));
        assert_eq!(acceptor.accept(1, epoch(1, "b")), Ok(Accepted::PassedOver));
        assert_eq!(acceptor.epoch().unwrap().instance, "a");
        assert_eq!(acceptor.epochs(), 1);
    }

    #[test]
    fn repeated_records_and_those_behind_a_gap_are_passed_over() {
        let records = vec![
            epoch(1, "a"),
            part(1, 0, Nothing, "x"),
            part(1, 0, Nothing, "x"),
            part(1, 2, Nothing, "behind a gap"),
            part(1, 1, Nothing, "y"),
        ];
        assert_eq!(seen(records), pairs(&[(1, "x"), (2, "y")]));
    }

    #[test]
    fn a_closed_log_is_taken_over_only_by_who_reopens_it() {
        let records = vec![
            take_over(1, "a", Some("copied away"), false),
            epoch(2, "b"),
            take_over(3, "c", None, true),
            part(3, 0, Nothing, "x"),
            epoch(4, "d"),
            part(4, 0, Nothing, "y"),
        ];
        assert_eq!(seen(records), pairs(&[(1, "x"), (2, "y")]));
    }

    #[test]
    fn another_deployment_on_the_topic_is_an_error_but_not_a_race_to_name_it() {
        let (own, other) = (ID, LogId([9; 16]));
        let name = |id| Record::Log(LogRecord { id, topic: ID });
        let mut acceptor = Acceptor::new(ID, Mark::start());
        assert_eq!(acceptor.accept(0, name(own)), Ok(Accepted::Nothing));
        acceptor.accept(1, epoch(1, "a")).unwrap();
        assert_eq!(
            acceptor.accept(2, name(other)),
            Ok(Accepted::Nothing),
            "late"
        );
        let Record::Epoch(mut foreign) = epoch(2, "b") else {
            unreachable!("it is an epoch record")
        };
        foreign.log = other;
        let error = acceptor.accept(3, Record::Epoch(foreign)).unwrap_err();
        assert!(error.contains("two deployments"), "{error}");
        let mut acceptor = Acceptor::new(ID, Mark::start());
        assert!(acceptor.accept(0, name(other)).is_err());
    }

    #[test]
    fn a_record_of_an_epoch_that_has_not_begun_is_an_error() {
        let mut acceptor = Acceptor::new(ID, Mark::start());
        acceptor.accept(0, epoch(1, "a")).unwrap();
        let error = acceptor.accept(1, part(2, 0, Nothing, "x")).unwrap_err();
        assert!(error.contains("epoch 2, which has not begun"), "{error}");
    }
}
