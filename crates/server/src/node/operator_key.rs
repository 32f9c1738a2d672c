//! The operator key: from the configuration, else made at the first start and kept in the data
//! directory, for its owner's eyes alone.

use std::{fs, io, path::Path};

use anyhow::Context as _;
use cairn_engine::vault::write_durably;

use crate::config::{Secret, Server};

const FILE: &str = "operator.key";

/// The key that operators and other nodes must show.
pub(crate) fn operator_key(server: &Server, data_dir: &Path) -> anyhow::Result<Secret> {
    if !server.operator_key.reveal().is_empty() {
        return Ok(server.operator_key.clone());
    }
    kept(&data_dir.join(FILE))
}

/// The key in a file, which is made if it is not there.
pub(super) fn kept(path: &Path) -> anyhow::Result<Secret> {
    let kept = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => make(path),
        read => read,
    };
    let kept = kept.with_context(|| {
        format!(
            "cannot read or make {}: make the data directory writable",
            path.display()
        )
    })?;
    match kept.trim() {
        "" => anyhow::bail!(
            "{} is empty: delete it, and a new key is made",
            path.display()
        ),
        key => Ok(Secret::new(key)),
    }
}

/// The key of a deployment, as a command uses it, which makes none: empty where there is none yet.
pub(crate) fn kept_operator_key(server: &Server, data_dir: &Path) -> anyhow::Result<Secret> {
    match data_dir.join(FILE).exists() {
        true => operator_key(server, data_dir),
        false => Ok(server.operator_key.clone()),
    }
}

fn make(path: &Path) -> io::Result<String> {
    let key = const_hex::encode(rand::random::<[u8; 32]>());
    write_durably(path, format!("{key}\n").as_bytes())?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::config::{Config, Flags};

    #[test]
    fn the_key_is_made_once_and_only_its_owner_may_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let config = Config::read(None, [], &Flags::default()).unwrap();
        let key = operator_key(&config.server, directory.path()).unwrap();
        assert_eq!(key.reveal().len(), 64);
        assert_eq!(operator_key(&config.server, directory.path()).unwrap(), key);
        let mode = fs::metadata(directory.path().join(FILE))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let mut configured = config.server;
        configured.operator_key = Secret::new("a key of our own");
        let key = operator_key(&configured, directory.path()).unwrap();
        assert_eq!(key.reveal(), "a key of our own");
        assert!(!format!("{configured:?}").contains("of our own"));
    }
}
