//! Where each table is and whether it can be read, worked out once for many reads.

use std::collections::BTreeMap;

use cairn_domain::{projections::ALL, table::TableDef};

use super::{ProjectionState, StoreError, family_name};

/// See the module.
#[derive(Default)]
pub(super) struct ReadableTables {
    tables: Vec<Readable>,
    /// Generation and failure of each projection that this was made of.
    made_of: Vec<(u32, u32, Option<String>)>,
}

struct Readable {
    table: &'static TableDef,
    family: Result<String, StoreError>,
}

fn parts<'a>(
    states: &'a BTreeMap<&'static str, ProjectionState>,
) -> impl Iterator<Item = &'a ProjectionState> {
    ALL.iter()
        .filter_map(|projection| states.get(projection.name()))
}

impl ReadableTables {
    pub(super) fn new(states: &BTreeMap<&'static str, ProjectionState>) -> Self {
        let mut tables = Vec::new();
        for projection in ALL {
            let state = &states[projection.name()];
            let refusal = refusal(projection.name(), projection.version(), state);
            for table in projection.tables() {
                let family = match &refusal {
                    Some(error) => Err(error.clone()),
                    None => Ok(family_name(table, state.generation)),
                };
                tables.push(Readable { table, family });
            }
        }
        let made_of = parts(states)
            .map(|s| (s.version, s.generation, s.failure.clone()))
            .collect();
        Self { tables, made_of }
    }

    /// Whether these states give the same tables.
    pub(super) fn is_of(&self, states: &BTreeMap<&'static str, ProjectionState>) -> bool {
        let same = |(state, made): (&ProjectionState, &(u32, u32, Option<String>))| {
            (state.version, state.generation) == (made.0, made.1) && state.failure == made.2
        };
        !self.made_of.is_empty() && parts(states).zip(&self.made_of).all(same)
    }

    /// The column family of a table.
    pub(super) fn family(&self, table: &'static TableDef) -> Result<&str, StoreError> {
        let readable = self
            .tables
            .iter()
            .find(|readable| std::ptr::eq(readable.table, table));
        let readable = readable.expect("every table belongs to a projection");
        readable.family.as_deref().map_err(Clone::clone)
    }
}

/// Why a projection cannot be read, if it cannot.
fn refusal(name: &str, own: u32, state: &ProjectionState) -> Option<StoreError> {
    let reason = match &state.failure {
        Some(failure) => {
            format!(
                "it stopped behind position {}: {failure}; mend it and run `cairn replay --projection {name}`",
                state.position
            )
        }
        None if state.version != own => {
            format!(
                "version {} waits for a rebuild to {own}: run `cairn replay --projection {name}`",
                state.version
            )
        }
        None => return None,
    };
    Some(StoreError::Unavailable {
        name: name.into(),
        reason,
    })
}
