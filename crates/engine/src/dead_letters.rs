//! Dead letters: what a source could not decode, kept before anything is appended (promise P9).
//!
//! One JSON file per letter in a directory, so that a person can read and mend it with any tool. The
//! same block of the same source, with the same reason, is the same letter.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
};

use cairn_domain::Hash;
use serde::{Deserialize, Serialize};

use crate::{
    clock::now_millis,
    sources::evm::{DecodeError, DecodedBlock, decode},
};

/// Something that could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Made from source, height, hash and reason.
    pub id: String,
    /// The source's name.
    pub source: String,
    /// The chain's name.
    pub chain: String,
    /// The block's height, as far as it is known.
    pub height: Option<u64>,
    /// The block's hash, as far as it is known.
    pub hash: Option<Hash>,
    /// What is wrong with it.
    pub reason: String,
    /// When it came, milliseconds since 1970.
    pub time: u64,
    /// The block as it came.
    pub block: String,
    /// Its receipts as they came.
    pub receipts: Option<String>,
}

/// A letter that is about to be kept.
#[derive(Debug, Clone)]
pub struct DeadLetterArgs {
    /// The source's name.
    pub source: String,
    /// The chain's name.
    pub chain: String,
    /// The block's height, as far as it is known.
    pub height: Option<u64>,
    /// The block's hash, as far as it is known.
    pub hash: Option<Hash>,
    /// What is wrong with it.
    pub reason: String,
    /// The block as it came.
    pub block: String,
    /// Its receipts as they came.
    pub receipts: Option<String>,
}

/// Why a letter could not be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterError {
    /// The system refused.
    #[error("{path}: {source}")]
    Io {
        /// Which file or directory.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file is no letter.
    #[error("{path} is not a dead letter: {reason}; mend or remove the file")]
    Damaged {
        /// Which file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// There is no such letter.
    #[error("there is no dead letter {0}; `cairn dead-letter list` shows them")]
    Unknown(String),
}

/// The directory of letters.
#[derive(Debug, Clone)]
pub struct DeadLetters {
    directory: PathBuf,
}

impl DeadLetters {
    /// The letters of a data directory; nothing is made before the first letter comes.
    pub fn new(data_dir: &Path) -> Self {
        Self {
            directory: data_dir.join("dead-letters"),
        }
    }

    fn path(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }

    /// Keeps a letter and returns its id once it is durable. A letter that is there already stays.
    ///
    /// # Errors
    /// [`DeadLetterError::Io`].
    pub fn put(&self, args: DeadLetterArgs) -> Result<String, DeadLetterError> {
        let id = id_of(&args);
        let path = self.path(&id);
        if path.exists() {
            return Ok(id);
        }
        let letter = letter(id.clone(), args);
        self.write(&path, &letter)
            .map_err(|source| io_error(&path, source))?;
        Ok(id)
    }

    fn write(&self, path: &Path, letter: &DeadLetter) -> io::Result<()> {
        fs::create_dir_all(&self.directory)?;
        let mut file = tempfile::NamedTempFile::new_in(&self.directory)?;
        serde_json::to_writer_pretty(&mut file, letter)?;
        file.flush()?;
        file.as_file().sync_all()?;
        file.persist(path)?;
        fs::File::open(&self.directory)?.sync_all()
    }

    /// All letters, oldest first.
    ///
    /// # Errors
    /// [`DeadLetterError`].
    pub fn list(&self) -> Result<Vec<DeadLetter>, DeadLetterError> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(io_error(&self.directory, source)),
        };
        let mut letters = Vec::new();
        for entry in entries {
            let path = entry
                .map_err(|source| io_error(&self.directory, source))?
                .path();
            if path
                .extension()
                .is_some_and(|extension| extension == "json")
            {
                letters.push(read(&path)?);
            }
        }
        letters.sort_by(|a, b| (a.time, &a.id).cmp(&(b.time, &b.id)));
        Ok(letters)
    }

    /// One letter.
    ///
    /// # Errors
    /// [`DeadLetterError::Unknown`] and the others.
    pub fn get(&self, id: &str) -> Result<DeadLetter, DeadLetterError> {
        let known = id.bytes().all(|byte| byte.is_ascii_hexdigit()) && self.path(id).exists();
        if known {
            read(&self.path(id))
        } else {
            Err(DeadLetterError::Unknown(id.into()))
        }
    }

    /// Forgets a letter.
    ///
    /// # Errors
    /// [`DeadLetterError::Unknown`] and the others.
    pub fn remove(&self, id: &str) -> Result<(), DeadLetterError> {
        self.get(id)?;
        let path = self.path(id);
        fs::remove_file(&path).map_err(|source| io_error(&path, source))
    }

    /// Decodes a letter again, with this version of cairn and as its file is now.
    ///
    /// # Errors
    /// [`DecodeError`] when it still does not decode.
    pub fn retry(letter: &DeadLetter) -> Result<DecodedBlock, DecodeError> {
        decode(&letter.block, letter.receipts.as_deref())
    }
}

fn id_of(args: &DeadLetterArgs) -> String {
    let mut hasher = blake3::Hasher::new();
    let height = args
        .height
        .map_or_else(String::new, |height| height.to_string());
    let hash = args.hash.map_or_else(String::new, |hash| hash.to_string());
    for part in [&args.source, &args.chain, &height, &hash, &args.reason] {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

fn letter(id: String, args: DeadLetterArgs) -> DeadLetter {
    let time = now_millis();
    let DeadLetterArgs {
        source,
        chain,
        height,
        hash,
        reason,
        block,
        receipts,
    } = args;
    DeadLetter {
        id,
        source,
        chain,
        height,
        hash,
        reason,
        time,
        block,
        receipts,
    }
}

fn read(path: &Path) -> Result<DeadLetter, DeadLetterError> {
    let bytes = fs::read(path).map_err(|source| io_error(path, source))?;
    serde_json::from_slice(&bytes).map_err(|error| DeadLetterError::Damaged {
        path: path.display().to_string(),
        reason: error.to_string(),
    })
}

fn io_error(path: &Path, source: io::Error) -> DeadLetterError {
    DeadLetterError::Io {
        path: path.display().to_string(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(reason: &str) -> DeadLetterArgs {
        DeadLetterArgs {
            source: "eth".into(),
            chain: "eth".into(),
            height: Some(7),
            hash: Some(Hash([7; 32])),
            reason: reason.into(),
            block: "{\"number\":".into(),
            receipts: None,
        }
    }

    #[test]
    fn the_same_letter_is_kept_once_and_can_be_found_and_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let letters = DeadLetters::new(directory.path());
        assert_eq!(letters.list().unwrap(), []);
        let id = letters.put(args("cut off")).unwrap();
        let first = letters.get(&id).unwrap();
        assert_eq!(letters.put(args("cut off")).unwrap(), id);
        assert_eq!(letters.list().unwrap(), std::slice::from_ref(&first));
        assert!(DeadLetters::retry(&first).is_err());
        letters.put(args("another reason")).unwrap();
        assert_eq!(letters.list().unwrap().len(), 2);
        letters.remove(&id).unwrap();
        assert!(matches!(letters.get(&id), Err(DeadLetterError::Unknown(_))));
    }

    #[test]
    fn an_id_cannot_leave_the_directory() {
        let directory = tempfile::tempdir().unwrap();
        let letters = DeadLetters::new(directory.path());
        assert!(matches!(
            letters.get("../secret"),
            Err(DeadLetterError::Unknown(_))
        ));
    }
}
