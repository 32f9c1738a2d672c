//! The channel `transactions`.

use cairn_domain::{
    BlockRef, Commit, Event,
    projections::{
        Folded,
        transactions::{Outcome, TransactionRow},
    },
};

use super::{
    blocks::{chain, standing},
    channel::{Attributes, Channel, EventDoc, Message, RenderError, comparable},
    past::Past,
};
use crate::{
    models::{Status, Time, Transaction},
    scope::Standing,
};

/// See the module.
pub(super) struct Transactions;

impl Channel for Transactions {
    fn name(&self) -> &'static str {
        "transactions"
    }

    fn number(&self) -> u8 {
        2
    }

    fn doc(&self) -> &'static str {
        "Transactions as blocks bring them, and as their blocks are reorganised away."
    }

    fn events(&self) -> &'static [EventDoc] {
        const EVENTS: &[EventDoc] = &[
            EventDoc {
                name: "transaction.confirmed",
                doc: "A block brought a transaction; its status says whether it failed.",
                data: "Transaction",
            },
            EventDoc {
                name: "transaction.dropped",
                doc: "The block of a transaction was reorganised away; another one may bring it again.",
                data: "Transaction",
            },
        ];
        EVENTS
    }

    fn filters(&self) -> &'static [&'static str] {
        &[
            "chain",
            "from_address",
            "to_address",
            "hash",
            "status",
            "type",
            "block_hash",
        ]
    }

    fn render(&self, commit: &Commit, past: &Past<'_>) -> Result<Vec<Message>, RenderError> {
        let mut messages = Vec::new();
        let folded = Folded::new(commit);
        let folded = folded.map_err(|error| RenderError::Contradiction(error.to_string()))?;
        if let Some(contents) = &folded.block {
            let block = contents.block;
            let standing = standing(commit, block);
            for (transaction, receipt) in &contents.transactions {
                let row = TransactionRow {
                    transaction: (*transaction).clone(),
                    timestamp: block.timestamp,
                    outcome: receipt.map(Outcome::from),
                };
                let event = "transaction.confirmed";
                messages.push(message(commit, event, block.block, row, standing)?);
            }
        }
        for event in &commit.events {
            let Event::BlockReverted(reverted) = event else {
                continue;
            };
            for row in past.transactions(reverted.block)? {
                let event = "transaction.dropped";
                let dropped = message(commit, event, reverted.block, row, Standing::ORPHAN)?;
                messages.push(dropped);
            }
        }
        Ok(messages)
    }
}

fn message(
    commit: &Commit,
    event: &'static str,
    block: BlockRef,
    row: TransactionRow,
    standing: Standing,
) -> Result<Message, RenderError> {
    let time = Time(row.timestamp);
    let data = Transaction::new(block, row, standing);
    let status = match data.status {
        Status::Confirmed => "confirmed",
        Status::Failed => "failed",
        Status::Dropped => "dropped",
    };
    let mut attributes: Attributes = vec![
        ("chain", chain(commit).to_owned()),
        ("from_address", comparable(&data.from_address.to_string())),
        ("hash", data.hash.to_string()),
        ("status", status.to_owned()),
        ("type", data.kind.to_string()),
        ("block_hash", data.block_hash.to_string()),
    ];
    let to = data.to_address.as_ref();
    attributes.extend(to.map(|to| ("to_address", comparable(&to.to_string()))));
    Message::new(event, time, &data, attributes)
}
