//! Asks token contracts what they call themselves.
//!
//! Only a contract's own answer counts, and that none comes for a reason of the node says nothing
//! about the contract: it is asked again, later and later, on its own. The source never waits for a
//! slow answer.

use std::{
    collections::{HashMap, HashSet},
    ops::ControlFlow,
    sync::Arc,
    time::Duration,
};

use cairn_domain::{Address, events::TokenDescribed, projections::tokens::UndescribedTokens};
use serde_json::json;
use tokio::{task::JoinSet, time::Instant};

use super::{
    answers::Answer,
    node::Node,
    retry::Backoff,
    rpc::{Call, RpcError},
    token_answers::{small_number, text},
};
use crate::{
    sources::{ChainWriter, RetryPolicy, SourceError},
    store::StoreError,
};

/// Contracts that are asked at a time.
const BATCH: usize = 64;
/// An answer that comes within this time is heard in the same round.
const QUICK: Duration = Duration::from_millis(200);
/// A contract that gave no answer so often is let be until the next start. With the waits between
/// them that is after six hours.
const TRIES: u32 = 10;
/// Each wait of a contract is this many times the one before.
const WAIT_GROWTH: u32 = 4;
/// Selectors of `name()`, `symbol()` and `decimals()`.
const SELECTORS: [&str; 3] = ["0x06fdde03", "0x95d89b41", "0x313ce567"];

/// What each contract answered, or why the node did not.
type Answered = Result<Vec<Result<TokenDescribed, RpcError>>, RpcError>;

/// See the module.
#[derive(Debug)]
pub(super) struct TokenAsker {
    /// Described, but not folded yet.
    described: HashSet<Address>,
    /// Gave no answer, or were not heard.
    later: HashMap<Address, Later>,
    /// How many are asked at a time: fewer while the node refuses whole requests.
    batch: usize,
    /// Whose turn it is: those that gave no answer before, or new ones.
    turn_of_later: bool,
    first_wait: Duration,
    backoff: Backoff,
    not_before: Instant,
    /// At most one request at a time. It ends with its owner.
    asking: JoinSet<(Vec<Address>, Answered)>,
}

#[derive(Debug, Clone, Copy)]
struct Later {
    tries: u32,
    not_before: Instant,
}

impl Later {
    fn is_due(self, now: Instant) -> bool {
        self.tries < TRIES && self.not_before <= now
    }
}

impl TokenAsker {
    pub(super) fn new(policy: &RetryPolicy) -> Self {
        Self {
            described: HashSet::new(),
            later: HashMap::new(),
            batch: BATCH,
            turn_of_later: false,
            first_wait: policy.base,
            backoff: Backoff::new(policy),
            not_before: Instant::now(),
            asking: JoinSet::new(),
        }
    }

    /// Hears what was asked before, and asks contracts that have not told their name.
    pub(super) async fn ask(
        &mut self,
        node: &Arc<Node>,
        chain: &mut ChainWriter,
    ) -> Result<(), SourceError> {
        if self.asking.is_empty() && self.not_before <= Instant::now() {
            let contracts = self.choose(chain)?;
            if !contracts.is_empty() {
                let node = Arc::clone(node);
                self.asking.spawn(async move {
                    let answered = describe(&node, &contracts).await;
                    (contracts, answered)
                });
                // What takes longer is heard in a later round.
                let quick = tokio::time::timeout(QUICK, self.asking.join_next()).await;
                return self.hear(quick.ok().flatten(), chain).await;
            }
        }
        let heard = self.asking.try_join_next();
        self.hear(heard, chain).await
    }

    async fn hear(
        &mut self,
        heard: Option<Result<(Vec<Address>, Answered), tokio::task::JoinError>>,
        chain: &mut ChainWriter,
    ) -> Result<(), SourceError> {
        // A request that panicked is like one that was never sent.
        let Some(Ok((contracts, answered))) = heard else {
            return Ok(());
        };
        let answers = match answered {
            Ok(answers) => answers,
            Err(error) => {
                self.refused(&contracts, &error);
                return Ok(());
            }
        };
        self.backoff.reset();
        self.batch = BATCH.min(self.batch * 2);
        for (contract, answer) in contracts.into_iter().zip(answers) {
            match answer {
                Ok(token) => {
                    self.later.remove(&contract);
                    self.described.insert(contract);
                    chain.describe(token).await?;
                }
                Err(error) => self.postpone(contract, &error),
            }
        }
        chain.flush().await
    }

    /// A whole request was refused: perhaps because of one of its contracts, so fewer are asked.
    fn refused(&mut self, contracts: &[Address], error: &RpcError) {
        tracing::debug!(%error, "token contracts could not be asked; trying again later");
        self.not_before = Instant::now() + self.backoff.next(error.retry_after());
        match contracts {
            // A node that asks to slow down says nothing about the contract.
            [_] if matches!(error, RpcError::Busy { .. }) => {}
            [contract] => self.postpone(contract.clone(), error),
            many => self.batch = (many.len() / 2).max(1),
        }
    }

    fn postpone(&mut self, contract: Address, error: &RpcError) {
        let now = Instant::now();
        let first = Later {
            tries: 0,
            not_before: now,
        };
        let later = self.later.entry(contract.clone()).or_insert(first);
        let wait = self.first_wait.saturating_mul(WAIT_GROWTH.pow(later.tries));
        later.tries += 1;
        later.not_before = now + wait;
        if later.tries == TRIES {
            tracing::warn!(%contract, %error, "a token keeps no name until the next start");
        }
    }

    /// Whom to ask next: one that gave no answer before, or several new ones.
    fn choose(&mut self, chain: &ChainWriter) -> Result<Vec<Address>, SourceError> {
        let (new, due) = self.waiting(chain)?;
        self.turn_of_later = !self.turn_of_later || new.is_empty();
        Ok(match due {
            Some(contract) if self.turn_of_later => vec![contract],
            _ => new,
        })
    }

    /// New contracts, as many as are asked at a time, and one that is due again.
    fn waiting(
        &mut self,
        chain: &ChainWriter,
    ) -> Result<(Vec<Address>, Option<Address>), SourceError> {
        let (mut new, mut due) = (Vec::new(), None);
        let (mut described, mut later) = (HashSet::new(), HashMap::new());
        let view = match chain.view() {
            // Names can wait until the projection is there again.
            Err(SourceError::Store(StoreError::Unavailable { .. })) => return Ok((new, due)),
            view => view?,
        };
        let now = Instant::now();
        let scanned = view.scan::<UndescribedTokens>(chain.stream(), &(), None, |row| {
            let contract = row.key.contract;
            if let Some(postponed) = self.later.get(&contract) {
                if due.is_none() && postponed.is_due(now) {
                    due = Some(contract.clone());
                }
                later.insert(contract, *postponed);
            } else if self.described.contains(&contract) {
                described.insert(contract);
            } else {
                new.push(contract);
            }
            Ok(if new.len() == self.batch {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        });
        match scanned {
            Err(StoreError::Unavailable { .. }) => return Ok((Vec::new(), None)),
            other => other?,
        }
        if new.len() < self.batch {
            // The table was seen to its end: whoever is not in it any more has been folded.
            (self.described, self.later) = (described, later);
        }
        Ok((new, due))
    }
}

async fn describe(node: &Node, contracts: &[Address]) -> Answered {
    let calls = contracts.iter().flat_map(|contract| {
        SELECTORS.map(|data| Call {
            method: "eth_call",
            params: json!([{"to": contract, "data": data}, "latest"]),
        })
    });
    let calls: Vec<_> = calls.collect();
    // A call that is too much for the node is a matter of its contract, not of the batch.
    if calls.len() <= node.rpc.batches.size() {
        return tokens(contracts, &node.rpc.send(calls).await?.get()?);
    }
    tokens(contracts, &node.rpc.ask_all(&calls).await?.get())
}

fn tokens(contracts: &[Address], answers: &[Answer<'_>]) -> Answered {
    let fields = answers.chunks(SELECTORS.len());
    let tokens = contracts.iter().zip(fields);
    Ok(tokens
        .map(|(contract, fields)| token(contract, fields))
        .collect())
}

fn token(contract: &Address, fields: &[Answer<'_>]) -> Result<TokenDescribed, RpcError> {
    let field = |place: usize| fields.get(place).map_or(Ok(None), returned);
    Ok(TokenDescribed {
        contract: contract.clone(),
        name: field(0)?.as_deref().and_then(text),
        symbol: field(1)?.as_deref().and_then(text),
        decimals: field(2)?.as_deref().and_then(small_number),
    })
}

/// What a contract returned; none where it failed, which is its answer, too.
fn returned(answer: &Answer<'_>) -> Result<Option<Vec<u8>>, RpcError> {
    match answer {
        Ok(Some(text)) => Ok(const_hex::decode(text.trim_matches('"')).ok()),
        Ok(None) | Err(RpcError::Reverted(_)) => Ok(None),
        Err(error) => Err(error.clone()),
    }
}
