//! Exports: what was asked for, and what came of it.

use bincode::{Decode, Encode};

use super::{FoldError, Folded, Projection, View};
use crate::{
    commit::{Millis, Stream},
    events::{Event, ExportOutcome, ExportRequested},
    table,
    table::{Table, TableDef},
};

table! {
    /// Every export, by its id.
    pub versioned Exports = "exports" {
        key ExportKey { id: String },
        value: ExportRow,
    }
}

table! {
    /// Exports that have no outcome yet, by their ids: few, however many there ever were.
    pub versioned OpenExports = "open_exports" {
        key OpenExportKey { id: String },
        value: ExportRow,
    }
}

/// What is known of an export.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct ExportRow {
    /// What was asked for.
    pub request: ExportRequested,
    /// When, in milliseconds since 1970.
    pub requested_at: Millis,
    /// What came of it, and when.
    pub outcome: Option<(ExportOutcome, Millis)>,
}

/// The stream of all exports of a log.
pub fn stream() -> Stream {
    Stream::new("exports/all").expect("it has a kind and a name")
}

/// See the module.
#[derive(Debug)]
pub struct ExportList;

impl Projection for ExportList {
    fn name(&self) -> &'static str {
        "exports"
    }

    fn version(&self) -> u32 {
        2
    }

    fn doc(&self) -> &'static str {
        "Exports: what was asked for, and what came of it."
    }

    fn tables(&self) -> &'static [&'static TableDef] {
        &[Exports::DEF, OpenExports::DEF]
    }

    fn apply(&self, folded: &Folded<'_>, view: &mut View<'_>) -> Result<(), FoldError> {
        let time = folded.commit.header.event_time;
        for event in &folded.commit.events {
            match event {
                Event::ExportRequested(request) => {
                    let key = ExportKey {
                        id: request.id.clone(),
                    };
                    // A request that was sent twice is one.
                    if view.get::<Exports>(&key)?.is_none() {
                        let row = ExportRow {
                            request: request.clone(),
                            requested_at: time,
                            outcome: None,
                        };
                        view.put::<Exports>(&key, &row);
                        view.put::<OpenExports>(&OpenExportKey { id: key.id }, &row);
                    }
                }
                Event::ExportFinished(finished) => {
                    let key = ExportKey {
                        id: finished.id.clone(),
                    };
                    let row = view.get::<Exports>(&key)?;
                    // The first outcome counts.
                    if let Some(mut row) = row.filter(|row| row.outcome.is_none()) {
                        row.outcome = Some((finished.outcome.clone(), time));
                        view.put::<Exports>(&key, &row);
                        view.delete::<OpenExports>(&OpenExportKey { id: key.id });
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }
}
