//! Addresses and what they hold.

use cairn_domain::{
    Address,
    projections::{
        addresses::{Account, AccountKey, Accounts},
        blocks::{BlockKey, BlocksByRef},
    },
};

use super::address_lists;
use crate::{
    error::ApiError,
    models::{AddressBalance, AddressDetail, AddressSummary},
    paging::Paging,
    scope::Scope,
};

/// Reads an address. On a chain whose blocks are proposed by EVM addresses, only those will do.
pub(crate) fn parse(scope: &Scope, text: &str) -> Result<Address, ApiError> {
    let address: Address = text.parse()?;
    if let (Address::Text(_), Some(block)) = (&address, scope.head()) {
        let head = scope
            .view
            .find_any::<BlocksByRef>(&scope.stream, &BlockKey { block })?;
        if matches!(head.and_then(|head| head.proposer), Some(Address::Evm(_))) {
            let reason = "expected 0x and 40 hex digits, as all addresses of this chain have";
            return Err(ApiError::parameter("address", reason));
        }
    }
    Ok(address)
}

/// What the fold knows of an address; zeros where it knows nothing.
pub(super) fn account(scope: &Scope, address: &Address) -> Result<Account, ApiError> {
    let key = AccountKey {
        address: address.clone(),
    };
    Ok(scope
        .view
        .get::<Accounts>(&scope.stream, &key)?
        .unwrap_or_default())
}

/// What is known of an address, with its latest transactions if the request asks for them.
pub(crate) async fn detail(scope: &Scope, name: &str) -> Result<AddressDetail, ApiError> {
    let with_transactions = scope.params.flag("transactions")?;
    let address = parse(scope, name)?;
    let account = account(scope, &address)?;
    let transactions = match with_transactions {
        true => {
            let latest = Paging::new(&Default::default(), None)?;
            Some(address_lists::transactions(scope, &address, &latest)?.transactions)
        }
        false => None,
    };
    let node = scope.node_balance(&address).await;
    Ok(AddressDetail {
        summary: AddressSummary::new(address, account, node),
        transactions,
    })
}

/// What an address holds.
pub(crate) async fn balance(scope: &Scope, name: &str) -> Result<AddressBalance, ApiError> {
    let address = parse(scope, name)?;
    let ledger = account(scope, &address)?.balance;
    let node = scope.node_balance(&address).await;
    Ok(AddressBalance::new(address, ledger, node, scope.head()))
}
