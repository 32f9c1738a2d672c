//! What sources could not decode: a list, and another try.

use cairn_engine::{
    dead_letters::{DeadLetter, DeadLetters},
    sources::{ChainWriter, Standing},
};
use serde_json::{Value, json};

use crate::node::Node;

/// All letters without their blocks, oldest first.
pub(super) fn list(node: &Node) -> anyhow::Result<Value> {
    let letters = DeadLetters::new(node.data_dir()).list()?;
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
pub(super) async fn retry(node: &Node, ids: Vec<String>) -> anyhow::Result<Value> {
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
        let outcome = retry_one(node, &letter).await?;
        if outcome.done {
            letters.remove(&letter.id)?;
        }
        outcomes.push(json!({ "id": letter.id, "done": outcome.done, "detail": outcome.detail }));
    }
    Ok(Value::Array(outcomes))
}

struct Outcome {
    done: bool,
    detail: String,
}

async fn retry_one(node: &Node, letter: &DeadLetter) -> anyhow::Result<Outcome> {
    let kept = |detail: String| {
        Ok(Outcome {
            done: false,
            detail,
        })
    };
    let done = |detail: String| Ok(Outcome { done: true, detail });
    let block = match DeadLetters::retry(letter) {
        Ok(block) => block,
        Err(error) => {
            return kept(format!(
                "{error}; mend its file in dead-letters/, or upgrade"
            ));
        }
    };
    let reference = block.reference();
    let Some(_claim) = node.claim_chain(&letter.chain) else {
        return done(format!(
            "{reference} decodes; the source that follows {} takes it up",
            letter.chain
        ));
    };
    let mut chain = ChainWriter::open(&letter.chain, &node.source_context()?).await?;
    match chain.judge(reference, block.block.parent).await? {
        Standing::Next => {
            chain.append(block, None).await?;
            chain.flush().await?;
            done(format!("{reference} was appended"))
        }
        Standing::Known => done(format!("{reference} is there already")),
        _ => kept(format!(
            "{reference} decodes, but does not stand on the head of {}",
            letter.chain
        )),
    }
}
