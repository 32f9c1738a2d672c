//! The `[[source]]` entries.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use cairn_domain::Stream;

use super::{
    endpoint::Endpoint,
    layers::Origin,
    reader::{Reader, number, one_of, parsed, switch, text},
    units::parse_duration,
};

/// Something that Cairn follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// The chain's name.
    pub(crate) name: String,
    /// The shard whose log it appends to, as an index into the shards.
    pub(crate) shard: usize,
    /// Blocks this far below the head are final.
    pub(crate) finality_depth: u64,
    /// What it is and where.
    pub(crate) kind: SourceKind,
}

/// What a source is and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SourceKind {
    /// An Ethereum JSON-RPC node.
    EvmRpc(EvmRpc),
    /// Files of blocks, and of receipts if there are any.
    File {
        /// Lines of blocks.
        path: PathBuf,
        /// Lines of receipts.
        receipts_path: Option<PathBuf>,
    },
}

/// An Ethereum JSON-RPC node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct EvmRpc {
    /// Its HTTP endpoint.
    pub(crate) url: Endpoint,
    /// Its WebSocket endpoint.
    pub(crate) ws: Option<Endpoint>,
    /// The first height to follow.
    pub(crate) start: u64,
    /// Whether to ask for receipts.
    pub(crate) receipts: bool,
    /// How often to ask for the head.
    pub(crate) poll_interval: Duration,
    /// What to do when final blocks are replaced.
    pub(crate) on_deep_reorg: OnDeepReorg,
}

/// What to do when a reorganisation goes below a final block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnDeepReorg {
    /// Stop the source and say so.
    Halt,
    /// Drop the chain and follow it anew.
    Reset,
}

#[derive(Clone, Copy)]
enum Kind {
    EvmRpc,
    File,
}

const KINDS: &[(&str, Kind)] = &[("evm-rpc", Kind::EvmRpc), ("file", Kind::File)];
const ON_DEEP_REORG: &[(&str, OnDeepReorg)] =
    &[("halt", OnDeepReorg::Halt), ("reset", OnDeepReorg::Reset)];

/// Reads all sources; none when any is wrong. `shards` are the names of the shards there are.
pub(super) fn read_sources(reader: &mut Reader<'_>, shards: &[String]) -> Option<Vec<Source>> {
    let mut names = BTreeSet::new();
    let count = count_sources(reader);
    let sources: Vec<_> = (0..count)
        .map(|index| read_source(reader, index, &mut names, shards))
        .collect();
    sources.into_iter().collect()
}

/// One more than the highest index that anything is set for.
fn count_sources(reader: &Reader<'_>) -> usize {
    let index = |key: &String| {
        key.split('.')
            .nth(1)
            .and_then(|index| index.parse::<usize>().ok())
    };
    // A mistyped index in the environment must not ask for a billion sources.
    let indices = reader
        .rest("source.")
        .filter_map(|(key, _)| index(key))
        .filter(|index| *index < 1000);
    indices.max().map_or(0, |index| index + 1)
}

fn read_source(
    reader: &mut Reader<'_>,
    index: usize,
    names: &mut BTreeSet<String>,
    shards: &[String],
) -> Option<Source> {
    let key = |name: &str| format!("source.{index}.{name}");
    let origin = reader
        .rest(&key(""))
        .next()
        .map_or(Origin::Default, |(_, s)| s.origin.clone());
    let name = reader.take_optional(&key("name"), parsed(|name| chain_name(name, names)));
    let kind = reader.take_optional(&key("kind"), one_of(KINDS));
    let depth = reader.take_optional(&key("finality_depth"), number(1));
    let shard = reader.take_optional(&key("shard"), parsed(|name| shard_index(name, shards)));
    if let Some(None) = name {
        let reason = "it is missing: name the chain, such as name = \"mainnet\"";
        reader.complain(origin.clone(), &key("name"), reason.into());
    }
    let kind = match kind {
        Some(Some(Kind::EvmRpc)) => read_evm_rpc(reader, &key, &origin).map(SourceKind::EvmRpc),
        Some(Some(Kind::File)) => read_file(reader, &key, &origin),
        None | Some(None) => {
            if kind.is_some() {
                let reason = "it is missing: write kind = \"evm-rpc\" or kind = \"file\"";
                reader.complain(origin.clone(), &key("kind"), reason.into());
            }
            // Whichever it is meant to be: what stands there is still read.
            let _only_for_its_problems = read_evm_rpc(reader, &key, &Origin::Default);
            let _only_for_its_problems = read_file(reader, &key, &Origin::Default);
            None
        }
    };
    Some(Source {
        name: name??,
        shard: shard?.unwrap_or(0),
        finality_depth: depth?.unwrap_or(64),
        kind: kind?,
    })
}

fn shard_index(name: &str, shards: &[String]) -> Result<usize, String> {
    let found = shards.iter().position(|shard| shard == name);
    found.ok_or_else(|| {
        format!(
            "there is no shard `{name}`: name one of `[log] shards`: {}",
            shards.join(", ")
        )
    })
}

fn chain_name(name: &str, names: &mut BTreeSet<String>) -> Result<String, String> {
    let fits =
        |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
    if Stream::chain(name).is_err() || !name.chars().all(fits) {
        return Err(format!(
            "`{name}` cannot name a chain: use a-z, 0-9, `-`, `_` and `.`, such as \"mainnet\""
        ));
    }
    match names.insert(name.to_owned()) {
        true => Ok(name.to_owned()),
        false => Err(format!(
            "two sources are called `{name}`: give each its own name"
        )),
    }
}

fn read_evm_rpc(
    reader: &mut Reader<'_>,
    key: &dyn Fn(&str) -> String,
    origin: &Origin,
) -> Option<EvmRpc> {
    let http = |text: &str| Endpoint::parse(text, &["http://", "https://"]);
    let ws = |text: &str| Endpoint::parse(text, &["ws://", "wss://"]);
    let url = reader.take_optional(&key("url"), parsed(http));
    let ws = reader.take_optional(&key("ws"), parsed(ws));
    let start = reader.take_optional(&key("start"), number(0));
    let receipts = reader.take_optional(&key("receipts"), switch);
    let poll = reader.take_optional(&key("poll_interval"), parsed(poll_interval));
    let deep = reader.take_optional(&key("on_deep_reorg"), one_of(ON_DEEP_REORG));
    require(
        reader,
        &url,
        key("url"),
        "url = \"http://127.0.0.1:8545\"",
        origin,
    );
    Some(EvmRpc {
        url: url??,
        ws: ws?,
        start: start?.unwrap_or(0),
        receipts: receipts?.unwrap_or(true),
        poll_interval: poll?.unwrap_or(Duration::from_secs(1)),
        on_deep_reorg: deep?.unwrap_or(OnDeepReorg::Halt),
    })
}

fn poll_interval(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        short if short < Duration::from_millis(10) => {
            Err("a node is asked at most every 10ms".into())
        }
        interval => Ok(interval),
    }
}

fn read_file(
    reader: &mut Reader<'_>,
    key: &dyn Fn(&str) -> String,
    origin: &Origin,
) -> Option<SourceKind> {
    let path = reader.take_optional(&key("path"), file_path);
    let receipts_path = reader.take_optional(&key("receipts_path"), file_path);
    require(
        reader,
        &path,
        key("path"),
        "path = \"blocks.jsonl.zst\"",
        origin,
    );
    Some(SourceKind::File {
        path: path??,
        receipts_path: receipts_path?,
    })
}

fn file_path(value: &super::layers::Value) -> Result<PathBuf, String> {
    match text(value)? {
        empty if empty.is_empty() => Err("it is empty: name a file, or leave the key out".into()),
        path => Ok(path.into()),
    }
}

/// Complains about a key that this kind of source needs, unless nobody knows the kind.
fn require<T>(
    reader: &mut Reader<'_>,
    value: &Option<Option<T>>,
    key: String,
    example: &str,
    origin: &Origin,
) {
    if matches!(value, Some(None)) && *origin != Origin::Default {
        reader.complain(
            origin.clone(),
            &key,
            format!("it is missing: write {example}"),
        );
    }
}
