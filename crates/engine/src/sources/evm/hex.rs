//! Hex as Ethereum nodes write it: quantities (`0x1f`) and byte strings (`0x00ff`).
//!
//! Errors are sentences without the name of the field, which the caller adds.

use cairn_domain::{Address, Amount, Bytes, Hash};
use ruint::aliases::U256;

/// The significant digits of a quantity: without `0x` and leading zeros.
fn digits(text: &str) -> Result<&str, String> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    match digits {
        Some(digits) if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_hexdigit()) => {
            Ok(digits.trim_start_matches('0'))
        }
        _ => Err(format!(
            "`{}` is not a hex quantity such as 0x1f",
            shortened(text)
        )),
    }
}

/// A quantity of at most 64 bits.
pub(super) fn number(text: &str) -> Result<u64, String> {
    let digits = digits(text)?;
    if digits.len() > 16 {
        return Err(format!("`{}` needs more than 64 bits", shortened(text)));
    }
    Ok(small(digits))
}

/// The value of at most 16 hex digits.
fn small(digits: &str) -> u64 {
    let digit = |byte: u8| u64::from(char::from(byte).to_digit(16).unwrap_or_default());
    digits
        .bytes()
        .fold(0, |value, byte| value << 4 | digit(byte))
}

/// No block is higher: there is always room for the next height, and signed numbers hold all.
const HIGHEST: u64 = i64::MAX as u64;

/// The height of a block.
pub(super) fn height(text: &str) -> Result<u64, String> {
    match number(text)? {
        height if height <= HIGHEST => Ok(height),
        _ => Err(format!(
            "`{text}` is higher than any block can be ({HIGHEST})"
        )),
    }
}

/// A quantity of at most 32 bits.
pub(super) fn index(text: &str) -> Result<u32, String> {
    u32::try_from(number(text)?).map_err(|_| format!("`{text}` needs more than 32 bits"))
}

/// A quantity of at most 256 bits.
pub(super) fn amount(text: &str) -> Result<Amount, String> {
    let digits = digits(text)?;
    if digits.len() <= 16 {
        return Ok(Amount::from(small(digits)));
    }
    let mut padded = [b'0'; 64];
    let start = padded.len().checked_sub(digits.len());
    let start = start.ok_or_else(|| format!("`{}` needs more than 256 bits", shortened(text)))?;
    padded[start..].copy_from_slice(digits.as_bytes());
    let mut bytes = [0; 32];
    const_hex::decode_to_slice(padded, &mut bytes).map_err(|error| error.to_string())?;
    Ok(Amount(U256::from_be_bytes(bytes)))
}

fn fixed<const N: usize>(text: &str) -> Result<[u8; N], String> {
    let mut bytes = [0; N];
    const_hex::decode_to_slice(text, &mut bytes)
        .map_err(|_| format!("`{}` is not 0x and {} hex digits", shortened(text), 2 * N))?;
    Ok(bytes)
}

/// A 32-byte hash.
pub(super) fn hash(text: &str) -> Result<Hash, String> {
    fixed(text).map(Hash)
}

/// A 20-byte address.
pub(super) fn address(text: &str) -> Result<Address, String> {
    fixed(text).map(Address::Evm)
}

/// Free bytes.
pub(super) fn bytes(text: &str) -> Result<Bytes, String> {
    let bytes = const_hex::decode(text);
    bytes
        .map(Bytes)
        .map_err(|error| format!("`{}` is not hex: {error}", shortened(text)))
}

/// The start of a text, for messages.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_exact_up_to_their_width_and_refused_beyond() {
        assert_eq!(number("0xffffffffffffffff"), Ok(u64::MAX));
        assert_eq!(number("0x00"), Ok(0));
        assert!(
            number("0x10000000000000000")
                .unwrap_err()
                .contains("64 bits")
        );
        let widest = format!("0x{}", "f".repeat(64));
        assert_eq!(amount(&widest), Ok(Amount(U256::MAX)));
        assert!(
            amount(&format!("{widest}0"))
                .unwrap_err()
                .contains("256 bits")
        );
        assert_eq!(
            amount("0x10000000000000000").unwrap().to_string(),
            "18446744073709551616"
        );
    }

    #[test]
    fn a_height_leaves_room_for_the_next() {
        assert_eq!(height("0x7fffffffffffffff"), Ok(HIGHEST));
        let error = height("0x8000000000000000").unwrap_err();
        assert!(error.contains("higher than any block"), "{error}");
    }

    #[test]
    fn what_is_not_a_quantity_is_shown_in_the_error() {
        for bad in ["", "0x", "12", "0x+1", "0xg", "-0x1"] {
            assert!(number(bad).unwrap_err().contains(bad), "{bad}");
        }
        assert!(hash("0x12").unwrap_err().contains("64 hex digits"));
    }
}
