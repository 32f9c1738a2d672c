//! What token contracts return: names, symbols and decimals, as far as they make sense.

/// The longest text that is kept, in characters.
const LONGEST: usize = 128;

/// A text as contracts return it: an ABI `string`, or 32 bytes padded with zeros as early ones do.
pub(super) fn text(bytes: &[u8]) -> Option<String> {
    let raw = match bytes.len() {
        32 => bytes.split(|byte| *byte == 0).next()?,
        _ => {
            let offset = usize::try_from(word(bytes, 0)?).ok()?;
            let length = usize::try_from(word(bytes, offset)?).ok()?;
            let start = offset.checked_add(32)?;
            bytes.get(start..start.checked_add(length)?)?
        }
    };
    let clean: String = String::from_utf8_lossy(raw)
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    let clean: String = clean.trim().chars().take(LONGEST).collect();
    (!clean.is_empty()).then_some(clean)
}

/// A number of one byte.
pub(super) fn small_number(bytes: &[u8]) -> Option<u8> {
    u8::try_from(word(bytes, 0)?).ok()
}

/// A word of 32 bytes as a number, if it is small enough to be a length or an offset.
fn word(bytes: &[u8], at: usize) -> Option<u64> {
    let word = bytes.get(at..at.checked_add(32)?)?;
    let (high, low) = word.split_last_chunk::<8>()?;
    high.iter()
        .all(|byte| *byte == 0)
        .then(|| u64::from_be_bytes(*low))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn abi(text: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 64];
        bytes[31] = 32;
        bytes[56..64].copy_from_slice(&(text.len() as u64).to_be_bytes());
        bytes.extend_from_slice(text);
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        bytes
    }

    #[test]
    fn names_come_as_strings_and_as_padded_words() {
        assert_eq!(text(&abi(b"Demo Token")).as_deref(), Some("Demo Token"));
        let mut word = [0; 32];
        word[..3].copy_from_slice(b"MKR");
        assert_eq!(text(&word).as_deref(), Some("MKR"));
    }

    #[test]
    fn garbage_is_no_name_and_no_panic() {
        assert_eq!(text(&[]), None);
        assert_eq!(text(&[0xff; 64]), None);
        assert_eq!(text(&abi(b"")), None);
        let mut long = abi(b"x");
        long[56..64].copy_from_slice(&u64::MAX.to_be_bytes());
        assert_eq!(text(&long), None);
        assert_eq!(text(&abi(b"a\x00\x07b\n")).as_deref(), Some("ab"));
        assert_eq!(
            text(&abi(&[b'x'; 5000])).map(|text| text.len()),
            Some(LONGEST)
        );
        assert_eq!(small_number(&[0xff; 32]), None);
    }
}
