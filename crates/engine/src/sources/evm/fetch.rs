//! Blocks with their receipts, by height.

use std::{collections::BTreeMap, ops::RangeInclusive, sync::Arc};

use cairn_domain::{BlockRef, Hash};
use serde_json::json;

use super::{
    answers::{Answer, Answers},
    json::{DecodeError, DecodedBlock, decode, decode_header},
    node::{Node, block_call, quantity},
    rpc::{Call, RpcError},
};

/// Receipts that are asked for one by one go in batches of this many at most.
const RECEIPT_BATCH: usize = 100;
const BLOCK_RECEIPTS: &str = "eth_getBlockReceipts";

/// Blocks in order, as far as they decode.
#[derive(Debug, Default)]
pub(super) struct Fetched {
    pub(super) blocks: Vec<DecodedBlock>,
    /// What stands behind them and does not decode.
    pub(super) undecodable: Option<Undecodable>,
    /// Bytes that came for it.
    pub(super) bytes: usize,
}

/// A block that does not decode, as it came.
#[derive(Debug, Clone)]
pub(super) struct Undecodable {
    pub(super) height: u64,
    pub(super) reference: Option<BlockRef>,
    pub(super) error: DecodeError,
    pub(super) block: String,
    pub(super) receipts: Option<String>,
}

/// Fetches all blocks of a range in one request, receipts included where the node can. Only a block
/// alone comes in two where the node takes no batches.
pub(super) async fn blocks(
    node: &Arc<Node>,
    range: RangeInclusive<u64>,
) -> Result<Fetched, RpcError> {
    loop {
        let together = node.receipts && node.has_block_receipts();
        let calls = calls(range.clone(), together);
        let at_once = calls.len().min(node.rpc.batches.size());
        match look(node, &calls, range.clone(), together).await {
            Ok(decoded) => {
                node.rpc.batches.answered(at_once);
                return match decoded {
                    Decoded::Complete(fetched) => Ok(fetched),
                    Decoded::WithoutReceipts(texts, bytes) => {
                        with_receipts(node, texts, bytes).await
                    }
                };
            }
            Err(RpcError::NoMethod(BLOCK_RECEIPTS)) if together => node.lacks_block_receipts(),
            Err(error @ RpcError::TooMuch(_)) if at_once > 1 => {
                node.rpc.batches.refused(at_once);
                if range.start() < range.end() {
                    return Err(error);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

async fn look(
    node: &Arc<Node>,
    calls: &[Call],
    range: RangeInclusive<u64>,
    together: bool,
) -> Result<Decoded, RpcError> {
    let answers = node.rpc.send_in_batches(calls).await?;
    let alone = node.receipts && !together;
    blocking(move || decode_all(&answers, range, together, alone)).await?
}

fn calls(range: RangeInclusive<u64>, receipts: bool) -> Vec<Call> {
    let mut calls = Vec::new();
    for height in range {
        let number = quantity(height);
        calls.push(block_call(&number, true));
        if receipts {
            calls.push(Call {
                method: BLOCK_RECEIPTS,
                params: json!([number]),
            });
        }
    }
    calls
}

/// Runs work that needs a processor beside the tasks that wait.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, RpcError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| RpcError::Unavailable(format!("the decoder stopped: {error}")))
}

enum Decoded {
    Complete(Fetched),
    /// The texts of blocks whose receipts must be asked for one by one, with the size of it all.
    WithoutReceipts(Vec<(u64, String)>, usize),
}

fn decode_all(
    answers: &[Answers],
    range: RangeInclusive<u64>,
    together: bool,
    alone: bool,
) -> Result<Decoded, RpcError> {
    let bytes = answers.iter().map(Answers::bytes).sum();
    let given: Result<Vec<_>, _> = answers.iter().map(Answers::get).collect();
    let mut given = given?.into_iter().flatten();
    let mut fetched = Fetched {
        bytes,
        ..Fetched::default()
    };
    let mut texts = Vec::new();
    for height in range {
        let block = needed(given.next(), "block", height)?;
        if alone {
            texts.push((height, block.to_owned()));
            continue;
        }
        let receipts = if together {
            receipts(given.next(), block, height)?
        } else {
            None
        };
        if !fetched.take(height, block, receipts) {
            break;
        }
    }
    Ok(if alone {
        Decoded::WithoutReceipts(texts, bytes)
    } else {
        Decoded::Complete(fetched)
    })
}

fn needed<'a>(answer: Option<Answer<'a>>, what: &str, height: u64) -> Result<&'a str, RpcError> {
    let missing = || {
        RpcError::Unavailable(format!(
            "it does not have the {what} of height {height} (yet)"
        ))
    };
    answer.ok_or_else(missing)??.ok_or_else(missing)
}

/// The receipts of a block. Nodes that answer null for a block without transactions mean none.
fn receipts<'a>(
    answer: Option<Answer<'a>>,
    block: &str,
    height: u64,
) -> Result<Option<&'a str>, RpcError> {
    match answer {
        Some(Ok(None)) if decode(block, None).is_ok_and(|block| block.transactions.is_empty()) => {
            Ok(Some("[]"))
        }
        answer => needed(answer, "receipts", height).map(Some),
    }
}

impl Fetched {
    /// Decodes a block behind the others; says whether it did.
    fn take(&mut self, height: u64, block: &str, receipts: Option<&str>) -> bool {
        let error = match decode(block, receipts) {
            Ok(decoded) if decoded.reference().height == height => {
                self.blocks.push(decoded);
                return true;
            }
            Ok(decoded) => DecodeError::Contradiction {
                subject: decoded.reference().to_string(),
                reason: format!("it was asked for as block {height}"),
            },
            Err(error) => error,
        };
        self.undecodable = Some(Undecodable {
            height,
            reference: decode_header(block).ok().map(|header| header.block),
            error,
            block: block.to_owned(),
            receipts: receipts.map(str::to_owned),
        });
        false
    }
}

/// Asks for the receipts of each transaction of blocks, many blocks at a time, and decodes both.
async fn with_receipts(
    node: &Arc<Node>,
    texts: Vec<(u64, String)>,
    bytes: usize,
) -> Result<Fetched, RpcError> {
    let (texts, wanted) = blocking(move || {
        let wanted = wanted_receipts(&texts);
        (texts, wanted)
    })
    .await?;
    let mut fetched = Fetched {
        bytes,
        ..Fetched::default()
    };
    let receipts = one_by_one(node, &wanted, &mut fetched.bytes).await?;
    blocking(move || {
        for (height, block) in texts {
            let receipts = receipts
                .get(&height)
                .map(|list| format!("[{}]", list.join(",")));
            if !fetched.take(height, &block, receipts.as_deref()) {
                break;
            }
        }
        fetched
    })
    .await
}

/// Each height with its transactions, up to the first block that does not decode.
fn wanted_receipts(texts: &[(u64, String)]) -> Vec<(u64, Vec<Hash>)> {
    let decoded = texts
        .iter()
        .map_while(|(height, block)| Some((*height, decode(block, None).ok()?)));
    let hashes = |block: DecodedBlock| block.transactions.iter().map(|t| t.hash).collect();
    decoded
        .map(|(height, block)| (height, hashes(block)))
        .collect()
}

/// The receipts of each height, each as text.
async fn one_by_one(
    node: &Arc<Node>,
    wanted: &[(u64, Vec<Hash>)],
    bytes: &mut usize,
) -> Result<BTreeMap<u64, Vec<String>>, RpcError> {
    let mut receipts: BTreeMap<u64, Vec<String>> = wanted
        .iter()
        .map(|(height, _)| (*height, Vec::new()))
        .collect();
    let all = wanted.iter();
    let all = all.flat_map(|(height, hashes)| hashes.iter().map(|hash| (*height, *hash)));
    let all: Vec<_> = all.collect();
    for batch in all.chunks(RECEIPT_BATCH) {
        let call = |(_, hash): &(u64, Hash)| Call {
            method: "eth_getTransactionReceipt",
            params: json!([hash]),
        };
        let calls: Vec<_> = batch.iter().map(call).collect();
        let answers = node.rpc.ask_all(&calls).await?;
        *bytes += answers.bytes;
        for ((height, _), answer) in batch.iter().zip(answers.get()) {
            let text = needed(Some(answer), "receipts", *height)?.to_owned();
            receipts.entry(*height).or_default().push(text);
        }
    }
    Ok(receipts)
}
