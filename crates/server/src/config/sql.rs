//! `[sql]`: the limits of queries.

use std::path::{Path, PathBuf};

use cairn_lake::sql::SqlOptions;

use super::{
    reader::{Reader, number, parsed},
    sections::{memory, some_time},
    units::parse_size,
};

/// Reads the section; none when anything in it is wrong.
pub(super) fn read_sql(reader: &mut Reader<'_>, data: Option<&Path>) -> Option<SqlOptions> {
    let all = reader.take("sql.memory", parsed(|text| memory(text, 16 << 20)));
    let one = reader.take("sql.query_memory", parsed(|text| memory(text, 1 << 20)));
    let timeout = reader.take("sql.timeout", parsed(some_time));
    let max_rows = reader.take("sql.max_rows", number(1));
    let concurrency = reader.take("sql.concurrency", number(1));
    let of_a_caller = reader.take("sql.concurrency_of_a_caller", number(1));
    let threads = reader.take("sql.threads", number(0));
    let spill = reader.take("sql.spill", parsed(parse_size));
    let spill_dir = data.map_or_else(PathBuf::new, |dir| dir.join("sql-spill"));
    let defaults = SqlOptions::new(spill_dir);
    Some(SqlOptions {
        memory_bytes: all?,
        query_memory_bytes: one?,
        timeout: timeout?,
        max_rows: usize::try_from(max_rows?).unwrap_or(usize::MAX),
        concurrency: usize::try_from(concurrency?).unwrap_or(usize::MAX),
        concurrency_of_a_caller: usize::try_from(of_a_caller?).unwrap_or(usize::MAX),
        threads: match threads? {
            0 => defaults.threads,
            threads => usize::try_from(threads).unwrap_or(usize::MAX),
        },
        spill_bytes: spill?,
        ..defaults
    })
}
