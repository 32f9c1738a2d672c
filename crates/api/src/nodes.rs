//! Balances as chains' own nodes tell them, remembered per block.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Mutex,
    time::{Duration, Instant},
};

use cairn_domain::{Address, Amount, BlockRef, Hash};
use cairn_engine::sources::NodeState;

/// Answers that are kept; the oldest goes first. Those of older heads are rarely asked again.
const KEPT: usize = 8192;
/// How long a node may take for a balance.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a node that failed is not asked again.
const PAUSE: Duration = Duration::from_secs(2);

type Key = (Hash, Address);

#[derive(Debug, Default)]
struct Kept {
    balances: HashMap<Key, Amount>,
    order: VecDeque<Key>,
    paused: BTreeMap<String, Instant>,
}

/// Balances per (block, address).
#[derive(Debug, Default)]
pub(crate) struct NodeBalances(Mutex<Kept>);

impl NodeBalances {
    /// The balance of an address at the end of a block; none when the node does not tell.
    pub(crate) async fn get(
        &self,
        chain: &str,
        node: &dyn NodeState,
        address: &Address,
        block: BlockRef,
    ) -> Option<Amount> {
        let key = (block.hash, address.clone());
        {
            let kept = self.0.lock().expect("no panic holds it");
            if let Some(balance) = kept.balances.get(&key) {
                return Some(*balance);
            }
            if kept
                .paused
                .get(chain)
                .is_some_and(|failed| failed.elapsed() < PAUSE)
            {
                return None;
            }
        }
        let answer = tokio::time::timeout(PATIENCE, node.balance(address, block)).await;
        let answer = answer.unwrap_or_else(|_| Err(format!("no answer within {PATIENCE:?}")));
        let mut kept = self.0.lock().expect("no panic holds it");
        match answer {
            Ok(balance) => {
                kept.remember(key, balance);
                Some(balance)
            }
            Err(reason) => {
                tracing::warn!(chain, %block, reason, "the node did not tell a balance");
                kept.paused.insert(chain.to_owned(), Instant::now());
                None
            }
        }
    }
}

impl Kept {
    fn remember(&mut self, key: Key, balance: Amount) {
        if self.balances.insert(key.clone(), balance).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > KEPT {
            if let Some(oldest) = self.order.pop_front() {
                self.balances.remove(&oldest);
            }
        }
    }
}
