//! Datasets and their files.

use cairn_domain::{
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
        files: page
            .iter()
            .map(|file| DatasetFile::new(file, base))
            .collect(),
    }
}
