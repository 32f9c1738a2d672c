//! Header, transactions and withdrawals of a block, from the wire to events.

use std::fmt;

use cairn_domain::{
    Amount, BlockRef, Bytes, Hash,
    events::{BlockAppended, TransactionIncluded, TransactionKind, Withdrawal},
};
use ruint::aliases::U256;

use super::{
    hex,
    json::{DecodeError, DecodedBlock},
    wire::{TransactionFields, WireBlock, WireTransaction, WireWithdrawal},
};

/// What a block calls itself, for messages.
#[derive(Debug, Clone, Copy)]
pub(super) struct Naming<'a> {
    pub(super) number: Option<&'a str>,
    pub(super) hash: Option<&'a str>,
}

impl fmt::Display for Naming<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.number.map(hex::number) {
            Some(Ok(height)) => write!(f, "block {height}")?,
            _ => f.write_str("a block of unknown height")?,
        }
        self.hash.map_or(Ok(()), |hash| write!(f, " ({hash})"))
    }
}

impl<'a> Naming<'a> {
    pub(super) fn field(self, field: impl Into<String>, reason: impl Into<String>) -> DecodeError {
        DecodeError::Field {
            subject: self.to_string(),
            field: field.into(),
            reason: reason.into(),
        }
    }

    pub(super) fn contradiction(self, reason: impl Into<String>) -> DecodeError {
        DecodeError::Contradiction {
            subject: self.to_string(),
            reason: reason.into(),
        }
    }

    pub(super) fn required(
        self,
        field: &str,
        value: Option<&'a str>,
    ) -> Result<&'a str, DecodeError> {
        value.ok_or_else(|| self.field(field, "it is missing or null; is the block still pending?"))
    }

    pub(super) fn reference(self) -> Result<BlockRef, DecodeError> {
        let height = hex::height(self.required("number", self.number)?);
        let hash = hex::hash(self.required("hash", self.hash)?);
        Ok(BlockRef {
            height: height.map_err(|reason| self.field("number", reason))?,
            hash: hash.map_err(|reason| self.field("hash", reason))?,
        })
    }
}

/// Parses fields of one object, naming them in errors as `<prefix><field>`.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    pub(super) naming: Naming<'a>,
    pub(super) list: &'static str,
    pub(super) place: usize,
}

type Parser<T> = fn(&str) -> Result<T, String>;

impl Fields<'_> {
    pub(super) fn path(self, field: &str) -> String {
        match self.list {
            "" => field.to_owned(),
            list => format!("{list}[{}].{field}", self.place),
        }
    }

    pub(super) fn need<T>(
        self,
        field: &str,
        text: &str,
        parse: Parser<T>,
    ) -> Result<T, DecodeError> {
        parse(text).map_err(|reason| self.naming.field(self.path(field), reason))
    }

    pub(super) fn may<T>(
        self,
        field: &str,
        text: Option<&str>,
        parse: Parser<T>,
    ) -> Result<Option<T>, DecodeError> {
        text.map(|text| self.need(field, text, parse)).transpose()
    }

    pub(super) fn missing(self, field: &str) -> DecodeError {
        self.naming.field(self.path(field), "it is missing")
    }
}

/// Everything but the receipts.
pub(super) fn decode(wire: &WireBlock<'_>) -> Result<DecodedBlock, DecodeError> {
    let naming = Naming {
        number: wire.number,
        hash: wire.hash,
    };
    let block = header(wire, naming)?;
    let mut transactions = Vec::with_capacity(wire.transactions.len());
    for (place, WireTransaction(fields)) in wire.transactions.iter().enumerate() {
        check_place(naming, block.block, place, fields)?;
        transactions.push(transaction(naming, place, fields)?);
    }
    Ok(DecodedBlock {
        block,
        transactions,
        receipts: None,
    })
}

fn header(wire: &WireBlock<'_>, naming: Naming<'_>) -> Result<BlockAppended, DecodeError> {
    let own = Fields {
        naming,
        list: "",
        place: 0,
    };
    let count = u32::try_from(wire.transactions.len());
    Ok(BlockAppended {
        block: naming.reference()?,
        parent: own.need("parentHash", wire.parent_hash, hex::hash)?,
        timestamp: own.need("timestamp", wire.timestamp, hex::number)?,
        proposer: own.may("miner", wire.miner, hex::address)?,
        state_root: own.may("stateRoot", wire.state_root, hex::hash)?,
        transactions_root: own.may("transactionsRoot", wire.transactions_root, hex::hash)?,
        receipts_root: own.may("receiptsRoot", wire.receipts_root, hex::hash)?,
        gas_used: own.need("gasUsed", wire.gas_used, hex::number)?,
        gas_limit: own.need("gasLimit", wire.gas_limit, hex::number)?,
        base_fee: own.may("baseFeePerGas", wire.base_fee_per_gas, hex::amount)?,
        difficulty: own
            .may("difficulty", wire.difficulty, hex::amount)?
            .unwrap_or_default(),
        size: own.may("size", wire.size, hex::number)?.unwrap_or_default(),
        extra_data: own
            .may("extraData", wire.extra_data, hex::bytes)?
            .unwrap_or_default(),
        blob_gas_used: own.may("blobGasUsed", wire.blob_gas_used, hex::number)?,
        withdrawals: withdrawals(naming, wire.withdrawals.as_deref().unwrap_or_default())?,
        transaction_count: count
            .map_err(|_| naming.contradiction("it has too many transactions"))?,
    })
}

fn withdrawals(
    naming: Naming<'_>,
    wire: &[WireWithdrawal<'_>],
) -> Result<Vec<Withdrawal>, DecodeError> {
    let one = |(place, wire): (usize, &WireWithdrawal<'_>)| {
        let own = Fields {
            naming,
            list: "withdrawals",
            place,
        };
        // Withdrawals are the one amount that nodes give in gwei (EIP-4895).
        let gwei = own.need("amount", wire.amount, hex::number)?;
        let wei = U256::from(gwei) * U256::from(1_000_000_000_u64);
        Ok(Withdrawal {
            address: own.need("address", wire.address, hex::address)?,
            amount: Amount(wei),
        })
    };
    wire.iter().enumerate().map(one).collect()
}

fn transaction(
    naming: Naming<'_>,
    place: usize,
    wire: &TransactionFields<'_>,
) -> Result<TransactionIncluded, DecodeError> {
    let own = Fields {
        naming,
        list: "transactions",
        place,
    };
    let max_fee_per_gas = own.may("maxFeePerGas", wire.max_fee_per_gas, hex::amount)?;
    let gas_price = own
        .may("gasPrice", wire.gas_price, hex::amount)?
        .or(max_fee_per_gas);
    let kind = own.may("type", wire.kind, hex::number)?.unwrap_or_default();
    let kind =
        u8::try_from(kind).map_err(|_| naming.field(own.path("type"), "it is no type byte"))?;
    Ok(TransactionIncluded {
        hash: own.need("hash", wire.hash, hex::hash)?,
        index: place as u32,
        kind: TransactionKind::Evm(kind),
        from: own.need("from", wire.from, hex::address)?,
        to: own.may("to", wire.to, hex::address)?,
        amount: own.need("value", wire.value, hex::amount)?,
        nonce: own.need("nonce", wire.nonce, hex::number)?,
        gas_limit: own.need("gas", wire.gas, hex::number)?,
        gas_price: gas_price.ok_or_else(|| own.missing("gasPrice"))?,
        max_fee_per_gas,
        max_priority_fee_per_gas: own.may(
            "maxPriorityFeePerGas",
            wire.max_priority_fee_per_gas,
            hex::amount,
        )?,
        input: input(own, wire)?,
    })
}

fn input(own: Fields<'_>, wire: &TransactionFields<'_>) -> Result<Bytes, DecodeError> {
    match wire.input.or(wire.data) {
        Some(text) => own.need("input", text, hex::bytes),
        None => Err(own.missing("input")),
    }
}

/// Refuses a transaction that names another block or place than it stands in.
fn check_place(
    naming: Naming<'_>,
    block: BlockRef,
    place: usize,
    wire: &TransactionFields<'_>,
) -> Result<(), DecodeError> {
    let named = Named {
        what: "transaction",
        hash: wire.hash,
        block_hash: wire.block_hash,
        block_number: wire.block_number,
        index: wire.transaction_index,
    };
    named.check(naming, block, place)
}

/// Where a transaction or receipt says that it stands.
pub(super) struct Named<'a> {
    pub(super) what: &'static str,
    pub(super) hash: &'a str,
    pub(super) block_hash: Option<&'a str>,
    pub(super) block_number: Option<&'a str>,
    pub(super) index: Option<&'a str>,
}

impl Named<'_> {
    pub(super) fn check(
        &self,
        naming: Naming<'_>,
        block: BlockRef,
        place: usize,
    ) -> Result<(), DecodeError> {
        let Self { what, hash, .. } = self;
        let differs = |which: &str, text: &str| {
            Err(naming.contradiction(format!("{what} {place} ({hash}) names {which} {text}")))
        };
        match (self.block_hash, self.block_number, self.index) {
            (Some(text), ..) if !is_hash(text, naming, block.hash) => differs("block hash", text),
            (_, Some(text), _) if hex::number(text) != Ok(block.height) => {
                differs("block number", text)
            }
            (.., Some(text)) if hex::number(text) != Ok(place as u64) => differs("index", text),
            _ => Ok(()),
        }
    }
}

/// Whether a text is the block's hash; the same text needs no parsing.
fn is_hash(text: &str, naming: Naming<'_>, hash: Hash) -> bool {
    naming.hash == Some(text) || hex::hash(text) == Ok(hash)
}
