//! Writing what a fold produced: rows, undo lists and positions in one batch (promise P4).

use std::collections::BTreeMap;

use cairn_domain::{
    Position, Stream,
    projections::{ALL, FoldError, stream_prefix},
    table::{TableDef, TableKind},
};
use rocksdb::{AsColumnFamilyRef, ReadOptions, WriteBatch};

use super::{Base, Overlay, Step, Store, StoreError, TableVersions, UNDO, family_name, timestamp};
use crate::runner::hot::{HotChange, HotCommit};

/// The live rows as a base for folding.
pub struct LiveBase<'a>(pub &'a Store);

impl Base for LiveBase<'_> {
    fn get(
        &mut self,
        table: &'static TableDef,
        key: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<bool, FoldError> {
        match self.0.get_as_of(table, key, Position(u64::MAX))? {
            Some(value) => {
                out.extend_from_slice(&value);
                Ok(true)
            }
            None => Ok(false),
        }
    }
}

fn undo_key(stream: &Stream, position: Position) -> Vec<u8> {
    let mut key = stream_prefix(stream);
    key.extend_from_slice(&position.0.to_be_bytes());
    key
}

fn put_rows(batch: &mut WriteBatch, family: &impl AsColumnFamilyRef, table: &TableVersions) {
    let versioned = matches!(table.table.kind, TableKind::Versioned);
    for (key, position, value) in table.iter() {
        match value {
            _ if !versioned => batch.put_cf(family, key, value.unwrap_or_default()),
            Some(value) => batch.put_cf_with_ts(family, key, timestamp(position), value),
            None => batch.delete_cf_with_ts(family, key, timestamp(position)),
        }
    }
}

impl Store {
    /// What a row of a versioned table of the live generation held as of a position.
    pub(crate) fn get_as_of(
        &self,
        table: &'static TableDef,
        key: &[u8],
        at: Position,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let mut options = ReadOptions::default();
        options.set_timestamp(timestamp(at));
        Ok(self
            .db
            .get_cf_opt(&self.table_family(table), key, &options)?)
    }

    /// The keys of a stream's rows in a versioned table of the live generation.
    pub(crate) fn stream_keys(
        &self,
        table: &'static TableDef,
        stream: &Stream,
    ) -> Result<Vec<Vec<u8>>, StoreError> {
        let prefix = stream_prefix(stream);
        let mut options = ReadOptions::default();
        options.set_timestamp(timestamp(Position(u64::MAX)));
        options.set_total_order_seek(true);
        let mut iterator = self
            .db
            .raw_iterator_cf_opt(&self.table_family(table), options);
        iterator.seek(&prefix);
        let mut keys = Vec::new();
        while let Some(key) = iterator.key().filter(|key| key.starts_with(&prefix)) {
            keys.push(key.to_vec());
            iterator.next();
        }
        iterator.status()?;
        Ok(keys)
    }

    /// Writes rows into generations that nobody reads yet.
    ///
    /// # Errors
    /// [`StoreError::Storage`].
    pub(crate) fn write_unseen(
        &self,
        tables: &[TableVersions],
        generations: &[(&'static TableDef, u32)],
    ) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        for (table, generation) in generations {
            let versions = tables.iter().find(|v| std::ptr::eq(v.table, *table));
            if let Some(versions) = versions {
                let family = self.family(&family_name(table, *generation));
                put_rows(&mut batch, &family, versions);
            }
        }
        Ok(self.db.write(batch)?)
    }

    /// Writes the rows of an overlay, changes of the hot window, and the position of the named
    /// projections; then lets readers see them.
    ///
    /// # Errors
    /// [`StoreError::Storage`]; then nothing was written.
    pub(crate) fn commit(
        &self,
        overlay: &Overlay<'_>,
        hot: &[HotChange],
        projections: &[&'static str],
        position: Position,
    ) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        for table in overlay.tables() {
            put_rows(&mut batch, &self.table_family(table.table), table);
        }
        self.put_hot(&mut batch, hot);
        let mut states = self.states();
        for name in projections {
            if let Some(state) = states.get_mut(name) {
                state.position = position;
                self.put_meta(&mut batch, name, state);
            }
        }
        self.db.write(batch)?;
        self.options.steps.done(Step::BatchWritten);
        *self.states.write().expect("no panic holds it") = states;
        self.publish();
        Ok(())
    }

    pub(crate) fn put_hot(&self, batch: &mut WriteBatch, changes: &[HotChange]) {
        let undo = self.family(UNDO);
        for change in changes {
            match change {
                HotChange::Add(stream, position, commit) => {
                    batch.put_cf(&undo, undo_key(stream, *position), commit.encode());
                }
                HotChange::Remove(stream, position) => {
                    batch.delete_cf(&undo, undo_key(stream, *position));
                }
            }
        }
    }

    /// The hot window as it was last written.
    pub(crate) fn load_hot(
        &self,
    ) -> Result<BTreeMap<Stream, BTreeMap<Position, HotCommit>>, StoreError> {
        let mut hot: BTreeMap<Stream, BTreeMap<Position, HotCommit>> = BTreeMap::new();
        let damaged =
            || StoreError::Storage("an undo list is damaged; delete the store and replay".into());
        for item in self
            .db
            .iterator_cf(&self.family(UNDO), rocksdb::IteratorMode::Start)
        {
            let (key, value) = item?;
            let split = key.iter().position(|byte| *byte == 0).ok_or_else(damaged)?;
            let name = std::str::from_utf8(&key[..split]).map_err(|_| damaged())?;
            let stream = Stream::new(name).map_err(|_| damaged())?;
            let position = key[split + 1..].first_chunk::<8>().ok_or_else(damaged)?;
            let commit = HotCommit::decode(&value).ok_or_else(damaged)?;
            let position = Position(u64::from_be_bytes(*position));
            hot.entry(stream).or_default().insert(position, commit);
        }
        Ok(hot)
    }

    /// Marks a projection as stopped, with the reason; no read of it succeeds until it is rebuilt.
    pub(crate) fn fail(&self, name: &'static str, reason: &str) -> Result<(), StoreError> {
        let mut states = self.states();
        if let Some(state) = states.get_mut(name) {
            state.failure = Some(reason.into());
            self.set_meta(name, state)?;
        }
        *self.states.write().expect("no panic holds it") = states;
        self.publish();
        Ok(())
    }

    /// Projections that an older version of cairn filled: they wait for a rebuild.
    pub fn outdated(&self) -> Vec<String> {
        let states = self.states.read().expect("no panic holds it");
        let outdated = ALL
            .iter()
            .filter(|projection| states[projection.name()].version < projection.version());
        outdated
            .map(|projection| projection.name().to_owned())
            .collect()
    }

    /// Makes a projection look as if an older version of cairn had filled it, for tests.
    #[doc(hidden)]
    pub fn age_projection(&self, name: &'static str) -> Result<(), StoreError> {
        let mut states = self.states();
        if let Some(state) = states.get_mut(name) {
            state.version = 0;
            self.set_meta(name, state)?;
        }
        *self.states.write().expect("no panic holds it") = states;
        self.publish();
        Ok(())
    }

    /// Leaves nothing of a projection on disk, as if the version of cairn that wrote it had none of
    /// that name, for tests; the store must then be opened anew.
    #[doc(hidden)]
    pub fn forget_projection(&self, name: &'static str) -> Result<(), StoreError> {
        self.drop_projection(name)?;
        Ok(self.db.delete_cf(&self.family(super::META), name)?)
    }

    /// Drops the tables of a projection and leaves its state, as a version of cairn that has none of
    /// that name does, for tests; the store must then be opened anew.
    #[doc(hidden)]
    pub fn drop_projection(&self, name: &'static str) -> Result<(), StoreError> {
        let generation = self.generation(name);
        for table in super::projection(name).iter().flat_map(|p| p.tables()) {
            self.db.drop_cf(&family_name(table, generation))?;
        }
        Ok(())
    }

    /// Projections that fold along: not failed, and of this version.
    pub(crate) fn live(&self) -> Vec<&'static str> {
        let states = self.states.read().expect("no panic holds it");
        let live = ALL.iter().filter(|projection| {
            let state = &states[projection.name()];
            state.failure.is_none() && state.version == projection.version()
        });
        live.map(|projection| projection.name()).collect()
    }
}

impl Store {
    /// Makes new generations the live ones, in one batch, and drops the old ones.
    pub(crate) fn swap(
        &self,
        generations: &[(&'static dyn cairn_domain::projections::Projection, u32)],
        position: Position,
        hot: &[HotChange],
    ) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        self.put_hot(&mut batch, hot);
        let mut states = self.states();
        for (projection, generation) in generations {
            let (version, generation) = (projection.version(), *generation);
            let state = super::ProjectionState {
                version,
                generation,
                position,
                failure: None,
            };
            self.put_meta(&mut batch, projection.name(), &state);
            states.insert(projection.name(), state);
        }
        let mut options = rocksdb::WriteOptions::default();
        options.set_sync(true);
        self.db.write_opt(batch, &options)?;
        self.options.steps.done(Step::GenerationsSwapped);
        *self.states.write().expect("no panic holds it") = states.clone();
        self.publish();
        self.unsettle(position);
        self.drop_unused(&states)
    }

    /// Writes everything to files, so that the next start has nothing to recover.
    ///
    /// # Errors
    /// [`StoreError::Storage`].
    pub fn flush(&self) -> Result<(), StoreError> {
        let mut names = self.families.lock().expect("no panic holds it").clone();
        names.extend([super::META, UNDO].map(String::from));
        let families: Vec<_> = names.iter().map(|name| self.family(name)).collect();
        let families: Vec<_> = families.iter().collect();
        Ok(self
            .db
            .flush_cfs_opt(&families, &rocksdb::FlushOptions::default())?)
    }
}
