//! Receipts of a block, from the wire to events.

use cairn_domain::{
    Amount,
    events::{Log, TransactionExecuted, TransactionIncluded, TransactionKind},
};
use ruint::aliases::U256;

use super::{
    decode_block::{Fields, Named, Naming},
    hex,
    json::{DecodeError, DecodedBlock},
    wire::{WireLog, WireReceipt},
};

/// Decodes the receipts of a block, which must be those of its transactions, in their order.
pub(super) fn decode(
    wire: &[WireReceipt<'_>],
    naming: Naming<'_>,
    block: &DecodedBlock,
) -> Result<Vec<TransactionExecuted>, DecodeError> {
    let (given, wanted) = (wire.len(), block.transactions.len());
    if given != wanted {
        return Err(naming.contradiction(format!(
            "it has {wanted} transactions, but {given} receipts"
        )));
    }
    let mut receipts = Vec::with_capacity(given);
    let mut next_log = 0;
    for (place, (wire, transaction)) in wire.iter().zip(&block.transactions).enumerate() {
        let own = Fields {
            naming,
            list: "receipts",
            place,
        };
        check_place(wire, own, block, transaction)?;
        let logs = logs(wire, own, &mut next_log)?;
        receipts.push(receipt(wire, own, transaction, logs)?);
    }
    Ok(receipts)
}

fn check_place(
    wire: &WireReceipt<'_>,
    own: Fields<'_>,
    block: &DecodedBlock,
    transaction: &TransactionIncluded,
) -> Result<(), DecodeError> {
    let (naming, place) = (own.naming, own.place);
    if own.need("transactionHash", wire.transaction_hash, hex::hash)? != transaction.hash {
        return Err(naming.contradiction(format!(
            "receipt {place} is of transaction {}, but transaction {place} is {}",
            wire.transaction_hash, transaction.hash
        )));
    }
    let named = Named {
        what: "receipt",
        hash: wire.transaction_hash,
        block_hash: wire.block_hash,
        block_number: wire.block_number,
        index: wire.transaction_index,
    };
    named.check(naming, block.reference(), place)
}

fn receipt(
    wire: &WireReceipt<'_>,
    own: Fields<'_>,
    transaction: &TransactionIncluded,
    logs: Vec<Log>,
) -> Result<TransactionExecuted, DecodeError> {
    let gas_used = own.need("gasUsed", wire.gas_used, hex::number)?;
    let price = own.may("effectiveGasPrice", wire.effective_gas_price, hex::amount)?;
    let price = price.unwrap_or(transaction.gas_price);
    let fee = sum(product(gas_used, price), blob_fee(wire, own, transaction)?);
    let too_much = || {
        own.naming.field(
            own.path("effectiveGasPrice"),
            "the fee needs more than 256 bits",
        )
    };
    Ok(TransactionExecuted {
        index: transaction.index,
        // Before Byzantium receipts told the state's root instead, whether or not it succeeded.
        success: own
            .may("status", wire.status, hex::number)?
            .is_none_or(|status| status != 0),
        gas_used,
        effective_gas_price: price,
        fee: fee.ok_or_else(too_much)?,
        contract_address: own.may("contractAddress", wire.contract_address, hex::address)?,
        logs,
    })
}

/// What a transaction of type 3 paid for its blobs. Nodes give a blob price for other types, too.
fn blob_fee(
    wire: &WireReceipt<'_>,
    own: Fields<'_>,
    transaction: &TransactionIncluded,
) -> Result<Option<U256>, DecodeError> {
    if transaction.kind != TransactionKind::Evm(3) {
        return Ok(Some(U256::ZERO));
    }
    let gas = own
        .may("blobGasUsed", wire.blob_gas_used, hex::number)?
        .unwrap_or_default();
    let price = own
        .may("blobGasPrice", wire.blob_gas_price, hex::amount)?
        .unwrap_or_default();
    Ok(product(gas, price))
}

fn product(gas: u64, price: Amount) -> Option<U256> {
    price.0.checked_mul(U256::from(gas))
}

fn sum(left: Option<U256>, right: Option<U256>) -> Option<Amount> {
    left?.checked_add(right?).map(Amount)
}

/// The logs of a receipt; where a node gives no index they are counted through the block.
fn logs(wire: &WireReceipt<'_>, own: Fields<'_>, next: &mut u32) -> Result<Vec<Log>, DecodeError> {
    let mut logs = Vec::with_capacity(wire.logs.len());
    for wire in &wire.logs {
        let log = log(wire, own, *next)?;
        *next = log.index.saturating_add(1);
        logs.push(log);
    }
    Ok(logs)
}

fn log(wire: &WireLog<'_>, own: Fields<'_>, next: u32) -> Result<Log, DecodeError> {
    let topics = wire
        .topics
        .iter()
        .map(|topic| own.need("logs.topics", topic, hex::hash));
    Ok(Log {
        index: own
            .may("logs.logIndex", wire.log_index, hex::index)?
            .unwrap_or(next),
        address: own.need("logs.address", wire.address, hex::address)?,
        topics: topics.collect::<Result<_, _>>()?,
        data: own.need("logs.data", wire.data, hex::bytes)?,
    })
}
