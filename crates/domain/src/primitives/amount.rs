//! Exact amounts and signed sums of them.

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

use super::ParseError;

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

    /// Adds a sum.
    pub fn add(&mut self, sum: &Self) {
        self.0 = self.0.wrapping_add(sum.0);
    }

    /// The whole part of it divided by a count, towards zero; none for a count of 0.
    pub fn divided_by(&self, count: u64) -> Option<Self> {
        let quotient = self.magnitude().checked_div(Wide::from(count))?;
        Some(Self(match self.is_negative() {
            true => quotient.wrapping_neg(),
            false => quotient,
        }))
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
        let mut sum = Balance::default();
        sum.credit(Amount::from(100));
        sum.add(&balance);
        assert_eq!(
            sum.divided_by(10).map(|mean| mean.to_string()),
            Some("9".into())
        );
        assert_eq!(sum.divided_by(0), None);
        balance.credit(Amount::from(1));
        assert!(balance.is_zero());
    }
}
