//! Keys whose bytes sort as their values do.

use std::cmp::Reverse;

use crate::primitives::{Address, Amount, BlockRef, Hash};

/// A part of a key whose bytes sort as its values do.
pub trait Key: Sized {
    /// Appends the order-preserving form.
    fn write(&self, out: &mut Vec<u8>);
    /// Takes one value off the front of `input`; `None` when it is malformed.
    fn read(input: &mut &[u8]) -> Option<Self>;
}

/// Cuts a stored key behind the stream and a first field of type `K`; a key that is not such a key
/// stays whole.
pub fn stored_prefix<K: Key>(key: &[u8]) -> &[u8] {
    let Some(stream) = key.iter().position(|byte| *byte == 0) else {
        return key;
    };
    let mut rest = &key[stream + 1..];
    match K::read(&mut rest) {
        Some(_) => &key[..key.len() - rest.len()],
        None => key,
    }
}

fn take<const N: usize>(input: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = input.split_first_chunk()?;
    *input = tail;
    Some(*head)
}

macro_rules! integer_key {
    ($($type:ty),*) => {$(
        impl Key for $type {
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_be_bytes());
            }

            fn read(input: &mut &[u8]) -> Option<Self> {
                take(input).map(Self::from_be_bytes)
            }
        }

        impl Key for Reverse<$type> {
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&(!self.0).to_be_bytes());
            }

            fn read(input: &mut &[u8]) -> Option<Self> {
                <$type>::read(input).map(|value| Self(!value))
            }
        }
    )*};
}

integer_key!(u8, u16, u32, u64);

impl Key for () {
    fn write(&self, _: &mut Vec<u8>) {}

    fn read(_: &mut &[u8]) -> Option<Self> {
        Some(())
    }
}

impl Key for Hash {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0);
    }

    fn read(input: &mut &[u8]) -> Option<Self> {
        take(input).map(Self)
    }
}

impl Key for BlockRef {
    fn write(&self, out: &mut Vec<u8>) {
        self.height.write(out);
        self.hash.write(out);
    }

    fn read(input: &mut &[u8]) -> Option<Self> {
        Some(Self {
            height: Key::read(input)?,
            hash: Key::read(input)?,
        })
    }
}

impl Key for Amount {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.0.to_be_bytes::<32>());
    }

    fn read(input: &mut &[u8]) -> Option<Self> {
        take(input).map(|bytes| Self(ruint::aliases::U256::from_be_bytes::<32>(bytes)))
    }
}

/// Text without NUL, which ends it.
impl Key for String {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
        out.push(0);
    }

    fn read(input: &mut &[u8]) -> Option<Self> {
        let end = input.iter().position(|byte| *byte == 0)?;
        let text = std::str::from_utf8(&input[..end]).ok()?.to_owned();
        *input = &input[end + 1..];
        Some(text)
    }
}

const EVM: u8 = 1;
const TEXT: u8 = 2;

impl Key for Address {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Evm(bytes) => {
                out.push(EVM);
                out.extend_from_slice(bytes);
            }
            Self::Text(text) => {
                out.push(TEXT);
                text.write(out);
            }
        }
    }

    fn read(input: &mut &[u8]) -> Option<Self> {
        match take::<1>(input)?[0] {
            EVM => take(input).map(Self::Evm),
            TEXT => String::read(input).map(Self::Text),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(key: &impl Key) -> Vec<u8> {
        let mut out = Vec::new();
        key.write(&mut out);
        out
    }

    #[test]
    fn keys_sort_as_their_values_do() {
        assert!(bytes(&1u64) < bytes(&256u64));
        assert!(bytes(&Reverse(256u64)) < bytes(&Reverse(1u64)));
        let short = Address::Text("a".into());
        let long = Address::Text("ab".into());
        assert!(bytes(&short) < bytes(&long));
        assert!(bytes(&Address::ZERO) < bytes(&short));
    }

    #[test]
    fn keys_come_back_from_their_bytes() {
        let address = Address::Text("miner-7".into());
        let mut encoded = &bytes(&address)[..];
        assert_eq!(Address::read(&mut encoded), Some(address));
        assert!(encoded.is_empty());
        assert_eq!(Address::read(&mut &[9u8, 9][..]), None);
        assert_eq!(u64::read(&mut &[0u8; 7][..]), None);
    }
}
