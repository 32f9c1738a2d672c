//! A long range of blocks: many requests at a time, their answers in order.

use std::{collections::VecDeque, ops::RangeInclusive, sync::Arc, time::Duration};

use tokio::task::JoinHandle;

use super::{
    fetch::{self, Fetched},
    node::Node,
    pace::Pace,
    retry::Backoff,
    rpc::RpcError,
};
use crate::{
    health::{Phase, Reporter},
    sources::RetryPolicy,
};

/// Failures in a row after which a request is given up, so that the node can be looked at afresh.
const PATIENCE: u32 = 4;
/// A block that contradicts itself is asked for again: the node may just have changed its branch.
const SECOND_LOOKS: u64 = 3;

/// What all requests have in common.
#[derive(Clone)]
pub(super) struct Fetcher {
    pub(super) node: Arc<Node>,
    pub(super) pace: Arc<Pace>,
    pub(super) reporter: Reporter,
    pub(super) policy: RetryPolicy,
}

/// See the module.
pub(super) struct Backfill {
    fetcher: Fetcher,
    next: u64,
    last: u64,
    running: VecDeque<Task>,
}

/// A task that ends with its owner.
struct Task(JoinHandle<Result<Fetched, RpcError>>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Backfill {
    pub(super) fn new(fetcher: Fetcher, range: RangeInclusive<u64>) -> Self {
        Self {
            fetcher,
            next: *range.start(),
            last: *range.end(),
            running: VecDeque::new(),
        }
    }

    fn fill(&mut self) {
        while self.running.len() < self.fetcher.pace.requests() && self.next <= self.last {
            let blocks = self.fetcher.pace.blocks() as u64;
            let last = self.last.min(self.next.saturating_add(blocks - 1));
            let (fetcher, range) = (self.fetcher.clone(), self.next..=last);
            self.next = last + 1;
            self.running.push_back(Task(tokio::spawn(
                async move { fetcher.fetch(range).await },
            )));
        }
    }

    /// The next blocks in order; none behind the last.
    pub(super) async fn next(&mut self) -> Result<Option<Fetched>, RpcError> {
        self.fill();
        let Some(mut task) = self.running.pop_front() else {
            return Ok(None);
        };
        let stopped = |error| RpcError::Unavailable(format!("a request stopped: {error}"));
        let fetched = (&mut task.0).await.map_err(stopped)??;
        self.fill();
        Ok(Some(fetched))
    }
}

impl Fetcher {
    /// Fetches a range, in as many requests as the node can stand, and gives up only when it does
    /// not answer properly several times in a row.
    pub(super) async fn fetch(&self, range: RangeInclusive<u64>) -> Result<Fetched, RpcError> {
        let mut all = Fetched::default();
        let (mut next, last) = range.into_inner();
        let mut size = last - next + 1;
        let mut backoff = Backoff::new(&self.policy);
        let mut failures = 0;
        while next <= last {
            size = size.min(self.node.blocks_at_once());
            match self.look(next..=last.min(next + size - 1)).await {
                Ok(fetched) => {
                    next += fetched.blocks.len() as u64;
                    all.add(fetched);
                    failures = 0;
                    backoff.reset();
                }
                Err(error) => {
                    self.pace.shrink();
                    let smaller = matches!(error, RpcError::TooMuch(_)) && size > 1;
                    size = (size / 2).max(1);
                    if smaller {
                        continue;
                    }
                    failures += u32::from(!matches!(error, RpcError::Busy { .. }));
                    if failures >= PATIENCE {
                        return Err(error);
                    }
                    self.reporter.explain(Phase::Waiting, error.to_string());
                    tokio::time::sleep(backoff.next(error.retry_after())).await;
                }
            }
            if all.undecodable.is_some() {
                break;
            }
        }
        Ok(all)
    }

    /// One request, repeated where what came contradicts itself.
    async fn look(&self, range: RangeInclusive<u64>) -> Result<Fetched, RpcError> {
        let mut fetched = fetch::blocks(&self.node, range.clone()).await?;
        for again in 1..=SECOND_LOOKS {
            if fetched.undecodable.is_none() {
                self.pace.grow(fetched.blocks.len(), fetched.bytes);
                break;
            }
            tokio::time::sleep(Duration::from_millis(100 * again * again)).await;
            fetched = fetch::blocks(&self.node, range.clone()).await?;
        }
        Ok(fetched)
    }
}

impl Fetched {
    fn add(&mut self, other: Self) {
        self.blocks.extend(other.blocks);
        self.undecodable = other.undecodable;
        self.bytes += other.bytes;
    }
}
