//! Verification: folds the log afresh and compares every table with the store's.

use std::{collections::BTreeMap, sync::Arc};

use cairn_domain::{
    Position,
    projections::{ALL, Projection},
    table::{TableDef, TableKind},
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::{RunnerError, rebuild::Rebuild};
use crate::{
    log::Log,
    store::{Store, StoreError, StoreOptions, TableDigest, projection},
};

/// How a table compares with its fresh fold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableReport {
    /// What the store holds.
    pub stored: TableDigest,
    /// What the fresh fold gives.
    pub fresh: TableDigest,
    /// The first position at which they differ; none where they are equal, or where no commit
    /// explains the difference.
    pub first_difference: Option<Position>,
}

impl TableReport {
    /// Whether both are the same.
    pub fn is_clean(&self) -> bool {
        self.stored == self.fresh
    }
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// The position as of which both were compared.
    pub position: Position,
    /// One report a table.
    pub tables: Vec<TableReport>,
    /// Projections that could not be compared, with the reason.
    pub skipped: BTreeMap<String, String>,
}

impl VerifyReport {
    /// Whether every table could be compared and is equal.
    pub fn is_clean(&self) -> bool {
        self.skipped.is_empty() && self.tables.iter().all(TableReport::is_clean)
    }

    /// The first position at which any table differs.
    pub fn first_difference(&self) -> Option<Position> {
        self.tables
            .iter()
            .filter_map(|table| table.first_difference)
            .min()
    }
}

/// Folds the log afresh into a temporary store beside the real one, up to the position that the
/// store has reached, and compares every table's digest as of that position. The store may go on
/// folding meanwhile. It gives up when `stop` turns true.
///
/// # Errors
/// [`RunnerError`] when the log or a store cannot be read.
pub async fn verify(
    log: &Arc<dyn Log>,
    store: &Arc<Store>,
    progress: &(dyn Fn(Position, Position) + Send + Sync),
    stop: watch::Receiver<bool>,
) -> Result<VerifyReport, RunnerError> {
    let position = *store.position().borrow();
    let directory = store.bulk_directory()?;
    let options = StoreOptions {
        cache_bytes: 32 << 20,
        ..store.options().clone()
    };
    let fresh = Store::open(&directory.path().join("store"), options)?;
    let live = store.live();
    let projections: Vec<_> = live.iter().filter_map(|name| projection(name)).collect();
    let mut rebuild = Rebuild::new(&fresh, log, projections.clone())?;
    rebuild.stop = Some(stop);
    rebuild.fold_to(position, progress).await?;
    tokio::task::block_in_place(|| {
        rebuild.swap_in()?;
        compare(store, &fresh, &projections, position)
    })
}

fn compare(
    store: &Store,
    fresh: &Store,
    projections: &[&'static dyn Projection],
    position: Position,
) -> Result<VerifyReport, RunnerError> {
    let tables: Vec<_> = projections
        .iter()
        .flat_map(|p| p.tables())
        .copied()
        .collect();
    let orphans = fresh.orphans(position)?;
    let stored = store.digests(&tables, position, &orphans)?;
    let expected = fresh.digests(&tables, position, &orphans)?;
    let mut reports = Vec::new();
    for ((table, stored), fresh_digest) in tables.iter().zip(stored).zip(expected) {
        let first_difference = match stored == fresh_digest {
            true => None,
            false => first_difference(store, fresh, table, position)?,
        };
        reports.push(TableReport {
            stored,
            fresh: fresh_digest,
            first_difference,
        });
    }
    let states = store.states();
    let failed = ALL
        .iter()
        .filter(|p| !projections.iter().any(|other| other.name() == p.name()));
    let reason = |name: &str| {
        let failure = states.get(name).and_then(|state| state.failure.clone());
        failure.unwrap_or_else(|| "it waits for a rebuild".into())
    };
    let skipped = failed
        .map(|p| (p.name().to_owned(), reason(p.name())))
        .collect();
    Ok(VerifyReport {
        position,
        tables: reports,
        skipped,
    })
}

/// The first position as of which the two tables differ. Versioned tables are compared as of
/// earlier and earlier positions; a row of another table belongs to the position that made its
/// block canonical.
fn first_difference(
    store: &Store,
    fresh: &Store,
    table: &'static TableDef,
    position: Position,
) -> Result<Option<Position>, StoreError> {
    match table.kind {
        TableKind::Versioned => {
            let differs = |at: Position| -> Result<bool, StoreError> {
                let none = Default::default();
                Ok(store.digests(&[table], at, &none)? != fresh.digests(&[table], at, &none)?)
            };
            let (mut same, mut different) = (store.oldest().0.saturating_sub(1), position.0);
            while different - same > 1 {
                let middle = same + (different - same) / 2;
                match differs(Position(middle))? {
                    true => different = middle,
                    false => same = middle,
                }
            }
            Ok(Some(Position(different)))
        }
        TableKind::Immutable { block } => {
            let mut rows = BTreeMap::new();
            let mut note = |key: &[u8], value: &[u8], sign: i8| -> Result<(), StoreError> {
                let end = key
                    .iter()
                    .position(|byte| *byte == 0)
                    .map_or(key.len(), |end| end + 1);
                let row = (key[..end].to_vec(), block(&key[end..], value)?);
                let hash = blake3::hash(&[key, &[0], value].concat());
                *rows.entry((row, *hash.as_bytes())).or_insert(0i8) += sign;
                Ok(())
            };
            store.each_row(table, position, |key, value| note(key, value, 1))?;
            fresh.each_row(table, position, |key, value| note(key, value, -1))?;
            let odd = rows
                .into_iter()
                .filter(|(_, sign)| *sign != 0)
                .map(|((row, _), _)| row);
            let mut first = None;
            for (stream, block) in odd {
                let appended = fresh.appended_at(&stream, block.height, position)?;
                first = match (first, appended) {
                    (Some(first), Some(appended)) if appended > first => Some(first),
                    (first, appended) => appended.or(first),
                };
            }
            Ok(first)
        }
    }
}
