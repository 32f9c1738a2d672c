//! The questions that a source asks its node.

use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::{
    answers::Answers,
    json::{Header, decode_header},
    rpc::{Call, Rpc, RpcError},
};
use crate::sources::{SourceConfig, SourceError};

/// A node, and what was learnt about it.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) rpc: Rpc,
    /// Whether receipts are wanted.
    pub(super) receipts: bool,
    /// Whether it knows `eth_getBlockReceipts`.
    block_receipts: AtomicBool,
}

/// Both ends of what a node can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ends {
    /// Its head.
    pub(super) head: Header,
    /// What it calls final.
    pub(super) finalized: Option<Header>,
}

pub(super) fn quantity(number: u64) -> String {
    format!("0x{number:x}")
}

pub(super) fn block_call(tag: &str, full: bool) -> Call {
    Call {
        method: "eth_getBlockByNumber",
        params: json!([tag, full]),
    }
}

impl Node {
    pub(super) fn new(config: &SourceConfig) -> Result<Self, SourceError> {
        let wrong = |reason| SourceError::Config {
            name: config.name.clone(),
            reason,
        };
        let url = config.url.as_deref();
        let url = url.ok_or_else(|| wrong("key `url` is missing: say where the node is".into()))?;
        Ok(Self {
            rpc: Rpc::new(url, &config.retry).map_err(wrong)?,
            receipts: config.receipts,
            block_receipts: AtomicBool::new(true),
        })
    }

    /// Whether to ask for all receipts of a block at once.
    pub(super) fn has_block_receipts(&self) -> bool {
        self.block_receipts.load(Ordering::Relaxed)
    }

    /// Remembers that it does not know `eth_getBlockReceipts`.
    pub(super) fn lacks_block_receipts(&self) {
        if self.block_receipts.swap(false, Ordering::Relaxed) {
            tracing::info!("the node does not know eth_getBlockReceipts; asking for each receipt");
        }
    }

    /// How many blocks fit into one request, receipts included; at least one.
    pub(super) fn blocks_at_once(&self) -> u64 {
        let calls = 1 + usize::from(self.receipts && self.has_block_receipts());
        (self.rpc.batches.size() / calls).max(1) as u64
    }

    async fn ask(&self, call: Call) -> Result<Answers, RpcError> {
        self.rpc.send(vec![call]).await
    }

    /// The chain's id.
    pub(super) async fn chain_id(&self) -> Result<u64, RpcError> {
        let answers = self
            .ask(Call {
                method: "eth_chainId",
                params: json!([]),
            })
            .await?;
        let text = answers
            .get()?
            .remove(0)?
            .unwrap_or_default()
            .trim_matches('"')
            .to_owned();
        super::hex::number(&text)
            .map_err(|reason| RpcError::Unavailable(format!("eth_chainId answered {reason}")))
    }

    /// Its head, and what it calls final.
    pub(super) async fn ends(&self) -> Result<Ends, RpcError> {
        let calls = vec![block_call("latest", false), block_call("finalized", false)];
        let answers = self.rpc.ask_all(&calls).await?;
        let mut answers = answers.get().into_iter();
        let nothing = || RpcError::Unavailable("it has no latest block".into());
        let head = answers.next().ok_or_else(nothing)??.ok_or_else(nothing)?;
        let head = decode_header(head).map_err(|error| RpcError::Unavailable(error.to_string()))?;
        // Many chains have no such tag: any answer that is no block means that.
        let finalized = answers.next().and_then(Result::ok).flatten();
        Ok(Ends {
            head,
            finalized: finalized.and_then(|text| decode_header(text).ok()),
        })
    }

    /// The headers at heights, lowest first; none where the node has no block.
    pub(super) async fn headers(
        &self,
        low: u64,
        high: u64,
    ) -> Result<Vec<Option<Header>>, RpcError> {
        let calls: Vec<_> = (low..=high)
            .map(|height| block_call(&quantity(height), false))
            .collect();
        let answers = self.rpc.ask_all(&calls).await?;
        let mut headers = Vec::new();
        for answer in answers.get() {
            let header = answer?.map(decode_header).transpose();
            headers.push(header.map_err(|error| RpcError::Unavailable(error.to_string()))?);
        }
        Ok(headers)
    }
}
