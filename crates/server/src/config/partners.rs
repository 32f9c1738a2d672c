//! `[partners]`, `[limits]` and `[streams]`: keys of partners, and how much callers may ask for.

use cairn_api::StreamLimits;
use tokio::sync::Semaphore;

use super::{
    reader::{Reader, number, parsed, switch},
    secret::Secret,
    sections::memory,
};

/// `[partners]`.
#[derive(Debug, Clone)]
pub(crate) struct Partners {
    /// What secrets of the log are sealed under; empty: made at the first start.
    pub(crate) master_key: Secret,
    /// How keys begin.
    pub(crate) prefixes: Prefixes,
}

/// How keys and secrets begin.
#[derive(Debug, Clone)]
pub(crate) struct Prefixes {
    /// Keys.
    pub(crate) key: String,
    /// Secrets.
    pub(crate) secret: String,
}

/// `[limits]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Whether any is in force.
    pub(crate) enabled: bool,
    /// How many partners may register from one address in an hour.
    pub(crate) registrations_per_hour: u64,
}

/// Reads the section; none when anything in it is wrong.
pub(super) fn read_partners(reader: &mut Reader<'_>) -> Option<Partners> {
    let master_key = reader.take("partners.master_key", parsed(master_key));
    let key = reader.take("partners.key_prefix", parsed(prefix));
    let secret = reader.take("partners.secret_prefix", parsed(prefix));
    Some(Partners {
        master_key: master_key?,
        prefixes: Prefixes {
            key: key?,
            secret: secret?,
        },
    })
}

/// Reads the section; none when anything in it is wrong.
pub(super) fn read_limits(reader: &mut Reader<'_>) -> Option<Limits> {
    let enabled = reader.take("limits.enabled", switch);
    let registrations = reader.take("limits.registrations_per_hour", number(1));
    Some(Limits {
        enabled: enabled?,
        registrations_per_hour: registrations?,
    })
}

/// Reads `[streams]`; none when anything in it is wrong.
pub(super) fn read_streams(reader: &mut Reader<'_>) -> Option<StreamLimits> {
    let connections = reader.take("streams.max_connections", number(1));
    let of_a_partner = reader.take("streams.connections_of_a_partner", number(1));
    let subscriptions = reader.take("streams.subscriptions", number(1));
    let bytes = reader.take("streams.memory", parsed(|text| memory(text, 1 << 20)));
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    Some(StreamLimits {
        connections: size(connections?).min(Semaphore::MAX_PERMITS),
        connections_of_a_partner: size(of_a_partner?),
        subscriptions: size(subscriptions?),
        memory_bytes: bytes?,
    })
}

fn master_key(text: &str) -> Result<Secret, String> {
    const DIGITS: usize = 64;
    let is_one = text.len() == DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match text.is_empty() || is_one {
        true => Ok(Secret::new(text)),
        false => Err("it takes 64 hex digits, such as `openssl rand -hex 32` prints".into()),
    }
}

fn prefix(text: &str) -> Result<String, String> {
    const LONGEST: usize = 32;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    match text.len() <= LONGEST && text.bytes().all(is_plain) {
        true => Ok(text.to_owned()),
        false => Err("it may hold up to 32 letters, digits, `_` and `-`".into()),
    }
}
