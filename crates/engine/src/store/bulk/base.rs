//! The latest rows of a rebuild, in memory, for the fold to read.

use cairn_domain::{
    Stream,
    projections::{FoldError, stream_prefix},
    table::TableDef,
};
use hashbrown::HashMap;

use crate::store::{Base, overlay::TableVersions};

type LatestRows = HashMap<Box<[u8]>, Box<[u8]>>;

/// The latest rows of a rebuild, for the fold to read.
#[derive(Default)]
pub struct BulkBase {
    tables: Vec<(&'static TableDef, LatestRows)>,
}

impl Base for BulkBase {
    fn get(
        &mut self,
        table: &'static TableDef,
        key: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<bool, FoldError> {
        let value = self.rows(table).and_then(|rows| rows.get(key));
        out.extend_from_slice(value.map_or(&[], |value| value));
        Ok(value.is_some())
    }
}

impl BulkBase {
    fn rows(&self, table: &'static TableDef) -> Option<&LatestRows> {
        self.tables
            .iter()
            .find(|(other, _)| std::ptr::eq(*other, table))
            .map(|(_, rows)| rows)
    }

    /// Takes in the latest rows of a chunk.
    pub(crate) fn absorb(&mut self, versions: &TableVersions) {
        let index = self
            .tables
            .iter()
            .position(|(table, _)| std::ptr::eq(*table, versions.table));
        let index = index.unwrap_or_else(|| {
            self.tables.push((versions.table, LatestRows::default()));
            self.tables.len() - 1
        });
        let rows = &mut self.tables[index].1;
        for (key, _, value) in versions.latest() {
            match (value, rows.get_mut(key)) {
                (Some(value), Some(slot)) if slot.len() == value.len() => {
                    slot.copy_from_slice(value)
                }
                (Some(value), Some(slot)) => *slot = value.into(),
                (Some(value), None) => {
                    rows.insert(key.into(), value.into());
                }
                (None, _) => {
                    rows.remove(key);
                }
            }
        }
    }

    /// Every key of a stream in a table, sorted.
    pub(crate) fn stream_keys(&self, table: &'static TableDef, stream: &Stream) -> Vec<Vec<u8>> {
        let prefix = stream_prefix(stream);
        let rows = self.rows(table).into_iter().flat_map(HashMap::keys);
        let keys = rows.filter(|key| key.starts_with(&prefix));
        let mut keys: Vec<_> = keys.map(|key| key.to_vec()).collect();
        keys.sort_unstable();
        keys
    }
}
