//! Tokens.

use cairn_domain::{
    Address, Amount, Balance, Hash,
    projections::tokens::{TokenBalance, TokenContract, TokenTransfer, TokenTransferKey},
    token::TokenStandard,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::Time;
use crate::answer::Model;

/// A token's number; ERC-20 tokens have none.
fn numbered(standard: TokenStandard, token_id: Amount) -> Option<Amount> {
    match standard {
        TokenStandard::Erc20 => None,
        TokenStandard::Erc721 | TokenStandard::Erc1155 => Some(token_id),
    }
}

/// What an address holds of a token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenHolding {
    /// The contract.
    #[schema(value_type = String)]
    pub(crate) contract: Address,
    /// `ERC-20`, `ERC-721` or `ERC-1155`.
    #[schema(value_type = String)]
    pub(crate) standard: TokenStandard,
    /// What the contract calls itself for short, if it was asked and said so.
    pub(crate) symbol: Option<String>,
    /// What the contract calls itself.
    pub(crate) name: Option<String>,
    /// Digits of the balance behind the point.
    pub(crate) decimals: Option<u8>,
    /// The token's number; null for ERC-20.
    #[schema(value_type = Option<String>)]
    pub(crate) token_id: Option<Amount>,
    /// The sum of its transfers, in the token's smallest unit.
    #[schema(value_type = String)]
    pub(crate) balance: Balance,
}

impl TokenHolding {
    /// Puts together a balance and what is known of its contract.
    pub(crate) fn new(
        contract: Address,
        token_id: Amount,
        held: TokenBalance,
        token: &TokenContract,
    ) -> Self {
        Self {
            contract,
            standard: held.standard,
            symbol: token.symbol.clone(),
            name: token.name.clone(),
            decimals: token.decimals,
            token_id: numbered(held.standard, token_id),
            balance: held.balance,
        }
    }
}

/// A page of the tokens that an address holds, by contract and number.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenPage {
    /// The tokens.
    pub(crate) tokens: Vec<TokenHolding>,
    /// Number of tokens that the address holds.
    pub(crate) total: u64,
    /// Goes on behind this page, as of the same position; null at the end.
    pub(crate) next_cursor: Option<String>,
}

impl Model for TokenPage {}

/// One movement of one token.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Transfer {
    /// The contract.
    #[schema(value_type = String)]
    pub(crate) contract: Address,
    /// `ERC-20`, `ERC-721` or `ERC-1155`.
    #[schema(value_type = String)]
    pub(crate) standard: TokenStandard,
    /// Who gave; the zero address for a mint.
    #[schema(value_type = String)]
    pub(crate) from_address: Address,
    /// Who got; the zero address for a burn.
    #[schema(value_type = String)]
    pub(crate) to_address: Address,
    /// The token's number; null for ERC-20.
    #[schema(value_type = Option<String>)]
    pub(crate) token_id: Option<Amount>,
    /// How much, in the token's smallest unit.
    #[schema(value_type = String)]
    pub(crate) amount: Amount,
    /// Hash of the transaction.
    #[schema(value_type = String)]
    pub(crate) transaction_hash: Hash,
    /// Height of the block.
    pub(crate) block_height: u64,
    /// Hash of the block.
    #[schema(value_type = String)]
    pub(crate) block_hash: Hash,
    /// Its log's place among the logs of the block.
    pub(crate) log_index: u32,
    /// When the block was made, as it says.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) timestamp: Time,
}

impl From<(TokenTransferKey, TokenTransfer)> for Transfer {
    fn from((key, transfer): (TokenTransferKey, TokenTransfer)) -> Self {
        Self {
            contract: transfer.contract,
            standard: transfer.standard,
            from_address: transfer.from,
            to_address: transfer.to,
            token_id: numbered(transfer.standard, transfer.token_id),
            amount: transfer.amount,
            transaction_hash: transfer.transaction,
            block_height: key.height.0,
            block_hash: key.block,
            log_index: key.log_index.0,
            timestamp: Time(transfer.timestamp),
        }
    }
}

/// A page of token transfers, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TokenTransferPage {
    /// The transfers.
    pub(crate) transfers: Vec<Transfer>,
    /// Goes on behind this page, as of the same position; null at the end.
    pub(crate) next_cursor: Option<String>,
}

impl Model for TokenTransferPage {}
