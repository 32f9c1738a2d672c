//! Which export is made next: callers take turns, and what failed for a while is tried again later.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard},
    time::{Duration, Instant},
};

use cairn_domain::events::ExportRequested;

/// So many of one caller are made at a time, so that others find a place.
const OF_A_CALLER: usize = 1;
/// So many of one caller may wait.
const WAITING_OF_A_CALLER: usize = 100;
/// The pauses between attempts: each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// An export that waits.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Waiting {
    /// When it was asked for, in milliseconds since 1970.
    pub(super) time: u64,
    pub(super) shard: String,
    pub(super) request: ExportRequested,
}

/// What the log does not say of exports: who asked from where, and when each is tried again. A restart forgets
/// it: then nobody is known, and all are tried at once.
#[derive(Debug, Default)]
pub(super) struct Queue(Mutex<BTreeMap<String, Note>>);

#[derive(Debug, Default)]
struct Note {
    caller: Option<String>,
    /// Whether its request is on its way into the log.
    is_new: bool,
    /// Whether the last look found it nowhere.
    is_missing: bool,
    tried: Option<Tried>,
}

#[derive(Debug)]
struct Tried {
    first: Instant,
    pause: Duration,
    again: Instant,
    /// Why it has to wait.
    reason: String,
}

impl Queue {
    fn notes(&self) -> MutexGuard<'_, BTreeMap<String, Note>> {
        self.0.lock().expect("no panic holds it")
    }

    /// Takes an export of a caller, unless so many of his wait that he is to wait himself. It is forgotten
    /// again unless it is kept.
    pub(super) fn admit(&self, id: &str, caller: Option<String>) -> Result<Admitted<'_>, usize> {
        let mut notes = self.notes();
        let own = notes
            .values()
            .filter(|note| note.caller.is_some() && note.caller == caller);
        let waiting = own.count();
        if waiting >= WAITING_OF_A_CALLER {
            return Err(waiting);
        }
        let note = notes.entry(id.to_owned()).or_default();
        (note.caller, note.is_new) = (caller, true);
        Ok(Admitted {
            queue: self,
            id: id.to_owned(),
            is_kept: false,
        })
    }

    /// It has its outcome, or is not made here any more.
    pub(super) fn forget(&self, id: &str) {
        self.notes().remove(id);
    }

    /// Puts an export off that failed, if it may still do better: so long after it failed first.
    pub(super) fn put_off(&self, id: &str, patience: Duration, reason: String) -> bool {
        let now = Instant::now();
        let mut notes = self.notes();
        let tried = &mut notes.entry(id.to_owned()).or_default().tried;
        let before = tried.take();
        let first = before.as_ref().map_or(now, |tried| tried.first);
        let pause = before.map_or(FIRST_PAUSE, |tried| (tried.pause * 2).min(LONGEST_PAUSE));
        *tried = Some(Tried {
            first,
            pause,
            again: now + pause,
            reason,
        });
        now.duration_since(first) < patience
    }

    /// Why one has to wait that failed; of several, the one that failed first.
    pub(super) fn complaint(&self) -> Option<String> {
        let notes = self.notes();
        let tried = notes.values().filter_map(|note| note.tried.as_ref());
        let longest = tried.min_by_key(|tried| tried.first);
        longest.map(|tried| tried.reason.clone())
    }

    /// Forgets those that are not `open` here any more: another node may have taken their shard over, and they
    /// take nobody's places here. One that is missing for the first time may be newer than what was read.
    pub(super) fn keep(&self, open: &BTreeSet<&str>) {
        self.notes().retain(|id, note| {
            let is_here = note.is_new || open.contains(id.as_str());
            let was_here = !std::mem::replace(&mut note.is_missing, !is_here);
            is_here || was_here
        });
    }

    /// Whose turn it is: of those that are due, the export of the caller who has the fewest under way, and of
    /// those the oldest. `under_way` are the exports that are being made.
    pub(super) fn turn(
        &self,
        waiting: Vec<Waiting>,
        under_way: &[ExportRequested],
    ) -> Option<Waiting> {
        let notes = self.notes();
        let caller = |request: &ExportRequested| {
            let noted = notes.get(&request.id).and_then(|note| note.caller.clone());
            request.owner.clone().or(noted)
        };
        let busy: Vec<_> = under_way.iter().map(caller).collect();
        let now = Instant::now();
        let is_due = |waiting: &Waiting| {
            let tried = notes
                .get(&waiting.request.id)
                .and_then(|note| note.tried.as_ref());
            tried.is_none_or(|tried| tried.again <= now)
        };
        let due = waiting.into_iter().filter(is_due).filter_map(|waiting| {
            let caller = caller(&waiting.request);
            let own = busy.iter().filter(|busy| **busy == caller).count();
            // Of some it is not known who asked.
            (caller.is_none() || own < OF_A_CALLER).then_some((own, waiting))
        });
        let next = due.min_by_key(|(own, waiting)| (*own, waiting.time));
        next.map(|(_, waiting)| waiting)
    }
}

/// An export that is on its way into the log: its caller may leave, and the log may refuse it.
pub(super) struct Admitted<'a> {
    queue: &'a Queue,
    id: String,
    is_kept: bool,
}

impl Admitted<'_> {
    /// The log has it, and the fold, too.
    pub(super) fn keep(mut self) {
        self.is_kept = true;
        if let Some(note) = self.queue.notes().get_mut(&self.id) {
            note.is_new = false;
        }
    }
}

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            self.queue.forget(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use cairn_domain::events::{ExportCompression, ExportFormat};

    use super::*;

    fn request(id: u64) -> ExportRequested {
        ExportRequested {
            id: id.to_string(),
            owner: None,
            dataset: "blocks".into(),
            chain: "eth".into(),
            from: 0,
            to: 0,
            address: None,
            final_only: false,
            format: ExportFormat::Csv,
            compression: ExportCompression::None,
        }
    }

    fn waits(time: u64) -> Waiting {
        Waiting {
            time,
            shard: "main".into(),
            request: request(time),
        }
    }

    #[test]
    fn callers_take_turns_and_nobody_takes_all_places() {
        let queue = Queue::default();
        for (id, caller) in [(1, "ann"), (2, "ann"), (3, "bob"), (8, "ann"), (9, "bob")] {
            let admitted = queue.admit(&id.to_string(), Some(caller.into()));
            admitted.expect("few").keep();
        }
        let next = |under_way: &[u64]| {
            let under_way: Vec<_> = under_way.iter().map(|id| request(*id)).collect();
            let next = queue.turn(vec![waits(3), waits(1), waits(2)], &under_way);
            next.map(|waiting| waiting.time)
        };
        assert_eq!(next(&[8, 9]), None);
        assert_eq!(next(&[8]), Some(3));
        assert_eq!(next(&[]), Some(1));
        let nobody = queue.turn(vec![waits(7)], &[request(6)]);
        assert!(nobody.is_some(), "it is not known whose it is");
    }

    #[test]
    fn one_caller_does_not_fill_the_queue() {
        let queue = Queue::default();
        let ann = || Some("ann".to_owned());
        for id in 0..WAITING_OF_A_CALLER {
            let admitted = queue.admit(&id.to_string(), ann());
            admitted.expect("there is room").keep();
        }
        assert_eq!(queue.admit("more", ann()).err(), Some(WAITING_OF_A_CALLER));
        queue
            .admit("other", Some("bob".into()))
            .expect("another caller");
        queue.admit("unknown", None).expect("nobody knows whose");
        queue.forget("0");
        drop(queue.admit("left", ann()).expect("one has its outcome"));
        queue
            .admit("more", ann())
            .expect("who left has none")
            .keep();
    }

    #[test]
    fn exports_that_another_node_makes_take_no_places() {
        let queue = Queue::default();
        let ann = || Some("ann".to_owned());
        for id in 1..=WAITING_OF_A_CALLER {
            let admitted = queue.admit(&id.to_string(), ann());
            admitted.expect("there is room").keep();
        }
        let on_its_way = queue.admit("77000", Some("bob".into())).expect("room");
        for left in [WAITING_OF_A_CALLER + 1, 3] {
            queue.keep(&["1", "2"].into());
            assert_eq!(queue.notes().len(), left);
        }
        drop(on_its_way);
        queue.admit("more", ann()).expect("98 are not here").keep();
    }

    #[test]
    fn what_failed_is_not_due_at_once_and_not_tried_for_ever() {
        let queue = Queue::default();
        let put_off = |id, patience| queue.put_off(id, patience, format!("{id} failed"));
        assert_eq!(queue.complaint(), None);
        assert!(put_off("1", Duration::from_secs(3600)));
        assert!(put_off("3", Duration::from_secs(3600)));
        assert_eq!(queue.turn(vec![waits(1), waits(2)], &[]), Some(waits(2)));
        assert!(!put_off("1", Duration::ZERO));
        assert_eq!(queue.complaint().as_deref(), Some("1 failed"));
        queue.forget("3");
        let notes = queue.notes();
        let pause = notes["1"].tried.as_ref().map(|tried| tried.pause);
        assert_eq!(pause, Some(2 * FIRST_PAUSE));
    }
}
