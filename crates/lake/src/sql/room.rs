//! Room for queries: so many run at a time, and so many of one caller.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{SqlError, SqlOptions};

/// When a caller is to try again for whom there is no room.
pub(super) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// All the room there is.
#[derive(Debug)]
pub(super) struct Rooms {
    most: usize,
    most_of_a_caller: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_caller: BTreeMap<String, usize>,
}

/// Room for a query, until it is dropped.
pub(super) struct Room {
    rooms: Arc<Rooms>,
    caller: Option<String>,
}

impl Rooms {
    pub(super) fn new(options: &SqlOptions) -> Arc<Self> {
        Arc::new(Self {
            most: options.concurrency.max(1),
            most_of_a_caller: options.concurrency_of_a_caller.max(1),
            taken: Mutex::default(),
        })
    }

    /// Room for a query of a caller, if it is known who that is.
    pub(super) fn take(self: &Arc<Self>, caller: Option<&str>) -> Result<Room, SqlError> {
        let mut taken = self.taken.lock().expect("no panic holds it");
        let retry_after = RETRY_AFTER;
        if taken.all >= self.most {
            let running = taken.all;
            return Err(SqlError::Busy {
                running,
                retry_after,
            });
        }
        if let Some(caller) = caller {
            let own = taken.by_caller.entry(caller.to_owned()).or_default();
            if *own >= self.most_of_a_caller {
                let running = *own;
                return Err(SqlError::CallerBusy {
                    running,
                    retry_after,
                });
            }
            *own += 1;
        }
        taken.all += 1;
        Ok(Room {
            rooms: Arc::clone(self),
            caller: caller.map(str::to_owned),
        })
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut taken = self.rooms.taken.lock().expect("no panic holds it");
        taken.all -= 1;
        let Some(caller) = &self.caller else { return };
        if let Some(own) = taken.by_caller.get_mut(caller) {
            *own -= 1;
            if *own == 0 {
                taken.by_caller.remove(caller);
            }
        }
    }
}
