//! Datasets and their files.

use std::collections::BTreeMap;

use cairn_domain::{
    Position,
    datasets::{self, DatasetDef},
    events::Visibility,
};
use cairn_lake::{FileEntry, Manifest};

use crate::{
    error::{ApiError, ErrorCode},
    models::{Dataset, DatasetFile, DatasetFiles, Datasets},
};

/// The datasets that everybody may see.
pub(crate) fn list(manifest: &Manifest) -> Datasets {
    let shown = datasets::all().filter(|dataset| dataset.visibility == Visibility::Public);
    Datasets {
        datasets: shown
            .map(|def| Dataset::new(def, manifest.files_of(def.name)))
            .collect(),
        sequence: manifest.sequence,
    }
}

/// A dataset that everybody may see.
pub(crate) fn find(name: &str) -> Result<&'static DatasetDef, ApiError> {
    let found = datasets::dataset(name);
    found
        .filter(|dataset| dataset.visibility == Visibility::Public)
        .ok_or_else(|| {
            let message = format!("no dataset `{name}`; `/api/v1/datasets` lists them all");
            ApiError::new(ErrorCode::NotFound, message)
        })
}

/// Refuses to go on behind a publication that this lake did not make.
pub(crate) fn check_followed(
    manifest: &Manifest,
    after: u64,
    generation: Option<u64>,
) -> Result<(), ApiError> {
    let is_same = generation.is_none_or(|generation| generation == manifest.generation);
    if is_same && after <= manifest.sequence {
        return Ok(());
    }
    let message = "the lake was made anew since: drop the files that there are, and begin again without `after` and `generation`";
    Err(ApiError::new(ErrorCode::HistoryTrimmed, message))
}

/// Files that were published behind a publication, of all streams or of one: whole publications, as many
/// as bring at least `limit` files.
pub(crate) fn files(
    manifest: &Manifest,
    dataset: &str,
    (after, chain): (u64, Option<&str>),
    limit: usize,
    base: &str,
) -> DatasetFiles {
    let stream = chain.map(|chain| format!("chain/{chain}"));
    let fits = |file: &&FileEntry| {
        file.sequence > after && stream.as_ref().is_none_or(|stream| file.stream == *stream)
    };
    let found: Vec<_> = manifest.files_of(dataset).filter(fits).collect();
    let last = found.get(limit.saturating_sub(1)).map(|file| file.sequence);
    let page: Vec<_> = found
        .iter()
        .take_while(|file| last.is_none_or(|last| file.sequence <= last))
        .collect();
    let more = page.len() < found.len();
    DatasetFiles {
        next_after: match more {
            true => last.unwrap_or(after),
            false => manifest.sequence,
        },
        more,
        generation: manifest.generation,
        resets: resets(manifest),
        files: page
            .iter()
            .map(|file| DatasetFile::new(file, base))
            .collect(),
    }
}

/// The position of the last reset of each chain that was reset.
fn resets(manifest: &Manifest) -> BTreeMap<String, u64> {
    let chains = manifest.shards.values().flat_map(|shard| &shard.chains);
    let reset = chains.filter(|(_, chain)| chain.reset > Position(0));
    let name = |stream: &String| stream.trim_start_matches("chain/").to_owned();
    reset
        .map(|(stream, chain)| (name(stream), chain.reset.0))
        .collect()
}
