//! Tokens on a real node, and random traffic with them.

use std::fs;

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

use super::node::Anvil;
use crate::support::process::repository;

/// A contract of `ops/contracts` on a node.
pub(super) struct Contract {
    pub(super) address: String,
    methods: Value,
}

impl Contract {
    async fn deploy(anvil: &Anvil, from: &str, name: &str) -> Self {
        let path = repository().join("ops/contracts/artifacts.json");
        let artifacts: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let artifact = &artifacts[name];
        let creation = json!({"from": from, "data": artifact["bytecode"], "gas": "0x2dc6c0"});
        let receipt = anvil.send(creation).await;
        assert_eq!(receipt["status"], "0x1", "{receipt}");
        Self {
            address: receipt["contractAddress"].as_str().unwrap().to_owned(),
            methods: artifact["methods"].clone(),
        }
    }

    /// Data of a call; each argument is one word, in hex.
    pub(super) fn data(&self, signature: &str, arguments: &[&str]) -> String {
        let selector = self.methods[signature].as_str().unwrap();
        let word = |argument: &&str| format!("{:0>64}", argument.trim_start_matches("0x"));
        format!(
            "0x{selector}{}",
            arguments.iter().map(word).collect::<String>()
        )
    }

    /// What a call that changes nothing answers at the end of a block; none where it is refused.
    pub(super) async fn ask(
        &self,
        anvil: &Anvil,
        height: u64,
        signature: &str,
        arguments: &[&str],
    ) -> Option<String> {
        let call = json!({"to": self.address, "data": self.data(signature, arguments)});
        let answer = anvil
            .try_call("eth_call", json!([call, format!("0x{height:x}")]))
            .await;
        Some(answer?["result"].as_str()?.to_owned())
    }
}

/// Numbers that collectibles have here.
pub(super) const COLLECTIBLES: u64 = 6;

/// An ERC-20 token, an ERC-721 collection, and who uses them.
pub(super) struct Tokens {
    pub(super) coin: Contract,
    pub(super) collectible: Contract,
    pub(super) accounts: Vec<String>,
    random: StdRng,
}

impl Tokens {
    pub(super) async fn deploy(anvil: &Anvil, seed: u64) -> Self {
        let accounts = anvil.call("eth_accounts", json!([])).await;
        let accounts: Vec<_> = accounts.as_array().unwrap().iter().take(5).collect();
        let accounts: Vec<_> = accounts
            .iter()
            .map(|a| a.as_str().unwrap().to_owned())
            .collect();
        Self {
            coin: Contract::deploy(anvil, &accounts[0], "DemoToken").await,
            collectible: Contract::deploy(anvil, &accounts[0], "DemoCollectible").await,
            accounts,
            random: StdRng::seed_from_u64(seed),
        }
    }

    fn account(&mut self) -> String {
        self.accounts[self.random.random_range(0..self.accounts.len())].clone()
    }

    /// A transfer or a mint. Nobody looks first whether it can succeed, so some fail.
    pub(super) fn transaction(&mut self) -> Value {
        let (from, to) = (self.account(), self.account());
        let number = format!("{:x}", self.random.random_range(0..COLLECTIBLES));
        let amount = format!("{:x}", self.random.random_range(1..1000));
        let (contract, data) = match self.random.random_range(0..5) {
            0 => {
                return json!({"from": from, "to": to, "value": format!("0x{amount}"), "gas": "0x5208"});
            }
            1 | 2 => (
                &self.coin,
                self.coin.data("transfer(address,uint256)", &[&to, &amount]),
            ),
            3 => (
                &self.collectible,
                self.collectible
                    .data("mint(address,uint256)", &[&to, &number]),
            ),
            _ => {
                let arguments = [&from[..], &to, &number];
                let signature = "transferFrom(address,address,uint256)";
                (
                    &self.collectible,
                    self.collectible.data(signature, &arguments),
                )
            }
        };
        json!({"from": from, "to": contract.address, "data": data, "gas": "0x30d40"})
    }

    /// Blocks with up to three transactions each.
    pub(super) async fn traffic(&mut self, anvil: &Anvil, blocks: usize) {
        anvil.call("evm_setAutomine", json!([false])).await;
        for _ in 0..blocks {
            for _ in 0..self.random.random_range(0..=3) {
                anvil
                    .call("eth_sendTransaction", json!([self.transaction()]))
                    .await;
            }
            anvil.call("evm_mine", json!([])).await;
        }
        anvil.call("evm_setAutomine", json!([true])).await;
    }
}
