//! Sorted files of one table, which RocksDB takes over as they are.

use std::path::{Path, PathBuf};

use cairn_domain::table::{TableDef, TableKind};
use rocksdb::{IngestExternalFileOptions, Options, SstFileWriter};

use crate::store::{Store, StoreError, overlay::VersionRef, timestamp};

/// Files of this size are handed to RocksDB, in bytes of keys and values.
const FILE_BYTES: usize = 64 << 20;

/// See the module.
pub(super) struct Files<'a> {
    table: &'static TableDef,
    options: &'a Options,
    directory: &'a Path,
    writer: Option<SstFileWriter<'a>>,
    bytes: usize,
    paths: Vec<PathBuf>,
    last_key: Vec<u8>,
}

impl<'a> Files<'a> {
    pub(super) fn new(table: &'static TableDef, options: &'a Options, directory: &'a Path) -> Self {
        let (paths, last_key) = (Vec::new(), Vec::new());
        Self {
            table,
            options,
            directory,
            writer: None,
            bytes: 0,
            paths,
            last_key,
        }
    }

    /// Takes the next row in the order of keys, newest version first.
    pub(super) fn put(&mut self, (key, position, value): VersionRef<'_>) -> Result<(), StoreError> {
        let same_key = self.writer.is_some() && self.last_key == key;
        if same_key && matches!(self.table.kind, TableKind::Immutable { .. }) {
            // Written again with the same content, after its block became canonical again.
            return Ok(());
        }
        // All versions of a row stay in one file: files of a versioned table may not share a key.
        if self.bytes >= FILE_BYTES && !same_key {
            self.close()?;
        }
        if !same_key {
            self.last_key.clear();
            self.last_key.extend_from_slice(key);
        }
        self.bytes += key.len() + value.map_or(0, <[u8]>::len);
        let table = self.table;
        let writer = self.writer()?;
        match (table.kind, value) {
            (TableKind::Immutable { .. }, value) => writer.put(key, value.unwrap_or_default())?,
            (TableKind::Versioned, Some(value)) => {
                writer.put_with_ts(key, timestamp(position), value)?
            }
            (TableKind::Versioned, None) => writer.delete_with_ts(key, timestamp(position))?,
        }
        Ok(())
    }

    fn writer(&mut self) -> Result<&mut SstFileWriter<'a>, StoreError> {
        if self.writer.is_none() {
            let path = self
                .directory
                .join(format!("{}-{}.sst", self.table.name, self.paths.len()));
            let writer = SstFileWriter::create(self.options);
            writer.open(&path)?;
            self.paths.push(path);
            self.writer = Some(writer);
        }
        self.writer
            .as_mut()
            .ok_or_else(|| StoreError::Storage("no file is open".into()))
    }

    fn close(&mut self) -> Result<(), StoreError> {
        self.bytes = 0;
        match self.writer.take() {
            Some(mut writer) => Ok(writer.finish()?),
            None => Ok(()),
        }
    }

    /// Hands the files to a column family.
    pub(super) fn ingest(mut self, store: &Store, family: &str) -> Result<(), StoreError> {
        self.close()?;
        if self.paths.is_empty() {
            return Ok(());
        }
        let mut options = IngestExternalFileOptions::default();
        options.set_move_files(true);
        let family = store.family(family);
        Ok(store
            .db
            .ingest_external_file_cf_opts(&family, &options, self.paths)?)
    }
}
