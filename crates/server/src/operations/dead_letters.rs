//! What sources could not decode: a list, and another try.

use cairn_domain::BlockRef;
use cairn_engine::{
    dead_letters::{DeadLetter, DeadLetters},
    sources::{ChainWriter, Standing},
};
use serde_json::{Value, json};

use crate::node::Shard;

/// All letters without their blocks, oldest first.
pub(super) fn list(shard: &Shard) -> anyhow::Result<Value> {
    let letters = DeadLetters::new(shard.data_dir()).list()?;
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

/// Decodes letters again and appends what fits on its chain by now; no ids means all.
pub(super) async fn retry(shard: &Shard, ids: Vec<String>) -> anyhow::Result<Value> {
    let letters = DeadLetters::new(shard.data_dir());
    let chosen = match ids.as_slice() {
        [] => letters.list()?,
        ids => ids
            .iter()
            .map(|id| letters.get(id))
            .collect::<Result<_, _>>()?,
    };
    let mut outcomes = Vec::new();
    for letter in chosen {
        let outcome = retry_one(shard, &letter).await?;
        if outcome.done {
            letters.remove(&letter.id)?;
        }
        outcomes.push(json!({ "id": letter.id, "done": outcome.done, "detail": outcome.detail }));
    }
    Ok(Value::Array(outcomes))
}

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
