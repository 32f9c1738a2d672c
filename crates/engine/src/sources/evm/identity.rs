//! Which chain a source follows: the chain id, remembered at the first contact with a node.
//!
//! It is a guard against a mistake in the configuration and no part of the truth, so it lies in a
//! file beside the log and may be deleted.

use std::{fs, io, path::Path};

use serde::{Deserialize, Serialize};

use crate::sources::SourceError;

#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    chain_id: u64,
}

/// Compares the chain id that a node has with the one that was remembered, and remembers it the
/// first time.
///
/// # Errors
/// [`SourceError::WrongChain`] when they differ, [`SourceError::Disk`].
pub(super) fn check(data_dir: &Path, chain: &str, found: u64) -> Result<(), SourceError> {
    let directory = data_dir.join("sources");
    let path = directory.join(format!("{}.json", file_name(chain)));
    let shown = path.display().to_string();
    let disk = |reason: String| SourceError::Disk {
        path: shown.clone(),
        reason,
    };
    match fs::read(&path) {
        Ok(bytes) => {
            let known: Remembered = serde_json::from_slice(&bytes).map_err(|error| {
                disk(format!(
                    "{error}; delete the file to take the node's chain id"
                ))
            })?;
            let known = known.chain_id;
            match known == found {
                true => Ok(()),
                false => Err(SourceError::WrongChain {
                    chain: chain.into(),
                    known,
                    found,
                    path: shown,
                }),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            remember(&directory, &path, found).map_err(|error| disk(error.to_string()))
        }
        Err(error) => Err(disk(error.to_string())),
    }
}

fn remember(directory: &Path, path: &Path, chain_id: u64) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let mut file = tempfile::NamedTempFile::new_in(directory)?;
    serde_json::to_writer(&mut file, &Remembered { chain_id })?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// A chain's name as the name of a file, whatever characters it has.
fn file_name(chain: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if chain.chars().all(plain) {
        chain.to_owned()
    } else {
        const_hex::encode(chain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_chain_id_than_before_is_refused_with_the_way_out() {
        let directory = tempfile::tempdir().unwrap();
        check(directory.path(), "eth", 1).unwrap();
        check(directory.path(), "eth", 1).unwrap();
        let error = check(directory.path(), "eth", 5).unwrap_err().to_string();
        assert!(
            error.contains("chain id 5") && error.contains("chain id 1"),
            "{error}"
        );
        assert!(error.contains("delete"), "{error}");
        check(directory.path(), "../x", 5).unwrap();
    }
}
