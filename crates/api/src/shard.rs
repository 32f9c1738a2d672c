//! Shards: logs, each with all that is folded from it. No event crosses them; lists of several are
//! merged by whoever answers.

use std::{fmt, sync::Arc};

use cairn_domain::Position;
use cairn_engine::{health::Health, log::Log, store::Store};

use crate::{chains::ChainList, finals::Finals};

/// What a shard is made from.
pub struct ShardArgs {
    /// Its name, in metrics, in health and in lists; no two shards of a process have the same.
    pub name: String,
    /// The log.
    pub log: Arc<dyn Log>,
    /// What the projections folded from the log.
    pub store: Arc<Store>,
    /// How far the components of this shard are, under their own names, such as `fold`, `log` or
    /// `source/mainnet`.
    pub health: Arc<Health>,
}

/// A log and all that is folded from it.
pub struct Shard {
    /// Its name.
    pub name: String,
    /// The log that the store is folded from.
    pub log: Arc<dyn Log>,
    /// What the projections folded.
    pub store: Arc<Store>,
    /// How far each component of this shard is.
    pub health: Arc<Health>,
    /// Its place among the shards of the process, from 0.
    pub(crate) index: usize,
    pub(crate) chains: ChainList,
    pub(crate) finals: Finals,
}

impl Shard {
    /// The shard at a place, with memory for so many bytes of final transactions.
    pub(crate) fn new(index: usize, args: ShardArgs, finals_bytes: usize) -> Self {
        let ShardArgs {
            name,
            log,
            store,
            health,
        } = args;
        Self {
            name,
            log,
            store,
            health,
            index,
            chains: ChainList::default(),
            finals: Finals::new(finals_bytes),
        }
    }

    /// The last position that is folded.
    pub(crate) fn position(&self) -> Position {
        *self.store.position().borrow()
    }
}

impl fmt::Debug for ShardArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShardArgs")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shard")
            .field("name", &self.name)
            .field("index", &self.index)
            .finish_non_exhaustive()
    }
}
