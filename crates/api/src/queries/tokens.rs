//! Which tokens an address holds.

use std::{collections::BTreeMap, ops::ControlFlow};

use cairn_domain::{
    Address,
    projections::tokens::{
        TokenBalance, TokenBalanceKey, TokenBalances, TokenContract, TokenContracts, TokenKey,
    },
    table::Key,
};

use super::address_lists::subject;
use crate::{
    cursor::List,
    error::ApiError,
    models::{TokenHolding, TokenPage},
    paging::Paging,
    scope::Scope,
};

/// A page of the tokens that an address holds, by contract and number. Counts them all, so it may
/// take long.
pub(crate) fn page(
    scope: &Scope,
    address: &Address,
    paging: &Paging,
) -> Result<TokenPage, ApiError> {
    let subject = subject(address);
    let behind = paging.bytes(List::Tokens, scope.chain(), &subject)?;
    let mut window = Window {
        behind,
        skip: paging.offset,
        limit: paging.limit,
        ..Window::default()
    };
    scope
        .view
        .scan::<TokenBalances>(&scope.stream, address, None, |row| {
            window.take(row.key, row.value);
            Ok(ControlFlow::Continue(()))
        })?;
    let last = window
        .rows
        .last()
        .filter(|_| window.more)
        .map(|(key, _)| place(key));
    let next_cursor = last.map(|key| scope.cursor_behind(List::Tokens, &subject, key));
    let total = window.total;
    let tokens = holdings(scope, window.rows)?;
    Ok(TokenPage {
        tokens,
        total,
        next_cursor,
    })
}

/// The part of a key behind the holder.
fn place(key: &TokenBalanceKey) -> Vec<u8> {
    let mut place = Vec::with_capacity(53);
    key.contract.write(&mut place);
    key.token_id.write(&mut place);
    place
}

#[derive(Default)]
struct Window<'a> {
    behind: Option<&'a [u8]>,
    skip: u64,
    limit: usize,
    rows: Vec<(TokenBalanceKey, TokenBalance)>,
    more: bool,
    total: u64,
}

impl Window<'_> {
    fn take(&mut self, key: TokenBalanceKey, value: TokenBalance) {
        self.total += 1;
        if self.behind.is_some_and(|behind| place(&key)[..] <= *behind) {
            return;
        }
        if self.skip > 0 {
            self.skip -= 1;
        } else if self.rows.len() < self.limit {
            self.rows.push((key, value));
        } else {
            self.more = true;
        }
    }
}

/// Adds what is known of each contract, asking for each once.
fn holdings(
    scope: &Scope,
    rows: Vec<(TokenBalanceKey, TokenBalance)>,
) -> Result<Vec<TokenHolding>, ApiError> {
    let mut contracts: BTreeMap<Address, TokenContract> = BTreeMap::new();
    let mut tokens = Vec::with_capacity(rows.len());
    for (
        TokenBalanceKey {
            contract, token_id, ..
        },
        held,
    ) in rows
    {
        if !contracts.contains_key(&contract) {
            let key = TokenKey {
                contract: contract.clone(),
            };
            let known = scope.view.get::<TokenContracts>(&scope.stream, &key)?;
            contracts.insert(contract.clone(), known.unwrap_or_default());
        }
        let known = &contracts[&contract];
        tokens.push(TokenHolding::new(contract, token_id, held, known));
    }
    Ok(tokens)
}
