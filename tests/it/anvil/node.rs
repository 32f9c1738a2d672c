//! A real node of the tests' own.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use cairn_domain::BlockRef;
use cairn_engine::sources::SourceConfig;
use serde_json::{Value, json};

use crate::sources_world::node_config;

/// An anvil of its own on a free port of the loopback; it ends with the value.
pub(super) struct Anvil {
    child: Child,
    pub(super) url: String,
    port: u16,
    client: reqwest::Client,
}

impl Drop for Anvil {
    fn drop(&mut self) {
        // It may have ended by itself; then there is nothing to do.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

fn binary() -> PathBuf {
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/tools");
    let path = tools.join("node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil");
    assert!(
        path.exists(),
        "{} is missing: run ops/setup.sh",
        path.display()
    );
    path
}

impl Anvil {
    pub(super) async fn start(port: Option<u16>, arguments: &[&str]) -> Self {
        let free = || {
            std::net::TcpListener::bind("127.0.0.1:0")
                .unwrap()
                .local_addr()
                .unwrap()
                .port()
        };
        let port = port.unwrap_or_else(free);
        let child = Command::new(binary())
            .args([
                "--host",
                "127.0.0.1",
                "--port",
                &port.to_string(),
                "--silent",
            ])
            .args(arguments)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let url = format!("http://127.0.0.1:{port}");
        let anvil = Self {
            child,
            url,
            port,
            client: reqwest::Client::new(),
        };
        let started = Instant::now();
        while anvil.try_call("eth_chainId", json!([])).await.is_none() {
            assert!(
                started.elapsed() < Duration::from_secs(20),
                "anvil does not answer"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anvil
    }

    pub(super) async fn try_call(&self, method: &str, params: Value) -> Option<Value> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let response = self.client.post(&self.url).json(&body).send().await.ok()?;
        response.json().await.ok()
    }

    pub(super) async fn call(&self, method: &str, params: Value) -> Value {
        let answer = self.try_call(method, params).await.expect("anvil answers");
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    pub(super) async fn head(&self) -> BlockRef {
        let block = self
            .call("eth_getBlockByNumber", json!(["latest", false]))
            .await;
        let height = u64::from_str_radix(&block["number"].as_str().unwrap()[2..], 16).unwrap();
        BlockRef {
            height,
            hash: block["hash"].as_str().unwrap().parse().unwrap(),
        }
    }

    /// Transfers between the accounts that anvil starts with, a block each.
    pub(super) async fn transfer(&self, count: usize) {
        let accounts = self.call("eth_accounts", json!([])).await;
        for index in 0..count {
            let (from, to) = (&accounts[index % 10], &accounts[(index + 1) % 10]);
            let transaction =
                json!({"from": from, "to": to, "value": format!("0x{:x}", index + 1)});
            self.send(transaction).await;
        }
    }

    /// Sends a transaction and returns its receipt once it is mined.
    pub(super) async fn send(&self, transaction: Value) -> Value {
        let hash = self.call("eth_sendTransaction", json!([transaction])).await;
        loop {
            let receipt = self.call("eth_getTransactionReceipt", json!([hash])).await;
            if !receipt.is_null() {
                return receipt;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Starts it again where it was, once it has ended.
    pub(super) async fn restart(self, arguments: &[&str]) -> Self {
        Self::start(Some(self.port), arguments).await
    }

    /// Ends it in the way that lets it keep its state.
    pub(super) fn terminate(&mut self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").arg(&pid).status().unwrap().success());
        self.child.wait().unwrap();
    }

    pub(super) fn config(&self) -> SourceConfig {
        let mut config = node_config("anvil", self.url.clone());
        config.ws = Some(format!("ws://127.0.0.1:{}", self.port));
        config
    }
}
