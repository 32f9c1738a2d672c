//! Balances as chains' own nodes tell them, remembered per block.
//!
//! A node that refuses an address is asked for others all the same; one that does not answer in time,
//! or refuses one address after the other, is down and is left alone for a while. Refusals count only
//! at the newest block: a node that keeps no old state refuses all of it, and still knows the head.
//! Whoever gets no answer falls back to the ledger.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use cairn_domain::{Address, Amount, BlockRef, Hash};
use cairn_engine::sources::NodeState;
use tokio::{sync::Semaphore, time::timeout};

/// Answers of a node that are kept; the oldest goes first. Those of older heads are rarely asked again.
const KEPT: usize = 8192;
/// How many requests a node is sent at a time.
pub(crate) const CALLS: usize = 16;
/// How long a request waits for its turn before it goes without the node.
const TURN: Duration = Duration::from_millis(500);
/// How long a node may take for a balance.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a node that is down is not asked again, and an address that it refused.
const PAUSE: Duration = Duration::from_secs(2);
/// So many refusals in a row at the newest block, with no balance between them, are the node's fault
/// and no address's.
pub(crate) const REFUSALS: u32 = 8;

type Key = (Hash, Address);

/// What a node said.
#[derive(Debug, Clone, Copy)]
enum Said {
    Balance(Amount),
    /// It told none, then.
    Nothing(Instant),
}

/// What is known of one node.
#[derive(Debug, Default)]
struct Known {
    answers: HashMap<Key, Said>,
    order: VecDeque<Key>,
    newest: Newest,
    /// When it did not answer.
    hung: Option<Instant>,
}

/// Refusals at the newest block that was asked about.
#[derive(Debug, Default)]
struct Newest {
    height: u64,
    /// How many since the last balance.
    refused: u32,
    /// When there were too many.
    down_since: Option<Instant>,
}

/// The way to one node.
#[derive(Debug)]
struct Line {
    calls: Semaphore,
    known: Mutex<Known>,
}

/// Balances per chain and (block, address).
#[derive(Debug, Default)]
pub(crate) struct NodeBalances(Mutex<BTreeMap<String, Arc<Line>>>);

impl NodeBalances {
    /// The balance of an address at the end of a block; none when the node does not tell, is down, or
    /// has too much to do.
    pub(crate) async fn get(
        &self,
        chain: &str,
        node: &dyn NodeState,
        address: &Address,
        block: BlockRef,
    ) -> Option<Amount> {
        let line = self.line(chain);
        let key = (block.hash, address.clone());
        if let Some(said) = line.known().asked(&key, block) {
            return said.balance();
        }
        let _turn = timeout(TURN, line.calls.acquire()).await.ok()?.ok()?;
        // While it waited another request may have been told, or may have found the node down.
        if let Some(said) = line.known().asked(&key, block) {
            return said.balance();
        }
        match timeout(PATIENCE, node.balance(address, block)).await {
            Ok(Ok(balance)) => {
                line.known().told(key, balance);
                return Some(balance);
            }
            Ok(Err(reason)) => {
                tracing::warn!(chain, %block, reason, "the node did not tell a balance");
                line.known().refused(key, block);
            }
            Err(_) => {
                tracing::warn!(chain, %block, "the node did not answer within {PATIENCE:?}");
                line.known().hung();
            }
        }
        None
    }

    fn line(&self, chain: &str) -> Arc<Line> {
        let mut lines = self.0.lock().expect("no panic holds it");
        if let Some(line) = lines.get(chain) {
            return Arc::clone(line);
        }
        let line = Arc::new(Line {
            calls: Semaphore::new(CALLS),
            known: Mutex::default(),
        });
        lines.insert(chain.to_owned(), Arc::clone(&line));
        line
    }
}

impl Said {
    fn balance(self) -> Option<Amount> {
        match self {
            Self::Balance(balance) => Some(balance),
            Self::Nothing(_) => None,
        }
    }
}

impl Line {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no panic holds it")
    }
}

impl Known {
    /// What can be said without asking the node.
    fn asked(&mut self, key: &Key, block: BlockRef) -> Option<Said> {
        if block.height > self.newest.height {
            self.newest = Newest {
                height: block.height,
                ..Newest::default()
            };
        }
        let is_fresh = |since: Instant| since.elapsed() < PAUSE;
        match self.answers.get(key) {
            Some(Said::Balance(balance)) => Some(Said::Balance(*balance)),
            Some(Said::Nothing(since)) if is_fresh(*since) => Some(Said::Nothing(*since)),
            Some(Said::Nothing(_)) | None => [self.hung, self.newest.down_since]
                .into_iter()
                .flatten()
                .find(|since| is_fresh(*since))
                .map(Said::Nothing),
        }
    }

    fn told(&mut self, key: Key, balance: Amount) {
        (self.newest.refused, self.newest.down_since, self.hung) = (0, None, None);
        self.keep(key, Said::Balance(balance));
    }

    fn refused(&mut self, key: Key, block: BlockRef) {
        let now = Instant::now();
        if block.height == self.newest.height {
            self.newest.refused = self.newest.refused.saturating_add(1);
            if self.newest.refused >= REFUSALS {
                self.newest.down_since = Some(now);
            }
        }
        self.keep(key, Said::Nothing(now));
    }

    fn hung(&mut self) {
        self.hung = Some(Instant::now());
    }

    fn keep(&mut self, key: Key, said: Said) {
        if self.answers.insert(key.clone(), said).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > KEPT
            && let Some(oldest) = self.order.pop_front()
        {
            self.answers.remove(&oldest);
        }
    }
}
