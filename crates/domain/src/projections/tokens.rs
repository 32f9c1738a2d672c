//! Tokens: who holds what, every transfer, and what the contracts call themselves.

use std::cmp::Reverse;

use bincode::{Decode, Encode};

use super::{FoldError, Folded, Projection, View};
use crate::{
    events::{Event, TokenDescribed},
    primitives::{Address, Amount, Balance, BlockRef, Hash},
    table,
    table::{Table, TableDef},
    token::{TokenStandard, Transfer, transfers},
};

table! {
    /// Every contract that reported a transfer or told its name.
    pub versioned TokenContracts = "token_contracts" {
        key TokenKey { contract: Address },
        value: TokenContract,
    }
}

table! {
    /// Contracts that reported a transfer and were not yet asked for their name.
    pub versioned UndescribedTokens = "undescribed_tokens" {
        key UndescribedTokenKey { contract: Address },
        value: (),
    }
}

table! {
    /// What each holder has of each token; rows of nothing are deleted. The zero address, which
    /// stands for mint and burn, holds nothing.
    pub versioned TokenBalances = "token_balances" {
        key TokenBalanceKey { holder: Address, contract: Address, token_id: Amount },
        value: TokenBalance,
        scan: by_first,
    }
}

table! {
    /// Which token transfers an address gave or got, newest first.
    pub immutable TokenTransfers = "token_transfers" {
        key TokenTransferKey {
            address: Address,
            height: Reverse<u64>,
            log_index: Reverse<u32>,
            part: Reverse<u32>,
            block: Hash,
        },
        value: TokenTransfer,
        block: |key, _| BlockRef { height: key.height.0, hash: key.block },
        scan: by_first,
    }
}

/// What is known of a token contract.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct TokenContract {
    /// The standard of its transfers.
    pub standard: Option<TokenStandard>,
    /// What it calls itself.
    pub name: Option<String>,
    /// Its short name.
    pub symbol: Option<String>,
    /// Digits of an amount behind the point.
    pub decimals: Option<u8>,
    /// Whether it was asked for its name.
    pub described: bool,
    /// Transfers it reported.
    pub transfers: u64,
}

/// What a holder has of a token.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TokenBalance {
    /// The standard of the transfers it comes from.
    pub standard: TokenStandard,
    /// The sum of the transfers; negative where a contract moved without saying so.
    pub balance: Balance,
}

/// One movement of one token.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct TokenTransfer {
    /// The contract.
    pub contract: Address,
    /// The standard of its log.
    pub standard: TokenStandard,
    /// Who gave.
    pub from: Address,
    /// Who got.
    pub to: Address,
    /// The token's number; 0 for ERC-20.
    pub token_id: Amount,
    /// How much.
    pub amount: Amount,
    /// The transaction's hash.
    pub transaction: Hash,
    /// Seconds since 1970, as the block says.
    pub timestamp: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Tokens;

impl Projection for Tokens {
    fn name(&self) -> &'static str {
        "tokens"
    }

    fn version(&self) -> u32 {
        1
    }

    fn doc(&self) -> &'static str {
        "Tokens: who holds what, every transfer, and what the contracts call themselves."
    }

    fn tables(&self) -> &'static [&'static TableDef] {
        &[
            TokenContracts::DEF,
            UndescribedTokens::DEF,
            TokenBalances::DEF,
            TokenTransfers::DEF,
        ]
    }

    fn apply(&self, folded: &Folded<'_>, view: &mut View<'_>) -> Result<(), FoldError> {
        for event in &folded.commit.events {
            if let Event::TokenDescribed(event) = event {
                describe(event, view)?;
            }
        }
        let Some(contents) = &folded.block else {
            return Ok(());
        };
        for (transaction, receipt) in &contents.transactions {
            for log in receipt.iter().flat_map(|receipt| &receipt.logs) {
                for (part, transfer) in transfers(log).into_iter().enumerate() {
                    let key = |address: &Address| TokenTransferKey {
                        address: address.clone(),
                        height: Reverse(contents.block.block.height),
                        log_index: Reverse(log.index),
                        part: Reverse(part as u32),
                        block: contents.block.block.hash,
                    };
                    count(&log.address, transfer.standard, view)?;
                    balance(&log.address, &transfer, view)?;
                    let row = row(
                        &log.address,
                        &transfer,
                        transaction.hash,
                        contents.block.timestamp,
                    );
                    view.insert::<TokenTransfers>(&key(&transfer.from), &row);
                    if transfer.to != transfer.from {
                        view.insert::<TokenTransfers>(&key(&transfer.to), &row);
                    }
                }
            }
        }
        Ok(())
    }
}

fn describe(event: &TokenDescribed, view: &mut View<'_>) -> Result<(), FoldError> {
    let key = TokenKey {
        contract: event.contract.clone(),
    };
    let mut token = view.get::<TokenContracts>(&key)?.unwrap_or_default();
    token.name.clone_from(&event.name);
    token.symbol.clone_from(&event.symbol);
    token.decimals = event.decimals;
    token.described = true;
    view.put::<TokenContracts>(&key, &token);
    view.delete::<UndescribedTokens>(&UndescribedTokenKey {
        contract: event.contract.clone(),
    });
    Ok(())
}

fn count(
    contract: &Address,
    standard: TokenStandard,
    view: &mut View<'_>,
) -> Result<(), FoldError> {
    let key = TokenKey {
        contract: contract.clone(),
    };
    let known = view.get::<TokenContracts>(&key)?;
    if known.is_none() {
        view.put::<UndescribedTokens>(
            &UndescribedTokenKey {
                contract: contract.clone(),
            },
            &(),
        );
    }
    let mut token = known.unwrap_or_default();
    token.standard = Some(standard);
    token.transfers += 1;
    view.put::<TokenContracts>(&key, &token);
    Ok(())
}

fn balance(contract: &Address, transfer: &Transfer, view: &mut View<'_>) -> Result<(), FoldError> {
    let Transfer {
        standard,
        from,
        to,
        token_id,
        amount,
    } = transfer;
    for (holder, gives) in [(from, true), (to, false)] {
        if *holder == Address::ZERO {
            continue;
        }
        let key = TokenBalanceKey {
            holder: holder.clone(),
            contract: contract.clone(),
            token_id: *token_id,
        };
        let row = view.get::<TokenBalances>(&key)?;
        let known = row.is_some();
        let mut row = row.unwrap_or(TokenBalance {
            standard: *standard,
            balance: Balance::default(),
        });
        if gives {
            row.balance.debit(*amount);
        } else {
            row.balance.credit(*amount);
        }
        if !row.balance.is_zero() {
            view.put::<TokenBalances>(&key, &row);
        } else if known {
            view.delete::<TokenBalances>(&key);
        }
    }
    Ok(())
}

fn row(
    contract: &Address,
    transfer: &Transfer,
    transaction: Hash,
    timestamp: u64,
) -> TokenTransfer {
    TokenTransfer {
        contract: contract.clone(),
        standard: transfer.standard,
        from: transfer.from.clone(),
        to: transfer.to.clone(),
        token_id: transfer.token_id,
        amount: transfer.amount,
        transaction,
        timestamp,
    }
}
