//! Values that every event and table is made of: hashes, addresses, exact amounts.
//!
//! Each has one text form (JSON, URLs), one stored form (bincode) and, where it may be part of a
//! key, one order-preserving form (`table::Key`).

use std::{borrow::Cow, fmt, str::FromStr};

use bincode::{Decode, Encode};
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

// Behind the macro, which it uses, too.
mod amount;

pub use amount::{Amount, Balance};

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
