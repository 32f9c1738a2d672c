//! Asks token contracts what they call themselves, once each.

use std::{collections::HashSet, ops::ControlFlow};

use cairn_domain::{Address, events::TokenDescribed, projections::tokens::UndescribedTokens};
use serde_json::json;

use super::{
    node::Node,
    rpc::{Answer, Call, RpcError},
};
use crate::{
    sources::{ChainWriter, SourceError},
    store::StoreError,
};

/// Contracts that are asked at a time.
const BATCH: usize = 64;
/// The longest name that is kept, in characters.
const LONGEST: usize = 128;
/// Selectors of `name()`, `symbol()` and `decimals()`.
const SELECTORS: [&str; 3] = ["0x06fdde03", "0x95d89b41", "0x313ce567"];

/// Remembers whom it has asked until the fold has caught up.
#[derive(Debug, Default)]
pub(super) struct TokenAsker {
    asked: HashSet<Address>,
}

impl TokenAsker {
    /// Asks the contracts that have not told their name. A node that fails to answer is asked again
    /// in a later round.
    pub(super) async fn ask(
        &mut self,
        node: &Node,
        chain: &mut ChainWriter,
    ) -> Result<(), SourceError> {
        let contracts = self.unasked(chain)?;
        if contracts.is_empty() {
            return Ok(());
        }
        match describe(node, &contracts).await {
            Ok(tokens) => {
                for token in tokens {
                    self.asked.insert(token.contract.clone());
                    chain.describe(token).await?;
                }
                chain.flush().await
            }
            Err(error) => {
                tracing::debug!(%error, "token contracts could not be asked; trying again later");
                Ok(())
            }
        }
    }

    fn unasked(&mut self, chain: &ChainWriter) -> Result<Vec<Address>, SourceError> {
        let mut waiting = HashSet::new();
        let mut contracts = Vec::new();
        let view = match chain.view() {
            // Names can wait until the projection is there again.
            Err(SourceError::Store(StoreError::Unavailable { .. })) => return Ok(contracts),
            view => view?,
        };
        let scanned = view.scan::<UndescribedTokens>(chain.stream(), &(), None, |row| {
            let contract = row.key.contract;
            if self.asked.contains(&contract) {
                waiting.insert(contract);
            } else {
                contracts.push(contract);
            }
            let full = contracts.len() == BATCH;
            Ok(if full {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        });
        match scanned {
            Err(StoreError::Unavailable { .. }) => return Ok(Vec::new()),
            other => other?,
        }
        if contracts.len() < BATCH {
            // The table was seen to its end: whoever is not in it any more has been folded.
            self.asked = waiting;
        }
        Ok(contracts)
    }
}

async fn describe(node: &Node, contracts: &[Address]) -> Result<Vec<TokenDescribed>, RpcError> {
    let calls = contracts.iter().flat_map(|contract| {
        SELECTORS.map(|data| Call {
            method: "eth_call",
            params: json!([{"to": contract, "data": data}, "latest"]),
        })
    });
    let answers = node.rpc.send(calls.collect()).await?;
    let answers = answers.get()?;
    let mut tokens = Vec::with_capacity(contracts.len());
    for (contract, fields) in contracts.iter().zip(answers.chunks(SELECTORS.len())) {
        let [name, symbol, decimals] = fields else {
            continue;
        };
        tokens.push(TokenDescribed {
            contract: contract.clone(),
            name: bytes(name)?.as_deref().and_then(text),
            symbol: bytes(symbol)?.as_deref().and_then(text),
            decimals: bytes(decimals)?.as_deref().and_then(small_number),
        });
    }
    Ok(tokens)
}

/// What a contract returned; none where it failed, which is its answer, too.
fn bytes(answer: &Answer<'_>) -> Result<Option<Vec<u8>>, RpcError> {
    match answer {
        Ok(Some(text)) => Ok(const_hex::decode(text.trim_matches('"')).ok()),
        Ok(None) | Err(RpcError::Refused { .. }) => Ok(None),
        Err(error) => Err(error.clone()),
    }
}

/// A text as contracts return it: an ABI `string`, or 32 bytes padded with zeros as early ones do.
fn text(bytes: &[u8]) -> Option<String> {
    let raw = match bytes.len() {
        32 => bytes.split(|byte| *byte == 0).next()?,
        _ => {
            let offset = usize::try_from(word(bytes, 0)?).ok()?;
            let length = usize::try_from(word(bytes, offset)?).ok()?;
            let start = offset.checked_add(32)?;
            bytes.get(start..start.checked_add(length)?)?
        }
    };
    let clean: String = String::from_utf8_lossy(raw)
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    let clean: String = clean.trim().chars().take(LONGEST).collect();
    (!clean.is_empty()).then_some(clean)
}

fn small_number(bytes: &[u8]) -> Option<u8> {
    u8::try_from(word(bytes, 0)?).ok()
}

/// A word of 32 bytes as a number, if it is small enough to be a length or an offset.
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let word = bytes.get(at..at.checked_add(32)?)?;
    let (high, low) = word.split_last_chunk::<8>()?;
    high.iter()
        .all(|byte| *byte == 0)
        .then(|| u64::from_be_bytes(*low))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn abi(text: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[31] = 32;
        bytes[56..64].copy_from_slice(&(text.len() as u64).to_be_bytes());
        bytes.extend_from_slice(text);
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        bytes
    }

    #[test]
    fn names_come_as_strings_and_as_padded_words() {
        assert_eq!(text(&abi(b"Demo Token")).as_deref(), Some("Demo Token"));
        let mut word = [0; 32];
        word[..3].copy_from_slice(b"MKR");
        assert_eq!(text(&word).as_deref(), Some("MKR"));
    }

    #[test]
    fn garbage_is_no_name_and_no_panic() {
        assert_eq!(text(&[]), None);
        assert_eq!(text(&[0xff; 64]), None);
        assert_eq!(text(&abi(b"")), None);
        let mut long = abi(b"x");
        long[56..64].copy_from_slice(&u64::MAX.to_be_bytes());
        assert_eq!(text(&long), None);
        assert_eq!(text(&abi(b"a\x00\x07b\n")).as_deref(), Some("ab"));
        assert_eq!(
            text(&abi(&[b'x'; 5000])).map(|text| text.len()),
            Some(LONGEST)
        );
        assert_eq!(small_number(&[0xff; 32]), None);
    }
}
