//! Made-up chains with forks, deterministic from a seed: few addresses, so that rows collide.

use cairn_domain::{
    Address, Amount, BlockRef, Bytes, Event, Hash, Stream,
    commit::NewCommit,
    events::{
        BlockAppended, BlockFinalized, BlockReverted, ChainReset, LakeCut, Log, TokenDescribed,
        TransactionExecuted, TransactionIncluded, TransactionKind, Withdrawal,
    },
    token::{TRANSFER, TRANSFER_SINGLE},
};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};

/// A chain that grows, forks and becomes final at random, and the commits that tell of it.
pub(crate) struct RandomChain {
    stream: Stream,
    random: StdRng,
    /// The canonical chain, with the commit that appended each block.
    blocks: Vec<(BlockRef, NewCommit)>,
    finalized: usize,
    time: u64,
    /// Commits that no block carried, with the number of blocks below them.
    free: Vec<(usize, NewCommit)>,
    /// Every commit, in order.
    pub(crate) commits: Vec<NewCommit>,
}

fn hash(random: &mut impl Rng) -> Hash {
    Hash(random.random())
}

fn address(random: &mut impl Rng) -> Address {
    let mut bytes = [0; 20];
    bytes[19] = random.random_range(1..12);
    Address::Evm(bytes)
}

fn word(address: &Address) -> Hash {
    let mut bytes = [0; 32];
    if let Address::Evm(address) = address {
        bytes[12..].copy_from_slice(address);
    }
    Hash(bytes)
}

fn number(value: u64) -> Vec<u8> {
    let mut bytes = vec![0; 24];
    bytes.extend_from_slice(&value.to_be_bytes());
    bytes
}

impl RandomChain {
    pub(crate) fn new(name: &str, seed: u64) -> Self {
        Self {
            stream: Stream::chain(name).expect("a valid name"),
            random: StdRng::seed_from_u64(seed),
            blocks: Vec::new(),
            finalized: 0,
            time: 1_700_000_000,
            free: Vec::new(),
            commits: Vec::new(),
        }
    }

    fn push(&mut self, events: &[Event]) -> NewCommit {
        let commit = NewCommit::new(&self.stream, self.time * 1000, events);
        self.commits.push(commit.clone());
        commit
    }

    /// One random thing happens.
    pub(crate) fn step(&mut self) {
        match self.random.random_range(0..100) {
            0..70 => self.append(),
            70..82 => self.reorganise(),
            82..90 => self.finalize(),
            90..96 => self.describe(),
            96..99 => self.cut(),
            _ => self.reset(),
        }
    }

    pub(crate) fn append(&mut self) {
        let height = self.blocks.last().map_or(5, |(block, _)| block.height + 1);
        let parent = self
            .blocks
            .last()
            .map_or(Hash([9; 32]), |(block, _)| block.hash);
        // Jumps of hours let addresses leave the active window.
        self.time += if self.random.random_bool(0.1) {
            30_000
        } else {
            12
        };
        let block = BlockRef {
            height,
            hash: hash(&mut self.random),
        };
        let final_at_once = self.finalized == self.blocks.len() && self.random.random_bool(0.3);
        let count = self.random.random_range(0..4);
        let mut events = vec![self.block(block, parent, count).into()];
        for index in 0..count {
            self.transaction(index, &mut events);
        }
        if final_at_once {
            events.push(BlockFinalized { block }.into());
        }
        let commit = self.push(&events);
        self.blocks.push((block, commit));
        if final_at_once {
            self.finalized = self.blocks.len();
        }
    }

    fn block(&mut self, block: BlockRef, parent: Hash, transaction_count: u32) -> BlockAppended {
        let random = &mut self.random;
        let withdrawal = Withdrawal {
            address: address(random),
            amount: Amount::from(random.random::<u32>() as u64),
        };
        BlockAppended {
            block,
            parent,
            timestamp: self.time,
            proposer: Some(address(random)),
            state_root: Some(hash(random)),
            transactions_root: None,
            receipts_root: None,
            gas_used: random.random_range(0..1_000_000),
            gas_limit: 30_000_000,
            base_fee: random.random_bool(0.5).then(|| Amount::from(3)),
            difficulty: Amount::from(0),
            size: 1000,
            extra_data: Bytes::default(),
            blob_gas_used: None,
            withdrawals: if random.random_bool(0.2) {
                vec![withdrawal]
            } else {
                Vec::new()
            },
            transaction_count,
        }
    }

    fn transaction(&mut self, index: u32, events: &mut Vec<Event>) {
        let random = &mut self.random;
        let (from, to) = (address(random), address(random));
        let creates = random.random_bool(0.1);
        events.push(
            TransactionIncluded {
                hash: hash(random),
                index,
                kind: TransactionKind::Evm(2),
                from: from.clone(),
                to: (!creates).then(|| to.clone()),
                amount: Amount::from(random.random_range(0..1_000_000)),
                nonce: random.random_range(0..50),
                gas_limit: 100_000,
                gas_price: Amount::from(10),
                max_fee_per_gas: None,
                max_priority_fee_per_gas: None,
                input: Bytes(vec![1; random.random_range(0..20)]),
            }
            .into(),
        );
        if random.random_bool(0.1) {
            return;
        }
        let gas_used = random.random_range(21_000..100_000);
        let logs = (0..random.random_range(0..3))
            .map(|log| self.log(index * 3 + log))
            .collect();
        let random = &mut self.random;
        events.push(
            TransactionExecuted {
                index,
                success: random.random_bool(0.9),
                gas_used,
                effective_gas_price: Amount::from(7),
                fee: Amount::from(gas_used * 7),
                contract_address: creates.then_some(to),
                logs,
            }
            .into(),
        );
    }

    fn log(&mut self, index: u32) -> Log {
        let random = &mut self.random;
        let mint = random.random_bool(0.3);
        let from = if mint { Address::ZERO } else { address(random) };
        let to = address(random);
        let amount = number(random.random_range(0..100));
        let (topics, data) = match random.random_range(0..3) {
            0 => (vec![TRANSFER, word(&from), word(&to)], amount),
            1 => {
                let id = Hash(
                    number(random.random_range(0..5))
                        .try_into()
                        .expect("32 bytes"),
                );
                (vec![TRANSFER, word(&from), word(&to), id], Vec::new())
            }
            _ => {
                let id = number(random.random_range(0..5));
                (
                    vec![TRANSFER_SINGLE, word(&from), word(&from), word(&to)],
                    [id, amount].concat(),
                )
            }
        };
        Log {
            index,
            address: address(random),
            topics,
            data: Bytes(data),
        }
    }

    /// Takes some hot blocks back and builds at least as many others.
    pub(crate) fn reorganise(&mut self) {
        let hot = self.blocks.len() - self.finalized;
        if hot == 0 {
            return self.append();
        }
        let depth = self.random.random_range(1..=hot);
        let gone = self.blocks.split_off(self.blocks.len() - depth);
        let revert = |(block, _): &(BlockRef, NewCommit)| BlockReverted { block: *block }.into();
        let events: Vec<Event> = gone.iter().rev().map(revert).collect();
        self.push(&events);
        // A node may also come back to a branch that it had left.
        if self.random.random_bool(0.2) {
            for (block, commit) in gone {
                self.commits.push(commit.clone());
                self.blocks.push((block, commit));
            }
        } else {
            (0..self.random.random_range(0..=depth + 1)).for_each(|_| self.append());
        }
    }

    /// How many blocks may still be taken back.
    pub(crate) fn hot(&self) -> usize {
        self.blocks.len() - self.finalized
    }

    /// Takes every hot block back, in one commit, and appends the same blocks again. Says how many.
    pub(crate) fn leave_and_return(&mut self) -> usize {
        let hot = self.blocks.split_off(self.finalized);
        let revert = |(block, _): &(BlockRef, NewCommit)| BlockReverted { block: *block }.into();
        let events: Vec<Event> = hot.iter().rev().map(revert).collect();
        self.push(&events);
        self.commits
            .extend(hot.iter().map(|(_, commit)| commit.clone()));
        let depth = hot.len();
        self.blocks.extend(hot);
        depth
    }

    /// Some of the hot blocks become final, the lowest among them.
    pub(crate) fn finalize(&mut self) {
        if self.blocks.len() > self.finalized {
            let index = self.random.random_range(self.finalized..self.blocks.len());
            self.finalized = index + 1;
            let block = self.blocks[index].0;
            let commit = self.push(&[BlockFinalized { block }.into()]);
            self.free.push((self.blocks.len(), commit));
        }
    }

    fn describe(&mut self) {
        let contract = address(&mut self.random);
        let name = Some(format!("Token {}", self.random.random::<u16>()));
        let event = TokenDescribed {
            contract,
            name,
            symbol: Some("T".into()),
            decimals: Some(6),
        };
        let commit = self.push(&[event.into()]);
        self.free.push((self.blocks.len(), commit));
    }

    /// What is final goes into files.
    pub(crate) fn cut(&mut self) {
        let commit = self.push(&[LakeCut {}.into()]);
        self.free.push((self.blocks.len(), commit));
    }

    /// The chain is given up; another one of the same name begins.
    pub(crate) fn reset(&mut self) {
        self.push(&[ChainReset {
            reason: "wiped".into(),
        }
        .into()]);
        self.blocks.clear();
        self.free.clear();
        self.finalized = 0;
    }

    /// The commits of a log that only ever saw the surviving branch.
    pub(crate) fn surviving(&self) -> Vec<NewCommit> {
        // What no block carried is folded again behind the revert, so its order among the blocks
        // that came later does not matter, but its order among its own kind does.
        let mut commits = Vec::new();
        let mut free = self.free.iter().peekable();
        for (index, (_, commit)) in self.blocks.iter().enumerate() {
            while free.peek().is_some_and(|(below, _)| *below <= index) {
                commits.extend(free.next().map(|(_, commit)| commit.clone()));
            }
            commits.push(commit.clone());
        }
        commits.extend(free.map(|(_, commit)| commit.clone()));
        commits
    }
}
