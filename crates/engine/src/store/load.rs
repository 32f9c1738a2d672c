//! What is done when the store is opened: its states are read, what is missing is made, and what no
//! projection uses goes.

use std::collections::BTreeMap;

use cairn_domain::{
    Position,
    projections::{ALL, Projection},
};

use super::{OLDEST, ProjectionState, Step, Store, StoreError, family_name};

impl Store {
    /// Reads the meta rows, makes what is missing and drops what no projection uses.
    pub(super) fn load(&self) -> Result<(), StoreError> {
        let mut states = BTreeMap::new();
        let mut empty = true;
        for projection in ALL {
            let stored: Option<ProjectionState> = self.meta(projection.name())?;
            empty &= stored.is_none_or(|state| state.position == Position(0));
        }
        // Beside projections that have folded something, a new one waits for a rebuild.
        let new = |projection: &dyn Projection| ProjectionState {
            version: if empty { projection.version() } else { 0 },
            generation: 1,
            position: Position(0),
            failure: None,
        };
        for projection in ALL {
            let stored: Option<ProjectionState> = self.meta(projection.name())?;
            let state = match stored {
                Some(state) if state.version > projection.version() => {
                    return Err(StoreError::Downgrade {
                        name: projection.name().into(),
                        stored: state.version,
                        own: projection.version(),
                        path: self.path.display().to_string(),
                    });
                }
                Some(state) if self.has_families(*projection, state.generation) => state,
                Some(_) => self.start_over(*projection, new(*projection))?,
                None => {
                    let state = new(*projection);
                    self.make_missing_families(*projection, state.generation)?;
                    self.set_meta(projection.name(), &state)?;
                    state
                }
            };
            states.insert(projection.name(), state);
        }
        self.drop_unused(&states)?;
        self.remove_unfinished_bulk();
        *self.oldest.write().expect("no panic holds it") = self.meta(OLDEST)?.unwrap_or_default();
        *self.states.write().expect("no panic holds it") = states;
        self.publish();
        self.unsettle(*self.position.borrow());
        Ok(())
    }

    /// Gives up what is left of a projection after a version of cairn that has none of that name
    /// opened the store: that one drops its tables and leaves its state.
    fn start_over(
        &self,
        projection: &dyn Projection,
        state: ProjectionState,
    ) -> Result<ProjectionState, StoreError> {
        // First, and for good: beside the old state the empty tables would pass for folded ones.
        self.set_meta(projection.name(), &state)?;
        self.db.flush_wal(true)?;
        self.create_families(projection, state.generation)?;
        Ok(state)
    }

    /// Whether all tables of a generation of a projection are there.
    fn has_families(&self, projection: &dyn Projection, generation: u32) -> bool {
        let families = self.families.lock().expect("no panic holds it");
        let mut tables = projection.tables().iter();
        tables.all(|table| families.contains(&family_name(table, generation)))
    }

    /// Drops the column families that no projection uses.
    pub(super) fn drop_unused(
        &self,
        states: &BTreeMap<&'static str, ProjectionState>,
    ) -> Result<(), StoreError> {
        let used = |name: &str| {
            let families = ALL.iter().flat_map(|projection| {
                let generation = states[projection.name()].generation;
                projection
                    .tables()
                    .iter()
                    .map(move |table| family_name(table, generation))
            });
            families.into_iter().any(|family| family == name)
        };
        let mut families = self.families.lock().expect("no panic holds it");
        for name in families.clone().iter().filter(|name| !used(name)) {
            self.db.drop_cf(name)?;
            families.remove(name);
            self.options.steps.done(Step::FamilyDropped);
        }
        Ok(())
    }

    /// Removes what a rebuild that was killed left behind.
    fn remove_unfinished_bulk(&self) {
        let Ok(entries) = std::fs::read_dir(&self.path) else {
            return;
        };
        for entry in entries.flatten() {
            if entry.file_name().to_string_lossy().starts_with("bulk-")
                && let Err(error) = std::fs::remove_dir_all(entry.path())
            {
                tracing::warn!(path = %entry.path().display(), %error, "cannot remove an unfinished rebuild");
            }
        }
    }
}
