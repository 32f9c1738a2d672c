//! Values that every event and table is made of: hashes, addresses, exact amounts.
//!
//! Each has one text form (JSON, URLs), one stored form (bincode) and, where it may be part of a
//! key, one order-preserving form (`table::Key`).

use std::{borrow::Cow, fmt, str::FromStr};

use bincode::{
    Decode, Encode,
    de::{Decoder, read::Reader},
    enc::{Encoder, write::Writer},
    error::{DecodeError, EncodeError},
};
use ruint::{Uint, aliases::U256};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// Why a text is not the value it should be. Names the kind of value and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {kind}: {reason}")]
pub struct ParseError {
    kind: &'static str,
    reason: String,
}

impl ParseError {
    pub(crate) fn new(kind: &'static str, reason: impl Into<String>) -> Self {
        Self {
            kind,
            reason: reason.into(),
        }
    }
}

/// Serialises through `Display` and `FromStr`, and describes itself as a string in JSON Schema.
macro_rules! text_form {
    ($type:ty, $name:literal, $pattern:literal, $description:literal) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(D::Error::custom)
            }
        }

        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                $name.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "pattern": $pattern, "description": $description})
            }
        }
    };
}

/// A 32-byte hash. Text: `0x` and 64 lower-case hex digits; read in any case, with or without `0x`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct Hash(pub [u8; 32]);

text_form!(
    Hash,
    "Hash",
    "^0x[0-9a-f]{64}$",
    "32 bytes in lower-case hex"
);

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(const_hex::Buffer::<32, true>::new().format(&self.0))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Hash {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut bytes = [0; 32];
        const_hex::decode_to_slice(text, &mut bytes)
            .map_err(|_| ParseError::new("hash", "expected 64 hex digits, with or without 0x"))?;
        Ok(Self(bytes))
    }
}

/// An account on some chain. EVM addresses are kept as their 20 bytes; other chains name accounts
/// with free text, which is kept as it is (texts that start with `0x` are compared in lower case).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub enum Address {
    /// Twenty bytes, shown as `0x` and 40 lower-case hex digits.
    Evm([u8; 20]),
    /// Any other chain's text: not empty, no NUL, at most [`Address::MAX_TEXT`] bytes.
    Text(String),
}

text_form!(
    Address,
    "Address",
    "^[^\\u0000]{1,128}$",
    "an account; EVM addresses in lower-case hex"
);

impl Address {
    /// The longest text, in bytes, that is taken for an address.
    pub const MAX_TEXT: usize = 128;

    /// The EVM zero address, which token contracts use for mint and burn.
    pub const ZERO: Self = Self::Evm([0; 20]);
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Evm(bytes) => f.write_str(const_hex::Buffer::<20, true>::new().format(bytes)),
            Self::Text(text) => f.write_str(text),
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Address {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let lower = text
            .get(..2)
            .is_some_and(|head| head.eq_ignore_ascii_case("0x"));
        let mut bytes = [0; 20];
        if lower && const_hex::decode_to_slice(&text[2..], &mut bytes).is_ok() {
            return Ok(Self::Evm(bytes));
        }
        if text.is_empty() || text.len() > Self::MAX_TEXT {
            let reason = format!("expected 1 to {} bytes, got {}", Self::MAX_TEXT, text.len());
            return Err(ParseError::new("address", reason));
        }
        if text.chars().any(char::is_control) {
            return Err(ParseError::new(
                "address",
                "it contains a control character",
            ));
        }
        Ok(Self::Text(if lower {
            text.to_ascii_lowercase()
        } else {
            text.to_owned()
        }))
    }
}

/// An exact, unsigned 256-bit amount in the chain's smallest unit. Text: a decimal string.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Amount(pub U256);

text_form!(
    Amount,
    "Amount",
    "^[0-9]+$",
    "an unsigned 256-bit integer in decimal, smallest unit"
);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Most amounts fit 128 bits, whose formatting is several times as fast.
        match u128::try_from(self.0) {
            Ok(small) => fmt::Display::fmt(&small, f),
            Err(_) => fmt::Display::fmt(&self.0, f),
        }
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Amount {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ParseError::new("amount", "expected decimal digits"));
        }
        let value = U256::from_str_radix(text, 10);
        value
            .map(Self)
            .map_err(|_| ParseError::new("amount", "it needs more than 256 bits"))
    }
}

impl From<u64> for Amount {
    fn from(value: u64) -> Self {
        Self(U256::from(value))
    }
}

/// Writes a big-endian integer without its leading zeros, behind its length.
fn encode_trimmed<E: Encoder>(bytes: &[u8], encoder: &mut E) -> Result<(), EncodeError> {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    let digits = &bytes[zeros..];
    encoder.writer().write(&[digits.len() as u8])?;
    encoder.writer().write(digits)
}

/// Reads what [`encode_trimmed`] wrote into the right end of `bytes`.
fn decode_trimmed<D: Decoder>(bytes: &mut [u8], decoder: &mut D) -> Result<(), DecodeError> {
    let mut length = [0];
    decoder.reader().read(&mut length)?;
    let start = bytes.len().checked_sub(usize::from(length[0]));
    let start = start.ok_or(DecodeError::Other("an integer is wider than its type"))?;
    decoder.reader().read(&mut bytes[start..])
}

impl Encode for Amount {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        encode_trimmed(&self.0.to_be_bytes::<32>(), encoder)
    }
}

impl<C> Decode<C> for Amount {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let mut bytes = [0; 32];
        decode_trimmed(&mut bytes, decoder)?;
        Ok(Self(U256::from_be_bytes(bytes)))
    }
}

bincode::impl_borrow_decode!(Amount);

type Wide = Uint<320, 5>;

/// A signed sum of [`Amount`]s, exact: 320 bits in two's complement hold the sum of 2⁶³ amounts of
/// 256 bits. A ledger may go below zero where a chain's log does not show every credit.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Balance(Wide);

text_form!(
    Balance,
    "Balance",
    "^-?[0-9]+$",
    "a signed integer in decimal, smallest unit"
);

impl Balance {
    /// Adds an amount.
    pub fn credit(&mut self, amount: Amount) {
        self.0 = self.0.wrapping_add(Wide::from(amount.0));
    }

    /// Takes an amount away; the balance may become negative.
    pub fn debit(&mut self, amount: Amount) {
        self.0 = self.0.wrapping_sub(Wide::from(amount.0));
    }

    /// Whether it is below zero.
    pub fn is_negative(&self) -> bool {
        self.0.bit(319)
    }

    /// Whether it is zero.
    pub fn is_zero(&self) -> bool {
        self.0.is_zero()
    }

    fn magnitude(&self) -> Wide {
        if self.is_negative() {
            self.0.wrapping_neg()
        } else {
            self.0
        }
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_negative() {
            f.write_str("-")?;
        }
        match u128::try_from(self.magnitude()) {
            Ok(small) => fmt::Display::fmt(&small, f),
            Err(_) => fmt::Display::fmt(&self.magnitude(), f),
        }
    }
}

impl fmt::Debug for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Balance {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text),
        };
        let too_wide =
            |_| ParseError::new("balance", "expected decimal digits of at most 319 bits");
        let magnitude = Wide::from_str_radix(digits, 10).map_err(too_wide)?;
        Ok(Self(if negative {
            magnitude.wrapping_neg()
        } else {
            magnitude
        }))
    }
}

impl Encode for Balance {
    fn encode<E: Encoder>(&self, encoder: &mut E) -> Result<(), EncodeError> {
        self.is_negative().encode(encoder)?;
        encode_trimmed(&self.magnitude().to_be_bytes::<40>(), encoder)
    }
}

impl<C> Decode<C> for Balance {
    fn decode<D: Decoder<Context = C>>(decoder: &mut D) -> Result<Self, DecodeError> {
        let negative = bool::decode(decoder)?;
        let mut bytes = [0; 40];
        decode_trimmed(&mut bytes, decoder)?;
        let magnitude = Wide::from_be_bytes(bytes);
        Ok(Self(if negative {
            magnitude.wrapping_neg()
        } else {
            magnitude
        }))
    }
}

bincode::impl_borrow_decode!(Balance);

/// Free bytes: call data, log data. Text: `0x` and lower-case hex.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Encode, Decode)]
pub struct Bytes(pub Vec<u8>);

text_form!(
    Bytes,
    "Bytes",
    "^0x([0-9a-f]{2})*$",
    "bytes in lower-case hex"
);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&const_hex::encode_prefixed(&self.0))
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Bytes {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let bytes = const_hex::decode(text);
        bytes
            .map(Self)
            .map_err(|error| ParseError::new("byte string", error.to_string()))
    }
}

/// A block: its height never travels without its hash (promise P5).
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Encode,
    Decode,
    Serialize,
    Deserialize,
    JsonSchema,
    Default,
)]
pub struct BlockRef {
    /// Distance from the chain's first block.
    pub height: u64,
    /// The block's hash.
    pub hash: Hash,
}

impl fmt::Display for BlockRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "block {} ({})", self.height, self.hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored<T: Encode + Decode<()>>(value: &T) -> T {
        let config = bincode::config::standard();
        let bytes = bincode::encode_to_vec(value, config).unwrap();
        bincode::decode_from_slice(&bytes, config).unwrap().0
    }

    #[test]
    fn amounts_are_exact_up_to_256_bits_and_refused_beyond() {
        let max = U256::MAX.to_string();
        let amount: Amount = max.parse().unwrap();
        assert_eq!(stored(&amount), amount);
        assert_eq!(amount.to_string(), max);
        let beyond = format!("{max}0").parse::<Amount>().unwrap_err();
        assert_eq!(
            beyond.to_string(),
            "invalid amount: it needs more than 256 bits"
        );
        assert!("-1".parse::<Amount>().is_err());
    }

    #[test]
    fn balances_go_below_zero_and_come_back_exactly() {
        let mut balance = Balance::default();
        balance.debit(Amount(U256::MAX));
        balance.debit(Amount::from(1));
        assert!(balance.is_negative());
        assert_eq!(stored(&balance), balance);
        assert_eq!(balance.to_string().parse::<Balance>().unwrap(), balance);
        balance.credit(Amount(U256::MAX));
        assert_eq!(balance.to_string(), "-1");
        balance.credit(Amount::from(1));
        assert!(balance.is_zero());
    }

    #[test]
    fn evm_addresses_compare_without_case_and_others_as_they_are() {
        let upper: Address = "0xABCDEF0000000000000000000000000000000001"
            .parse()
            .unwrap();
        let lower: Address = "0xabcdef0000000000000000000000000000000001"
            .parse()
            .unwrap();
        assert_eq!(upper, lower);
        assert_eq!("Miner-7".parse::<Address>().unwrap().to_string(), "Miner-7");
        assert!("".parse::<Address>().is_err());
        assert!("a\0b".parse::<Address>().is_err());
    }
}
