//! Token transfers as contracts report them: ERC-20, ERC-721 and ERC-1155 logs.
//!
//! Sources: EIP-20, EIP-721 and EIP-1155 for the signatures and what is indexed.

use std::fmt;

use bincode::{Decode, Encode};
use ruint::aliases::U256;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    events::Log,
    primitives::{Address, Amount, Hash},
};

/// `keccak256("Transfer(address,address,uint256)")`
pub const TRANSFER: Hash =
    topic("ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef");
/// `keccak256("TransferSingle(address,address,address,uint256,uint256)")`
pub const TRANSFER_SINGLE: Hash =
    topic("c3d58168c5ae7397731d063d5bbf3d657854427343f4c083240f7aacaa2d0f62");
/// `keccak256("TransferBatch(address,address,address,uint256[],uint256[])")`
pub const TRANSFER_BATCH: Hash =
    topic("4a39dc06d4c0dbc64b70af90fd698a233a518aa5d07e595d983b8c0526c8f7fb");
/// `keccak256("Approval(address,address,uint256)")`
pub const APPROVAL: Hash =
    topic("8c5be1e5ebec7d5bd14f71427d1e84f3dd0314c0f7b2291e5b200ac8c7c3b925");
/// `keccak256("ApprovalForAll(address,address,bool)")`
pub const APPROVAL_FOR_ALL: Hash =
    topic("17307eab39ab6107e8899845ad3d59bd9653f200f220920489ca2b5937696c31");
/// `keccak256("URI(string,uint256)")`
pub const URI: Hash = topic("6bb7ff708619ba0610cba295a58592e0451dee2622938c8755667688daf3529b");

const fn topic(hex: &str) -> Hash {
    match const_hex::const_decode_to_array(hex.as_bytes()) {
        Ok(bytes) => Hash(bytes),
        Err(_) => panic!("a topic is 64 hex digits"),
    }
}

/// Which token standard a contract follows, as its logs show.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    Encode,
    Decode,
    JsonSchema,
)]
pub enum TokenStandard {
    /// Fungible tokens (EIP-20).
    #[serde(rename = "ERC-20")]
    Erc20,
    /// One token a number (EIP-721).
    #[serde(rename = "ERC-721")]
    Erc721,
    /// Several amounts a number (EIP-1155).
    #[serde(rename = "ERC-1155")]
    Erc1155,
}

impl fmt::Display for TokenStandard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Erc20 => "ERC-20",
            Self::Erc721 => "ERC-721",
            Self::Erc1155 => "ERC-1155",
        })
    }
}

/// One movement of one token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// The standard whose log it is.
    pub standard: TokenStandard,
    /// Who gave; the zero address for a mint.
    pub from: Address,
    /// Who got; the zero address for a burn.
    pub to: Address,
    /// The token's number; 0 for ERC-20.
    pub token_id: Amount,
    /// How much; 1 for ERC-721.
    pub amount: Amount,
}

fn address(word: &Hash) -> Address {
    let mut bytes = [0; 20];
    bytes.copy_from_slice(&word.0[12..]);
    Address::Evm(bytes)
}

fn word(data: &[u8], index: usize) -> Option<Amount> {
    let start = index.checked_mul(32)?;
    let bytes = data.get(start..start.checked_add(32)?)?;
    U256::try_from_be_slice(bytes).map(Amount)
}

/// Reads the dynamic `uint256[]` whose offset stands in word `index` of the data.
fn words(data: &[u8], index: usize) -> Option<Vec<Amount>> {
    let offset = usize::try_from(word(data, index)?.0).ok()?;
    let array = data.get(offset..)?;
    let length = usize::try_from(word(array, 0)?.0).ok()?;
    // A length that the data cannot hold is refused before anything is reserved for it.
    let elements = array.get(32..32usize.checked_add(length.checked_mul(32)?)?)?;
    (0..length).map(|index| word(elements, index)).collect()
}

/// The transfers that a log reports, in order; none where it reports something else, or claims to
/// be a transfer but does not have its shape.
pub fn transfers(log: &Log) -> Vec<Transfer> {
    let data = &log.data.0;
    let one = |standard, from, to, token_id, amount| {
        vec![Transfer {
            standard,
            from: address(from),
            to: address(to),
            token_id,
            amount,
        }]
    };
    match log.topics.as_slice() {
        [TRANSFER, from, to] if data.len() == 32 => {
            let amount = word(data, 0).unwrap_or_default();
            one(TokenStandard::Erc20, from, to, Amount::default(), amount)
        }
        [TRANSFER, from, to, id] => {
            let id = Amount(U256::from_be_bytes(id.0));
            one(TokenStandard::Erc721, from, to, id, Amount::from(1))
        }
        [TRANSFER_SINGLE, _operator, from, to] => match (word(data, 0), word(data, 1)) {
            (Some(id), Some(amount)) => one(TokenStandard::Erc1155, from, to, id, amount),
            _ => Vec::new(),
        },
        [TRANSFER_BATCH, _operator, from, to] => batch(data, from, to).unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn batch(data: &[u8], from: &Hash, to: &Hash) -> Option<Vec<Transfer>> {
    let (ids, amounts) = (words(data, 0)?, words(data, 1)?);
    if ids.len() != amounts.len() {
        return None;
    }
    let (from, to) = (address(from), address(to));
    let transfer = |(token_id, amount)| Transfer {
        standard: TokenStandard::Erc1155,
        from: from.clone(),
        to: to.clone(),
        token_id,
        amount,
    };
    Some(ids.into_iter().zip(amounts).map(transfer).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::primitives::Bytes;

    fn log(topics: &[Hash], words: &[u64]) -> Log {
        let word = |word: &u64| U256::from(*word).to_be_bytes::<32>();
        let data = words.iter().flat_map(word).collect();
        Log {
            index: 0,
            address: Address::ZERO,
            topics: topics.to_vec(),
            data: Bytes(data),
        }
    }

    const A: Hash = Hash([1; 32]);
    const B: Hash = Hash([2; 32]);

    #[test]
    fn the_three_standards_are_told_apart() {
        let erc20 = transfers(&log(&[TRANSFER, A, B], &[5]));
        assert_eq!(
            (erc20[0].standard, erc20[0].amount),
            (TokenStandard::Erc20, Amount::from(5))
        );
        let erc721 = transfers(&log(&[TRANSFER, A, B, Hash([0; 32])], &[]));
        assert_eq!(erc721[0].standard, TokenStandard::Erc721);
        let single = transfers(&log(&[TRANSFER_SINGLE, A, A, B], &[9, 4]));
        assert_eq!(
            (single[0].token_id, single[0].amount),
            (Amount::from(9), Amount::from(4))
        );
        let batch = transfers(&log(
            &[TRANSFER_BATCH, A, A, B],
            &[64, 160, 2, 7, 8, 2, 70, 80],
        ));
        let parts: Vec<_> = batch.iter().map(|t| (t.token_id, t.amount)).collect();
        let expected = [(7, 70), (8, 80)].map(|(id, n)| (Amount::from(id), Amount::from(n)));
        assert_eq!(parts, expected);
    }

    #[test]
    fn a_log_of_the_wrong_shape_is_no_transfer() {
        assert!(transfers(&log(&[TRANSFER, A], &[5])).is_empty());
        assert!(transfers(&log(&[TRANSFER_SINGLE, A, A, B], &[9])).is_empty());
        assert!(transfers(&log(&[TRANSFER_BATCH, A, A, B], &[64, u64::MAX])).is_empty());
        assert!(transfers(&log(&[TRANSFER_BATCH, A, A, B], &[64, 160, 2, 7, 8, 1, 70])).is_empty());
        assert!(transfers(&log(&[], &[])).is_empty());
    }
}
