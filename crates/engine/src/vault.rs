//! What must be read back and is nobody else's: sealed by AES-256-GCM (NIST SP 800-38D) under a
//! master key that never enters the log.
//!
//! Profiles have keys of their own, a file each, sealed under the master key. To destroy one is to make every
//! copy of the profile unreadable, whatever log or backup holds it.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use aes_gcm::{
    Aes256Gcm, KeyInit as _,
    aead::{Aead as _, Payload},
};

/// Length of a key in bytes.
pub const KEY: usize = 32;
/// Drawn at random: under one key there are far fewer secrets than the 2^32 for which that is safe.
const NONCE: usize = 12;

/// Why something cannot be sealed, or read back.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// It was sealed under another key, for another purpose, or is damaged.
    #[error("a secret cannot be opened: the master key is another one, or the secret is damaged")]
    Sealed,
    /// The file of a key cannot be read or written.
    #[error("the key {path} cannot be kept: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// See the module.
pub struct Vault {
    master: Aes256Gcm,
    /// Where the keys of profiles are.
    profiles: PathBuf,
}

fn cipher(key: &[u8; KEY]) -> Aes256Gcm {
    Aes256Gcm::new(key.into())
}

/// Nonce, then what the cipher makes of it: for `purpose` alone.
fn seal(cipher: &Aes256Gcm, purpose: &str, secret: &[u8]) -> Vec<u8> {
    let nonce: [u8; NONCE] = rand::random();
    let payload = Payload {
        msg: secret,
        aad: purpose.as_bytes(),
    };
    let sealed = cipher.encrypt((&nonce).into(), payload);
    // It fails for texts beyond 64 GiB.
    let sealed = sealed.expect("a secret fits into memory");
    [nonce.as_slice(), &sealed].concat()
}

fn open(cipher: &Aes256Gcm, purpose: &str, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
    let (nonce, msg) = sealed
        .split_first_chunk::<NONCE>()
        .ok_or(VaultError::Sealed)?;
    let payload = Payload {
        msg,
        aad: purpose.as_bytes(),
    };
    let opened = cipher.decrypt(nonce.into(), payload);
    opened.map_err(|_| VaultError::Sealed)
}

impl Vault {
    /// With this master key; keys of profiles are kept in a directory, which is made with the first of them.
    pub fn new(master: &[u8; KEY], profiles: &Path) -> Self {
        Self {
            master: cipher(master),
            profiles: profiles.to_owned(),
        }
    }

    /// Seals a secret for a purpose, which names whose it is and what for.
    pub fn seal(&self, purpose: &str, secret: &[u8]) -> Vec<u8> {
        seal(&self.master, purpose, secret)
    }

    /// Reads a secret back.
    ///
    /// # Errors
    /// [`VaultError::Sealed`].
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Result<Vec<u8>, VaultError> {
        open(&self.master, purpose, sealed)
    }

    /// Seals a profile under a new key of its own, which is durable when this returns.
    ///
    /// # Errors
    /// [`VaultError::File`].
    pub fn seal_profile(&self, id: &str, profile: &[u8]) -> Result<Vec<u8>, VaultError> {
        let key: [u8; KEY] = rand::random();
        let path = self.profile_key(id);
        let kept = write_durably(&path, &self.seal(&purpose_of_key(id), &key));
        kept.map_err(|source| VaultError::File { path, source })?;
        Ok(seal(&cipher(&key), id, profile))
    }

    /// Reads a profile back; none where its key is destroyed, or was never here.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn open_profile(&self, id: &str, sealed: &[u8]) -> Result<Option<Vec<u8>>, VaultError> {
        let path = self.profile_key(id);
        let key = match fs::read(&path) {
            Ok(key) => self.open(&purpose_of_key(id), &key)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(VaultError::File { path, source }),
        };
        let key = key.try_into().map_err(|_| VaultError::Sealed)?;
        open(&cipher(&key), id, sealed).map(Some)
    }

    /// Destroys the key of a profile; one that is gone already is no failure.
    ///
    /// # Errors
    /// [`VaultError::File`].
    pub fn destroy_profile(&self, id: &str) -> Result<(), VaultError> {
        let path = self.profile_key(id);
        let gone = match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            removed => removed.and_then(|()| sync_directory(&self.profiles)),
        };
        gone.map_err(|source| VaultError::File { path, source })
    }

    /// Whose profiles have keys here.
    ///
    /// # Errors
    /// [`VaultError::File`].
    pub fn profiles(&self) -> Result<Vec<String>, VaultError> {
        let fail = |source| VaultError::File {
            path: self.profiles.clone(),
            source,
        };
        let files = match fs::read_dir(&self.profiles) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            files => files.map_err(fail)?,
        };
        let mut ids = Vec::new();
        for file in files {
            let path = file.map_err(fail)?.path();
            if path.extension().is_some_and(|extension| extension == "key") {
                let id = path.file_stem().map(|id| id.to_string_lossy().into_owned());
                ids.extend(id);
            }
        }
        Ok(ids)
    }

    fn profile_key(&self, id: &str) -> PathBuf {
        self.profiles.join(format!("{id}.key"))
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vault").finish_non_exhaustive()
    }
}

fn purpose_of_key(id: &str) -> String {
    format!("the key of the profile of {id}")
}

/// Writes a file that only its owner may read, whole or not at all; it is durable when this returns. Its
/// directory is made if it is not there.
///
/// # Errors
/// Those of the file system.
pub fn write_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    let temporary = path.with_extension("key-new");
    let mut options = fs::OpenOptions::new();
    let options = options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    // Without it a loss of power could take back what was relied on already.
    sync_directory(directory)
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_opens_under_its_key_and_for_its_purpose_alone() {
        let directory = tempfile::tempdir().unwrap();
        let vault = Vault::new(&[1; KEY], directory.path());
        let sealed = vault.seal("the secret of ann", b"secret_1");
        assert_eq!(
            vault.open("the secret of ann", &sealed).unwrap(),
            b"secret_1"
        );
        assert!(vault.open("the secret of bob", &sealed).is_err());
        assert!(
            Vault::new(&[2; KEY], directory.path())
                .open("the secret of ann", &sealed)
                .is_err()
        );
        for length in 0..sealed.len() {
            assert!(vault.open("the secret of ann", &sealed[..length]).is_err());
        }
        assert_ne!(
            sealed,
            vault.seal("the secret of ann", b"secret_1"),
            "no nonce twice"
        );
    }

    #[test]
    fn a_profile_is_readable_until_its_key_is_destroyed() {
        let directory = tempfile::tempdir().unwrap();
        let keys = directory.path().join("profile-keys");
        let vault = Vault::new(&[1; KEY], &keys);
        assert_eq!(vault.profiles().unwrap(), Vec::<String>::new());
        let sealed = vault.seal_profile("ann", b"ann@example.com").unwrap();
        let mode = fs::metadata(keys.join("ann.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(!sealed.windows(3).any(|part| part == b"ann"));
        let again = Vault::new(&[1; KEY], &keys);
        assert_eq!(
            again.open_profile("ann", &sealed).unwrap().unwrap(),
            b"ann@example.com"
        );
        assert_eq!(again.profiles().unwrap(), ["ann"]);
        vault.destroy_profile("ann").unwrap();
        vault.destroy_profile("ann").unwrap();
        assert_eq!(again.open_profile("ann", &sealed).unwrap(), None);
    }
}
