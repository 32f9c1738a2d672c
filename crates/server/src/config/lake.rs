//! `[lake]`: final rows as Parquet files.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use cairn_lake::{LakeOptions, Layout};

use super::{
    reader::{Reader, number, parsed},
    units::parse_duration,
};

/// `[lake]`.
#[derive(Debug, Clone)]
pub(crate) struct Lake {
    /// Where the files are.
    pub(crate) dir: PathBuf,
    /// How often what is final and in no file yet is put into files; none: never by the clock.
    pub(crate) cut_interval: Option<Duration>,
    /// How long the files of exports stay.
    pub(crate) keep_exports: Duration,
    /// How files are made and kept.
    pub(crate) options: LakeOptions,
}

/// Reads the section; none when anything in it is wrong.
pub(super) fn read_lake(reader: &mut Reader<'_>, data: Option<&Path>) -> Option<Lake> {
    let dir = reader.take("lake.dir", parsed(directory));
    let cut_interval = reader.take("lake.cut_interval", parsed(parse_duration));
    let range_heights = reader.take("lake.range_heights", number(1));
    let rows_per_file = reader.take("lake.rows_per_file", number(1));
    let keep_exports = reader.take("lake.keep_exports", parsed(parse_duration));
    let keep_replaced = reader.take("lake.keep_replaced", parsed(parse_duration));
    Some(Lake {
        dir: dir?.or_else(|| data.map(|data| data.join("lake")))?,
        cut_interval: cut_interval.map(|every| (!every.is_zero()).then_some(every))?,
        keep_exports: keep_exports?,
        options: LakeOptions {
            layout: Layout {
                range_heights: range_heights?,
                rows_per_file: rows_per_file?,
            },
            keep_replaced: keep_replaced?,
        },
    })
}

fn directory(text: &str) -> Result<Option<PathBuf>, String> {
    Ok((!text.is_empty()).then(|| text.into()))
}
