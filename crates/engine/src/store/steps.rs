//! The boundaries between two writes to disk: what a crash leaves behind is the state at one of them.

use std::{fmt, sync::Arc};

/// A write that has just been done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Rows, hot window and positions of some commits.
    BatchWritten,
    /// The state of a projection.
    StateWritten,
    /// The oldest kept position; everything before it is on the disk.
    OldestWritten,
    /// The trim mark of one table.
    TableTrimmed,
    /// An empty column family.
    FamilyMade,
    /// A column family is gone.
    FamilyDropped,
    /// The files of a rebuild; nothing refers to them yet.
    FilesIngested,
    /// New generations are the live ones; everything before it is on the disk.
    GenerationsSwapped,
}

type Observer = dyn Fn(Step) + Send + Sync;

/// Who is told of each step, on the thread that did it. For simulations, which look at the directory
/// as a crash would leave it.
#[derive(Clone, Default)]
pub struct Steps(Option<Arc<Observer>>);

impl Steps {
    /// Tells an observer.
    pub fn observed(observer: impl Fn(Step) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(observer)))
    }

    pub(crate) fn done(&self, step: Step) {
        if let Some(observer) = &self.0 {
            observer(step);
        }
    }
}

impl fmt::Debug for Steps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "observed"
        } else {
            "unobserved"
        })
    }
}
