//! What happened to an address, newest first.

use std::{cmp::Reverse, ops::ControlFlow};

use cairn_domain::{
    Address, Hash,
    projections::{
        tokens::{TokenTransferKey, TokenTransfers},
        transactions::{AddressTransactionKey, AddressTransactions, TransactionKey},
    },
    table::{Immutable, Key},
};
use cairn_engine::store::{Row, StoreError};

use super::{Canonical, addresses, transactions};
use crate::{
    cursor::List,
    error::ApiError,
    models::{TokenTransferPage, TransactionPage, Transfer},
    paging::Paging,
    scope::Scope,
};

/// Behind every block's hash at the place that a key names.
const LAST: Hash = Hash([u8::MAX; 32]);

/// The bytes that bind a cursor to an address.
pub(super) fn subject(address: &Address) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(24);
    address.write(&mut bytes);
    bytes
}

/// The canonical rows of an address from a key on, and whether there are more behind them.
fn rows<T: Immutable>(
    scope: &Scope,
    address: &Address,
    from: &T::Key,
    paging: &Paging,
) -> Result<(Vec<Row<T>>, bool), ApiError> {
    let mut canonical = Canonical::new(scope);
    let mut skip = paging.offset;
    let mut failure = None;
    let mut found: Vec<Row<T>> = Vec::with_capacity(paging.limit);
    let mut more = false;
    let mut take = |row: Row<T>| -> Result<bool, ApiError> {
        if !canonical.is(T::block(&row.key, &row.value))? {
            return Ok(false);
        }
        if skip > 0 {
            skip -= 1;
        } else if found.len() < paging.limit {
            found.push(row);
        } else {
            more = true;
        }
        Ok(more)
    };
    scope
        .view
        .scan::<T>(&scope.stream, address, Some(from), |row| match take(row) {
            Ok(false) => Ok(ControlFlow::Continue(())),
            Ok(true) => Ok::<_, StoreError>(ControlFlow::Break(())),
            Err(error) => {
                failure = Some(error);
                Ok(ControlFlow::Break(()))
            }
        })?;
    match failure {
        Some(error) => Err(error),
        None => Ok((found, more)),
    }
}

/// A page of the transactions that an address sent or received.
pub(crate) fn transactions(
    scope: &Scope,
    address: &Address,
    paging: &Paging,
) -> Result<TransactionPage, ApiError> {
    let subject = subject(address);
    let behind = paging.key::<12>(List::AddressTransactions, scope.chain(), &subject)?;
    let total = addresses::account(scope, address)?.transactions;
    let head = scope.head().map_or(0, |head| head.height);
    let (height, index, block) = match behind {
        Some(bytes) => start(&bytes),
        None => (head, u32::MAX, Hash::default()),
    };
    let (height, index) = (Reverse(height), Reverse(index));
    let from = AddressTransactionKey {
        address: address.clone(),
        height,
        index,
        block,
    };
    let (rows, more) = rows::<AddressTransactions>(scope, address, &from, paging)?;
    let last = rows.last().map(|row| (row.key.height.0, row.key.index.0));
    let next_cursor = last.filter(|_| more).map(|(height, index)| {
        let key = [&height.to_be_bytes()[..], &index.to_be_bytes()].concat();
        scope.cursor_behind(List::AddressTransactions, &subject, key)
    });
    let place = |row: &Row<AddressTransactions>| TransactionKey {
        block: AddressTransactions::block(&row.key, &row.value),
        index: row.key.index.0,
    };
    let places: Vec<_> = rows.iter().map(place).collect();
    let transactions = transactions::read_all(scope, &places)?;
    Ok(TransactionPage {
        transactions,
        total,
        next_cursor,
    })
}

/// Where a list goes on behind (height, place in the block).
fn start(bytes: &[u8; 12]) -> (u64, u32, Hash) {
    let mut rest = &bytes[..];
    let height = u64::read(&mut rest).unwrap_or_default();
    (height, u32::read(&mut rest).unwrap_or_default(), LAST)
}

/// A page of the token transfers that an address gave or got.
pub(crate) fn token_transfers(
    scope: &Scope,
    address: &Address,
    paging: &Paging,
) -> Result<TokenTransferPage, ApiError> {
    let subject = subject(address);
    let behind = paging.key::<16>(List::TokenTransfers, scope.chain(), &subject)?;
    let from = match behind {
        Some(bytes) => behind_transfer(address, &bytes),
        None => TokenTransferKey {
            address: address.clone(),
            height: Reverse(scope.head().map_or(0, |head| head.height)),
            log_index: Reverse(u32::MAX),
            part: Reverse(u32::MAX),
            block: Hash::default(),
        },
    };
    let (rows, more) = rows::<TokenTransfers>(scope, address, &from, paging)?;
    let next_cursor = rows.last().filter(|_| more).map(|row| {
        let TokenTransferKey {
            height,
            log_index,
            part,
            ..
        } = &row.key;
        let (height, log) = (height.0.to_be_bytes(), log_index.0.to_be_bytes());
        let key = [&height[..], &log, &part.0.to_be_bytes()].concat();
        scope.cursor_behind(List::TokenTransfers, &subject, key)
    });
    let transfers = rows
        .into_iter()
        .map(|row| Transfer::from((row.key, row.value)))
        .collect();
    Ok(TokenTransferPage {
        transfers,
        next_cursor,
    })
}

fn behind_transfer(address: &Address, bytes: &[u8; 16]) -> TokenTransferKey {
    let mut rest = &bytes[..];
    TokenTransferKey {
        address: address.clone(),
        height: Reverse(u64::read(&mut rest).unwrap_or_default()),
        log_index: Reverse(u32::read(&mut rest).unwrap_or_default()),
        part: Reverse(u32::read(&mut rest).unwrap_or_default()),
        block: LAST,
    }
}
