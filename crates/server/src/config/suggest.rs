//! "Did you mean …?"

/// The candidate that is closest to `word`, if it is close enough to be what was meant.
pub(crate) fn closest<'a>(word: &str, candidates: &[&'a str]) -> Option<&'a str> {
    let near = candidates
        .iter()
        .map(|candidate| (distance(word, candidate), *candidate));
    let (distance, candidate) = near.min()?;
    (distance <= 1 + candidate.len() / 3).then_some(candidate)
}

/// Levenshtein's distance, by bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let substituted = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_finds_its_word_and_nonsense_finds_none() {
        let keys = ["listen", "public_url", "shutdown_grace"];
        assert_eq!(closest("lisen", &keys), Some("listen"));
        assert_eq!(closest("public-url", &keys), Some("public_url"));
        assert_eq!(closest("colour", &keys), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
