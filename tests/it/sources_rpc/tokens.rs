//! What token contracts call themselves, asked of nodes that refuse now and then.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use cairn_domain::{Address, Event, events::TokenDescribed};
use serde_json::{Value, json};

use super::{Shared, head, shared};
use crate::sources_world::{FakeNode, Reply, World, answer_all, node_config, receipts_json};

const TRANSFER: &str = "0xddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef";

fn contract(number: usize) -> String {
    format!("0x{number:040x}")
}

/// A chain whose first block holds a transfer of each of so many tokens.
fn chain_with_tokens(
    count: usize,
) -> (
    Shared,
    impl Fn(&Shared, &str, &Value) -> Result<Value, Value>,
) {
    let answer = move |chain: &Shared, method: &str, params: &Value| {
        let answer = chain.lock().unwrap().answer(method, params);
        if method != "eth_getBlockReceipts" || params[0] != "0x1" {
            return answer;
        }
        let mut receipts = receipts_json(&chain.lock().unwrap().blocks[&1]);
        let log = |number: usize| {
            json!({
                "address": contract(number), "data": format!("0x{:064x}", 5),
                "topics": [TRANSFER, format!("0x{:064x}", 1), format!("0x{:064x}", 2)],
                "logIndex": format!("0x{number:x}"),
            })
        };
        receipts[0]["logs"] = (0..count).map(log).collect();
        Ok(receipts)
    };
    (shared(0, 3), answer)
}

/// A name as an early contract returns it: one word.
fn name() -> Result<Value, Value> {
    Ok(json!(format!("0x{:0<64}", "4d4b52")))
}

/// Asks so many contracts of a node that answers `eth_call` in its own way and may refuse whole
/// requests, until it is `enough`.
/// Gives what was described and how often each contract was asked for its name.
async fn described(
    count: usize,
    call: impl Fn(usize, usize) -> Result<Value, Value> + Send + Sync + 'static,
    whole: impl Fn(&Value) -> Option<Reply> + Send + Sync + 'static,
    enough: impl Fn(&[TokenDescribed]) -> bool,
) -> (Vec<TokenDescribed>, BTreeMap<usize, usize>) {
    let (chain, answer) = chain_with_tokens(count);
    let asked = Arc::new(Mutex::new(BTreeMap::<usize, usize>::new()));
    let (served, seen) = (Arc::clone(&chain), Arc::clone(&asked));
    let node = FakeNode::new(move |request| {
        if let Some(refused) = whole(&request) {
            return refused;
        }
        Reply::Json(answer_all(&request, &|method, params| {
            if method != "eth_call" {
                return answer(&served, method, params);
            }
            let to = params[0]["to"].as_str().unwrap().trim_start_matches("0x");
            let number = usize::from_str_radix(to, 16).unwrap();
            let mut seen = seen.lock().unwrap();
            let times = seen.entry(number).or_default();
            *times += usize::from(params[0]["data"] == "0x06fdde03");
            call(number, *times)
        }))
    })
    .await;
    let world = World::new().await;
    let mut config = node_config("eth", node.url.clone());
    config.retry.base = Duration::from_micros(20);
    let source = world.follow(config);
    world.reach("eth", head(&chain)).await;
    let mut tokens = Vec::new();
    for _ in 0..400 {
        tokens = world.events().await.into_iter().filter_map(token).collect();
        if enough(&tokens) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    source.stop().await;
    let asked = asked.lock().unwrap().clone();
    (tokens, asked)
}

fn token(event: Event) -> Option<TokenDescribed> {
    match event {
        Event::TokenDescribed(token) => Some(token),
        _ => None,
    }
}

fn of(tokens: &[TokenDescribed], number: usize) -> Vec<Option<&str>> {
    let address: Address = contract(number).parse().unwrap();
    let own = tokens.iter().filter(|token| token.contract == address);
    own.map(|token| token.name.as_deref()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_definite_answer_of_a_contract_counts_as_no_name() {
    let call = |number: usize, times: usize| match number {
        0 => Err(json!({"code": 3, "message": "execution reverted: method not found"})),
        1 => Ok(json!("0x")),
        2 => Ok(json!("0x1234")),
        3 if times <= 2 => Err(json!({"code": -32000, "message": "header not found"})),
        4 if times <= 2 => Err(json!({"code": -32603, "message": "internal error"})),
        5 if times <= 2 => Err(json!({"code": 429, "message": "too many requests"})),
        6 if times <= 2 => Err(json!({"code": -32000, "message": "execution timeout"})),
        _ => name(),
    };
    let (tokens, _) = described(8, call, |_| None, |tokens| tokens.len() == 8).await;
    for number in 0..3 {
        assert_eq!(of(&tokens, number), [None], "contract {number}");
    }
    for number in 3..8 {
        assert_eq!(of(&tokens, number), [Some("MKR")], "contract {number}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_that_never_answers_delays_no_other_and_is_let_be_in_the_end() {
    let call = |number: usize, _| match number {
        40 => Err(json!({"code": -32000, "message": "execution aborted (timeout = 5s)"})),
        _ => name(),
    };
    let (tokens, asked) = described(80, call, |_| None, |_| false).await;
    assert_eq!(tokens.len(), 79);
    assert_eq!(of(&tokens, 40), [] as [Option<&str>; 0]);
    assert!((2..=12).contains(&asked[&40]), "asked {} times", asked[&40]);
    let others = asked.iter().filter(|(number, _)| **number != 40);
    assert!(others.clone().all(|(_, times)| *times == 1), "{asked:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_that_breaks_whole_requests_delays_no_other() {
    let enough = |tokens: &[TokenDescribed]| tokens.len() == 79;
    let breaks = |request: &Value| {
        let poisoned = request.to_string().contains(&contract(40));
        poisoned.then(|| Reply::Raw(500, "", "it breaks me".into()))
    };
    let (tokens, _) = described(80, |_, _| name(), breaks, enough).await;
    assert_eq!(tokens.len(), 79);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_allows_few_calls_at_a_time_is_asked_for_fewer() {
    let enough = |tokens: &[TokenDescribed]| tokens.len() == 80;
    let limits = |request: &Value| {
        let is_call = |calls: &Vec<Value>| calls[0]["method"] == "eth_call" && calls.len() > 30;
        let many = request.as_array().is_some_and(is_call);
        many.then(|| Reply::Raw(429, "", "slow down".into()))
    };
    let (tokens, _) = described(80, |_, _| name(), limits, enough).await;
    assert_eq!(tokens.len(), 80);
}
