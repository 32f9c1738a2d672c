//! A long chain made of a recorded one: the same transactions over and over, renumbered, relinked
//! and with hashes of their own.

use std::{fs::File, path::Path};

use anyhow::Context;
use cairn_domain::{
    Address, Amount, BlockRef, Event, Hash, Stream, commit::NewCommit, events::BlockFinalized,
};
use cairn_engine::sources::evm;

/// The events of each recorded block, without block 0.
pub(crate) struct Recording {
    blocks: Vec<Vec<Event>>,
    /// Transactions of all of them.
    pub(crate) transactions: u64,
    /// Seconds between two blocks.
    seconds: u64,
    /// Whether copies have accounts and prices of their own.
    varied: bool,
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
            seconds: 12,
            varied: false,
        };
        for (block, receipts) in blocks.iter().zip(&receipts).skip(1) {
            let receipts: ReceiptsLine<'_> = serde_json::from_str(receipts)?;
            let decoded = evm::decode(block, Some(receipts.receipts.get()))?;
            recording.transactions += u64::from(decoded.block.transaction_count);
            recording.blocks.push(decoded.into_events());
        }
        Ok(recording)
    }

    /// A chain with blocks so many seconds apart, in which half of the accounts of each copy are new, and
    /// gas has a price: columns as various as those of a chain that nobody repeats.
    pub(crate) fn varied(self, seconds: u64) -> Self {
        Self {
            seconds,
            varied: true,
            ..self
        }
    }

    /// Commits from height 0 on, all final when they come.
    pub(crate) fn commits(&self, stream: &Stream) -> impl Iterator<Item = (u64, NewCommit)> {
        let stream = stream.clone();
        let mut parent = Hash([0; 32]);
        (0u64..).map(move |height| {
            let (transactions, commit, hash) = self.lengthen(&stream, height, parent);
            parent = hash;
            (transactions, commit)
        })
    }

    fn lengthen(&self, stream: &Stream, height: u64, parent: Hash) -> (u64, NewCommit, Hash) {
        let copy = height / self.blocks.len() as u64;
        let mut events = self.blocks[(height as usize) % self.blocks.len()].clone();
        let (mut transactions, mut hash) = (0, parent);
        let time = 1_600_000_000 + height * self.seconds;
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
            if self.varied {
                vary(event, height, copy);
            }
        }
        let block = BlockRef { height, hash };
        events.push(BlockFinalized { block }.into());
        let commit = NewCommit::new(stream, time * 1000, &events);
        (transactions, commit, hash)
    }
}

/// Gives half of a copy's accounts, and its prices, values of their own.
fn vary(event: &mut Event, height: u64, copy: u64) {
    match event {
        Event::TransactionIncluded(transaction) => {
            vary_address(&mut transaction.from, copy);
            if let Some(to) = &mut transaction.to {
                vary_address(to, copy);
            }
            transaction.gas_price = price(height, transaction.index).into();
        }
        Event::TransactionExecuted(executed) => {
            let price = price(height, executed.index);
            executed.effective_gas_price = price.into();
            executed.fee = Amount::from(price * executed.gas_used);
        }
        _ => {}
    }
}

fn vary_address(address: &mut Address, copy: u64) {
    if let Address::Evm(bytes) = address
        && bytes[19] % 2 == 1
    {
        mix(&mut bytes[..8], copy);
    }
}

/// Between 1 and 101 gwei, and seldom the same twice.
fn price(height: u64, index: u32) -> u64 {
    let seed = height << 16 | u64::from(index);
    1_000_000_000 + seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) % 100_000_000_000
}

/// Other bytes for each copy.
fn mix(bytes: &mut [u8], copy: u64) {
    let mask = copy.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    bytes
        .iter_mut()
        .zip(mask)
        .for_each(|(byte, mask)| *byte ^= mask);
}

/// A hash of the same block or transaction in another copy of the recording.
fn other(hash: Hash, copy: u64) -> Hash {
    let mut bytes = hash.0;
    mix(&mut bytes, copy);
    Hash(bytes)
}
