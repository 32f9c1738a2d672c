//! What opens secrets of the log: the master key, from the configuration, else made at the first start and kept in
//! the data directory for its owner's eyes alone, and the keys of profiles.

use std::path::Path;

use anyhow::Context as _;
use cairn_engine::vault::{KEY, Vault};

use super::operator_key::kept;
use crate::config::Secret;

const FILE: &str = "master.key";
const PROFILES: &str = "profile-keys";

/// The vault of a data directory.
pub(super) fn open(master_key: &Secret, data_dir: &Path) -> anyhow::Result<Vault> {
    let path = data_dir.join(FILE);
    let (text, place) = match master_key.reveal() {
        "" => (kept(&path)?, path.display().to_string()),
        _ => (master_key.clone(), "[partners] master_key".to_owned()),
    };
    let mut key = [0; KEY];
    const_hex::decode_to_slice(text.reveal(), &mut key).with_context(|| {
        format!(
            "{place} is not a key: it takes 64 hex digits, such as `openssl rand -hex 32` prints"
        )
    })?;
    Ok(Vault::new(&key, &data_dir.join(PROFILES)))
}
