//! Which log it is.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize, de::Error as _};

/// The name that a log gets at random when it is made. It goes with the log wherever that is
/// copied, so that what names positions of the log, such as a cursor, is of the copy, too, and of no
/// other log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LogId(pub [u8; 16]);

impl LogId {
    /// An id that no other log has.
    pub fn random() -> Self {
        Self(rand::random())
    }
}

/// 32 hex digits.
impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&const_hex::encode(self.0))
    }
}

impl FromStr for LogId {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut id = [0; 16];
        const_hex::decode_to_slice(text, &mut id)
            .map_err(|_| format!("`{text}` is no id of a log: expected 32 hex digits"))?;
        Ok(Self(id))
    }
}

impl Serialize for LogId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LogId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_comes_back_from_its_text_and_no_two_are_alike() {
        let id = LogId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_ne!(id, LogId::random());
        assert!("0x12".parse::<LogId>().is_err());
    }
}
