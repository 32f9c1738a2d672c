//! A long chain made of a recorded one: the same transactions over and over, renumbered, relinked
//! and with hashes of their own.

use std::{fs::File, path::Path};

use anyhow::Context;
use cairn_domain::{BlockRef, Event, Hash, Stream, commit::NewCommit, events::BlockFinalized};
use cairn_engine::sources::evm;

/// The events of each recorded block, without block 0.
pub(crate) struct Recording {
    blocks: Vec<Vec<Event>>,
    /// Transactions of all of them.
    pub(crate) transactions: u64,
}

fn lines(path: &Path) -> anyhow::Result<Vec<String>> {
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    let text = std::io::read_to_string(zstd::Decoder::new(file)?)?;
    Ok(text.lines().map(String::from).collect())
}

/// The receipts of a line `{number, hash, receipts}`.
#[derive(serde::Deserialize)]
struct ReceiptsLine<'a> {
    #[serde(borrow)]
    receipts: &'a serde_json::value::RawValue,
}

impl Recording {
    pub(crate) fn load(directory: &Path) -> anyhow::Result<Self> {
        let blocks = lines(&directory.join("blocks.jsonl.zst"))?;
        let receipts = lines(&directory.join("receipts.jsonl.zst"))?;
        let mut recording = Self {
            blocks: Vec::new(),
            transactions: 0,
        };
        for (block, receipts) in blocks.iter().zip(&receipts).skip(1) {
            let receipts: ReceiptsLine<'_> = serde_json::from_str(receipts)?;
            let decoded = evm::decode(block, Some(receipts.receipts.get()))?;
            recording.transactions += u64::from(decoded.block.transaction_count);
            recording.blocks.push(decoded.into_events());
        }
        Ok(recording)
    }

    /// Commits from height 0 on, all final when they come.
    pub(crate) fn commits(&self, stream: &Stream) -> impl Iterator<Item = (u64, NewCommit)> {
        let stream = stream.clone();
        let mut parent = Hash([0; 32]);
        (0u64..).map(move |height| {
            let source = &self.blocks[(height as usize) % self.blocks.len()];
            let copy = height / self.blocks.len() as u64;
            let (transactions, commit, hash) = lengthen(source, &stream, height, copy, parent);
            parent = hash;
            (transactions, commit)
        })
    }
}

/// A hash of the same block or transaction in another copy of the recording.
fn other(hash: Hash, copy: u64) -> Hash {
    let mut bytes = hash.0;
    for (byte, copy) in bytes
        .iter_mut()
        .zip((copy.wrapping_mul(0x9e37_79b9_7f4a_7c15)).to_le_bytes())
    {
        *byte ^= copy;
    }
    Hash(bytes)
}

fn lengthen(
    source: &[Event],
    stream: &Stream,
    height: u64,
    copy: u64,
    parent: Hash,
) -> (u64, NewCommit, Hash) {
    let mut events = source.to_vec();
    let (mut transactions, mut hash, time) = (0, parent, 1_600_000_000 + height * 12);
    for event in &mut events {
        match event {
            Event::BlockAppended(block) => {
                hash = other(block.block.hash, copy);
                block.block = BlockRef { height, hash };
                block.parent = parent;
                block.timestamp = time;
            }
            Event::TransactionIncluded(transaction) => {
                transaction.hash = other(transaction.hash, copy);
                transactions += 1;
            }
            _ => {}
        }
    }
    events.push(
        BlockFinalized {
            block: BlockRef { height, hash },
        }
        .into(),
    );
    (
        transactions,
        NewCommit::new(stream, time * 1000, &events),
        hash,
    )
}
