//! The channel `blocks`.

use super::{
    channel::{Attributes, Channel, EventDoc, Message, RenderError, comparable},
    past::Past,
};
use crate::{
    models::{BlockSummary, ChainReplaced, Time},
    scope::Standing,
};
use cairn_domain::{
    Commit, Event,
    events::{BlockAppended, BlockFinalized},
};

/// See the module.
pub(super) struct Blocks;

impl Channel for Blocks {
    fn name(&self) -> &'static str {
        "blocks"
    }

    fn number(&self) -> u8 {
        1
    }

    fn doc(&self) -> &'static str {
        "Blocks as they become canonical, and as they are reorganised away."
    }

    fn events(&self) -> &'static [EventDoc] {
        const EVENTS: &[EventDoc] = &[
            EventDoc {
                name: "block.created",
                doc: "A block became the head of its chain.",
                data: "BlockSummary",
            },
            EventDoc {
                name: "block.reverted",
                doc: "A block was reorganised away: what was told of it is void.",
                data: "BlockSummary",
            },
            EventDoc {
                name: "chain.reset",
                doc: "A chain was replaced by another of its name: all that was told of it is void.",
                data: "ChainReplaced",
            },
        ];
        EVENTS
    }

    fn filters(&self) -> &'static [&'static str] {
        &["chain", "proposer"]
    }

    fn render(&self, commit: &Commit, past: &Past<'_>) -> Result<Vec<Message>, RenderError> {
        let mut messages = Vec::new();
        for event in &commit.events {
            match event {
                Event::BlockAppended(block) => {
                    let standing = standing(commit, block);
                    messages.push(message(commit, "block.created", block, standing)?);
                }
                Event::BlockReverted(reverted) => {
                    let block = past.block(reverted.block)?;
                    messages.push(message(commit, "block.reverted", &block, Standing::ORPHAN)?);
                }
                Event::ChainReset(reset) => {
                    let data = ChainReplaced {
                        chain: chain(commit).to_owned(),
                        reason: reset.reason.clone(),
                    };
                    let time = Time(commit.header.event_time / 1000);
                    let attributes = vec![("chain", chain(commit).to_owned())];
                    messages.push(Message::new("chain.reset", time, &data, attributes)?);
                }
                _ => {}
            }
        }
        Ok(messages)
    }
}

/// How a block stands with the commit that brought it.
pub(super) fn standing(commit: &Commit, block: &BlockAppended) -> Standing {
    let finalized = Event::BlockFinalized(BlockFinalized { block: block.block });
    Standing::head(commit.events.contains(&finalized))
}

/// The chain that a commit is of.
pub(super) fn chain(commit: &Commit) -> &str {
    let stream = &commit.header.stream;
    stream.chain_name().unwrap_or(stream.as_str())
}

fn message(
    commit: &Commit,
    event: &'static str,
    block: &BlockAppended,
    standing: Standing,
) -> Result<Message, RenderError> {
    let mut attributes: Attributes = vec![("chain", chain(commit).to_owned())];
    let proposer = block.proposer.as_ref();
    attributes.extend(proposer.map(|proposer| ("proposer", comparable(&proposer.to_string()))));
    let data = BlockSummary::new(block, standing);
    Message::new(event, Time(block.timestamp), &data, attributes)
}
