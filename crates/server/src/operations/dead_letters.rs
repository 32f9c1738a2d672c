//! What sources could not decode: a list, and another try.

use std::{io::Cursor, path::Path};

use anyhow::Context as _;
use cairn_domain::BlockRef;
use cairn_engine::{
    dead_letters::{DeadLetter, DeadLetters},
    sources::{ChainWriter, Standing},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Inputs, Output, Request};
use crate::{
    forward::{self, Peers},
    node::{Node, Shard},
};

/// All letters without their blocks, oldest first.
pub(super) fn list(data_dir: &Path) -> anyhow::Result<Value> {
    let letters = DeadLetters::new(data_dir).list()?;
    let show = |letter: &DeadLetter| {
        json!({
            "id": letter.id,
            "source": letter.source,
            "chain": letter.chain,
            "height": letter.height,
            "hash": letter.hash,
            "reason": letter.reason,
            "time": letter.time,
        })
    };
    Ok(letters.iter().map(show).collect())
}

/// Decodes letters again and appends what fits on its chain by now, here or at the node that writes
/// the log of the chain's shard; no ids means all.
pub(super) async fn retry(
    node: &Node,
    peers: &Peers,
    ids: Vec<String>,
    output: &Output,
) -> anyhow::Result<Value> {
    let letters = DeadLetters::new(node.data_dir());
    let chosen = match ids.as_slice() {
        [] => letters.list()?,
        ids => ids
            .iter()
            .map(|id| letters.get(id))
            .collect::<Result<_, _>>()?,
    };
    let mut outcomes = Vec::new();
    for letter in chosen {
        let shard = node.shard(None, Some(&letter.chain))?;
        let outcome = match shard.is_written_elsewhere() {
            true => hand_on(shard, peers, &letter, output).await?,
            false => retry_one(shard, &letter).await?,
        };
        if outcome.done {
            letters.remove(&letter.id)?;
        }
        outcomes.push(json!({ "id": letter.id, "done": outcome.done, "detail": outcome.detail }));
    }
    Ok(Value::Array(outcomes))
}

async fn hand_on(
    shard: &Shard,
    peers: &Peers,
    letter: &DeadLetter,
    output: &Output,
) -> anyhow::Result<Outcome> {
    let request = Request::MendedLetter {
        chain: letter.chain.clone(),
    };
    let inputs = Inputs {
        blocks: Some(Box::new(Cursor::new(serde_json::to_vec(letter)?))),
        receipts: None,
    };
    let result = forward::forward(shard, peers, request, inputs, output).await?;
    Ok(serde_json::from_value(result)?)
}

/// Appends a letter that another node has, if it fits.
pub(super) async fn take_mended(shard: &Shard, inputs: Inputs) -> anyhow::Result<Value> {
    let letter = inputs.blocks.context("there is no letter")?;
    let read = tokio::task::spawn_blocking(move || serde_json::from_reader(letter));
    let letter: DeadLetter = read.await?.context("the letter did not come whole")?;
    Ok(serde_json::to_value(retry_one(shard, &letter).await?)?)
}

/// What became of a letter.
#[derive(Serialize, Deserialize)]
struct Outcome {
    /// Whether the letter is of no more use.
    done: bool,
    detail: String,
}

impl Outcome {
    fn done(detail: String) -> Self {
        Self { done: true, detail }
    }

    fn kept(detail: String) -> Self {
        Self {
            done: false,
            detail,
        }
    }
}

async fn retry_one(shard: &Shard, letter: &DeadLetter) -> anyhow::Result<Outcome> {
    let block = match DeadLetters::retry(letter) {
        Ok(block) => block,
        Err(error) => {
            return Ok(Outcome::kept(format!(
                "{error}; mend its file in dead-letters/, or upgrade"
            )));
        }
    };
    let (reference, chain) = (block.reference(), &letter.chain);
    let standing = match shard.claim_chain(chain) {
        Some(_claim) => {
            let mut writer = ChainWriter::open(chain, &shard.source_context()?).await?;
            writer.take(block).await?
        }
        None => match shard.offers.offer(chain, block).await {
            Ok(standing) => standing,
            Err(reason) => {
                let detail = format!("{reference} decodes, but was not appended: {reason}");
                return Ok(Outcome::kept(detail));
            }
        },
    };
    Ok(outcome(standing, reference, letter))
}

/// What it means for a letter that its block is this to its chain.
fn outcome(standing: Standing, block: BlockRef, letter: &DeadLetter) -> Outcome {
    let (chain, id) = (&letter.chain, &letter.id);
    match standing {
        Standing::Next => Outcome::done(format!("{block} was appended")),
        Standing::Known => Outcome::done(format!("{block} is there already")),
        Standing::Gap { expected } => Outcome::kept(format!(
            "{block} decodes, but block {expected} comes next on chain {chain}; try again when the chain is there"
        )),
        Standing::Fork | Standing::Below => Outcome::kept(format!(
            "{block} decodes, but does not stand on the head of chain {chain}: its place has passed, or it is of another branch; delete dead-letters/{id}.json if it is of no more use"
        )),
    }
}
