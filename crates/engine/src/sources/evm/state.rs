//! Balances as the chain's own node has them.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use cairn_domain::{Address, Amount, BlockRef};
use serde_json::{Value, json};

use super::{
    hex,
    node::{Node, quantity},
    rpc::{Call, RpcError},
};
use crate::sources::{NodeState, SourceConfig, SourceError};

/// A node that is asked for balances.
#[derive(Debug)]
pub struct EvmNodeState {
    node: Node,
    /// Whether it takes a block's hash in place of its number (EIP-1898).
    by_hash: AtomicBool,
}

impl EvmNodeState {
    /// The node of a source.
    ///
    /// # Errors
    /// [`SourceError::Config`] when its address cannot be used.
    pub fn new(config: &SourceConfig) -> Result<Self, SourceError> {
        Ok(Self {
            node: Node::new(config)?,
            by_hash: AtomicBool::new(true),
        })
    }

    async fn ask(&self, address: &Address, block: Value) -> Result<Amount, RpcError> {
        let call = Call {
            method: "eth_getBalance",
            params: json!([address, block]),
        };
        let answers = self.node.rpc.send(vec![call]).await?;
        let text = answers
            .get()?
            .remove(0)?
            .unwrap_or("null")
            .trim_matches('"')
            .to_owned();
        hex::amount(&text)
            .map_err(|reason| RpcError::Unavailable(format!("eth_getBalance answered {reason}")))
    }
}

#[async_trait]
impl NodeState for EvmNodeState {
    async fn balance(&self, address: &Address, block: BlockRef) -> Result<Amount, String> {
        if self.by_hash.load(Ordering::Relaxed) {
            let named = json!({"blockHash": block.hash, "requireCanonical": true});
            match self.ask(address, named).await {
                // Invalid params or request: it knows numbers only.
                Err(RpcError::Refused {
                    code: -32602 | -32600,
                    ..
                }) => {
                    self.by_hash.store(false, Ordering::Relaxed);
                }
                answer => return answer.map_err(|error| format!("{block}: {error}")),
            }
        }
        let answer = self.ask(address, json!(quantity(block.height))).await;
        answer.map_err(|error| format!("{block}: {error}"))
    }
}
