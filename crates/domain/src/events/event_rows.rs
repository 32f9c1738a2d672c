//! Events as rows of datasets: where each stands in the log, and its own fields.

use super::EventType;
use crate::{
    commit::Commit,
    datasets::{Cell, CellError, Cells, Column, Milliseconds, columns_of},
};

/// The columns of an event's dataset.
pub(super) fn columns<E: EventType>() -> Vec<Column> {
    let (_, _, own) = E::DATASET.expect("asked of an event that has a dataset");
    let mut columns = Vec::new();
    columns.extend(columns_of::<u64>(
        "position",
        "Number of its commit in the log.",
    ));
    columns.extend(columns_of::<u32>(
        "event_index",
        "Its place among the events of the commit, from 0.",
    ));
    columns.extend(columns_of::<String>(
        "stream",
        "What it is about, such as `chain/eth`.",
    ));
    columns.extend(columns_of::<Option<String>>(
        "chain",
        "The chain's name; null where it is not about a chain.",
    ));
    columns.extend(columns_of::<Milliseconds>(
        "event_time",
        "When it happened, as the source tells.",
    ));
    columns.extend(columns_of::<Milliseconds>(
        "recorded_at",
        "When the log took it.",
    ));
    columns.extend(own());
    columns
}

/// Writes an event as a row.
pub(super) fn put<E: EventType>(
    commit: &Commit,
    index: u32,
    event: &E,
    cells: &mut dyn Cells,
) -> Result<(), CellError> {
    let header = &commit.header;
    commit.position.0.put(cells)?;
    index.put(cells)?;
    header.stream.as_str().put(cells)?;
    header.stream.chain_name().put(cells)?;
    Milliseconds(header.event_time).put(cells)?;
    Milliseconds(header.recorded_time).put(cells)?;
    event.put(cells)?;
    cells.end_row();
    Ok(())
}
