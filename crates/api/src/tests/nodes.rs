//! When a chain's node is asked for a balance, and when it is left alone.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use cairn_domain::{Address, Amount, BlockRef, Hash};
use cairn_engine::sources::NodeState;

use crate::nodes::{CALLS, NodeBalances, REFUSALS};

const BLOCK: BlockRef = BlockRef {
    height: 1,
    hash: Hash([1; 32]),
};

fn address(number: u8) -> Address {
    Address::Evm([number; 20])
}

/// Refuses addresses from a number on, takes a while for each, and counts.
struct Node {
    refuses_from: u8,
    takes: Duration,
    asked: AtomicUsize,
    busy: AtomicUsize,
    busiest: AtomicUsize,
}

impl Node {
    fn new(refuses_from: u8, takes: Duration) -> Self {
        Self {
            refuses_from,
            takes,
            asked: AtomicUsize::new(0),
            busy: AtomicUsize::new(0),
            busiest: AtomicUsize::new(0),
        }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl NodeState for Node {
    async fn balance(&self, address: &Address, _: BlockRef) -> Result<Amount, String> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let busy = self.busy.fetch_add(1, Ordering::SeqCst) + 1;
        self.busiest.fetch_max(busy, Ordering::SeqCst);
        tokio::time::sleep(self.takes).await;
        self.busy.fetch_sub(1, Ordering::SeqCst);
        match address {
            Address::Evm([number, ..]) if *number < self.refuses_from => {
                Ok(Amount::from(u64::from(*number)))
            }
            _ => Err("refused".into()),
        }
    }
}

#[tokio::test]
async fn an_address_that_the_node_refuses_keeps_no_other_from_being_asked_for() {
    let (balances, node) = (NodeBalances::default(), Node::new(100, Duration::ZERO));
    for number in 1..20 {
        let refused = address(100 + number);
        assert_eq!(balances.get("eth", &node, &refused, BLOCK).await, None);
        let told = balances.get("eth", &node, &address(number), BLOCK).await;
        assert_eq!(told, Some(Amount::from(u64::from(number))));
    }
    let asked = node.asked();
    assert_eq!(balances.get("eth", &node, &address(101), BLOCK).await, None);
    assert_eq!(node.asked(), asked, "a refusal is remembered for a while");
}

#[tokio::test]
async fn a_node_that_refuses_everything_is_down_and_left_alone() {
    let (balances, node) = (NodeBalances::default(), Node::new(0, Duration::ZERO));
    for number in 0..50 {
        let told = balances.get("eth", &node, &address(number), BLOCK).await;
        assert_eq!(told, None);
    }
    assert_eq!(node.asked(), REFUSALS as usize);
    let other = Node::new(100, Duration::ZERO);
    let told = balances.get("base", &other, &address(1), BLOCK).await;
    assert!(told.is_some(), "another chain's node is asked all the same");
}

/// Keeps the state of one block alone.
struct Pruned(BlockRef);

#[async_trait]
impl NodeState for Pruned {
    async fn balance(&self, _: &Address, block: BlockRef) -> Result<Amount, String> {
        match block == self.0 {
            true => Ok(Amount::from(7)),
            false => Err("missing trie node".into()),
        }
    }
}

#[tokio::test]
async fn refusals_of_old_blocks_keep_no_balance_of_the_head_from_being_told() {
    let head = BlockRef {
        height: 9,
        hash: Hash([9; 32]),
    };
    // The head is asked about before the old blocks, and only behind them.
    for head_first in [true, false] {
        let (balances, node) = (NodeBalances::default(), Pruned(head));
        if head_first {
            let told = balances.get("eth", &node, &address(255), head).await;
            assert!(told.is_some());
        }
        for number in 0..3 * REFUSALS as u8 {
            let old = balances.get("eth", &node, &address(number), BLOCK).await;
            assert_eq!(old, None);
        }
        let told = balances.get("eth", &node, &address(1), head).await;
        assert_eq!(told, Some(Amount::from(7)), "head first: {head_first}");
    }
}

#[tokio::test]
async fn a_node_that_does_not_answer_is_asked_so_often_at_a_time_and_the_rest_goes_without() {
    let balances = Arc::new(NodeBalances::default());
    let node = Arc::new(Node::new(255, Duration::from_secs(60)));
    let ask = |number| {
        let (balances, node) = (Arc::clone(&balances), Arc::clone(&node));
        async move {
            let address = address(number);
            let asking = balances.get("eth", node.as_ref(), &address, BLOCK);
            tokio::time::timeout(Duration::from_secs(5), asking).await
        }
    };
    let waiting: Vec<_> = (0..64).map(|number| tokio::spawn(ask(number))).collect();
    for answer in waiting {
        assert_eq!(answer.await.unwrap(), Ok(None));
    }
    assert_eq!(node.asked(), CALLS);
    assert_eq!(ask(99).await, Ok(None));
    assert_eq!(node.asked(), CALLS, "it is down and not asked again");
}

#[tokio::test]
async fn many_requests_take_turns_at_a_node_that_answers() {
    let balances = Arc::new(NodeBalances::default());
    let node = Arc::new(Node::new(255, Duration::from_millis(20)));
    let ask = |number: u8| {
        let (balances, node) = (Arc::clone(&balances), Arc::clone(&node));
        tokio::spawn(async move {
            let address = address(number);
            balances.get("eth", node.as_ref(), &address, BLOCK).await
        })
    };
    for answer in (0..64).map(ask).collect::<Vec<_>>() {
        assert!(answer.await.unwrap().is_some());
    }
    assert!(node.busiest.load(Ordering::SeqCst) <= CALLS);
}
