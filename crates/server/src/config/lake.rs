//! `[lake]`: final rows as Parquet files.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use cairn_lake::{Bucket, LakeOptions, Layout};

use super::{
    reader::{Reader, number, parsed, scalar},
    units::{parse_duration, parse_size},
};

/// `[lake]`.
#[derive(Debug, Clone)]
pub(crate) struct Lake {
    /// Where the files are, or are written before they go to the bucket.
    pub(crate) dir: PathBuf,
    /// The bucket that the files are in, if they are not in the directory.
    pub(crate) bucket: Option<Bucket>,
    /// How often what is final and in no file yet is put into files; none: never by the clock.
    pub(crate) cut_interval: Option<Duration>,
    /// How long the files of exports stay.
    pub(crate) keep_exports: Duration,
    /// How many bytes the files of exports may take together.
    pub(crate) exports_size: u64,
    /// How files are made and kept.
    pub(crate) options: LakeOptions,
}

/// Reads the section; none when anything in it is wrong.
pub(super) fn read_lake(reader: &mut Reader<'_>, data: Option<&Path>) -> Option<Lake> {
    let dir = reader.take("lake.dir", parsed(directory));
    let bucket = read_bucket(reader);
    let cut_interval = reader.take("lake.cut_interval", parsed(parse_duration));
    let range_heights = reader.take("lake.range_heights", number(1));
    let rows_per_file = reader.take("lake.rows_per_file", number(1));
    let keep_exports = reader.take("lake.keep_exports", parsed(parse_duration));
    let exports_size = reader.take("lake.exports_size", parsed(parse_size));
    let keep_replaced = reader.take("lake.keep_replaced", parsed(parse_duration));
    Some(Lake {
        dir: dir?.or_else(|| data.map(|data| data.join("lake")))?,
        bucket: bucket?,
        cut_interval: cut_interval.map(|every| (!every.is_zero()).then_some(every))?,
        keep_exports: keep_exports?,
        exports_size: exports_size?,
        options: LakeOptions {
            layout: Layout {
                range_heights: range_heights?,
                rows_per_file: rows_per_file?,
            },
            keep_replaced: keep_replaced?,
        },
    })
}

const STORAGE: &str = "lake.storage.";

/// Where the files go, if not into a directory; none when anything about it is wrong.
fn read_bucket(reader: &mut Reader<'_>) -> Option<Option<Bucket>> {
    let address = |text: &str| match text {
        "" => Ok(None),
        address => Bucket::at(address).map(Some),
    };
    let bucket = reader.take("lake.url", parsed(address));
    let keys: Vec<String> = reader.rest(STORAGE).map(|(key, _)| key.clone()).collect();
    let (mut settings, mut right) = (Vec::new(), true);
    for key in keys {
        let origin = reader.origin(&key);
        match reader.take(&key, scalar) {
            Some(value) => settings.push((origin, value, key)),
            None => right = false,
        }
    }
    let mut bucket = bucket?;
    for (origin, value, key) in settings {
        let set = match &mut bucket {
            Some(bucket) => bucket.set(key.trim_start_matches(STORAGE), &value),
            None => Err("it says how to reach lake.url, which is empty".to_owned()),
        };
        if let Err(reason) = set {
            reader.complain(origin, &key, reason);
            right = false;
        }
    }
    right.then_some(bucket)
}

fn directory(text: &str) -> Result<Option<PathBuf>, String> {
    Ok((!text.is_empty()).then(|| text.into()))
}
