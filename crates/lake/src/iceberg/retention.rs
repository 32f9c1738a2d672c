//! What a table keeps of its past. Each publication leaves a snapshot with a list of all files, and a
//! version of the metadata with a list of all snapshots: kept for ever, they would outgrow the lake.

use std::{collections::BTreeSet, num::NonZeroUsize};

use ::iceberg::{
    Catalog,
    table::Table,
    transaction::{ApplyTransactionAction as _, Transaction},
};

use super::address::Address;
use crate::{LakeError, Place};

/// A table's property: so many versions of the metadata are kept behind the current one.
pub(crate) const VERSIONS: (&str, &str) = ("write.metadata.previous-versions-max", "20");

/// Takes the oldest snapshots out where there are a good many more than are to be kept.
pub(crate) async fn expire(
    catalog: &dyn Catalog,
    table: Table,
    keep: NonZeroUsize,
) -> ::iceberg::Result<Table> {
    let keep = keep.get();
    if table.metadata().snapshots().len() <= keep.saturating_add(keep / 4) {
        return Ok(table);
    }
    let transaction = Transaction::new(&table);
    let expire = transaction.expire_snapshots();
    let expire = expire.retain_last(keep).expire_older_than_ms(i64::MAX);
    expire.apply(transaction)?.commit(catalog).await
}

/// Deletes files of a table's past to which its present does not lead any more.
pub(crate) async fn forget(
    place: &Place,
    address: &Address,
    past: &Table,
    present: &Table,
) -> Result<(), LakeError> {
    let kept = files(present);
    for url in files(past).difference(&kept) {
        if let Some(path) = address.path(url) {
            place.delete(path).await?;
        }
    }
    Ok(())
}

/// Versions of the metadata, and lists of files, to which a table leads.
fn files(table: &Table) -> BTreeSet<String> {
    let metadata = table.metadata();
    let lists = metadata
        .snapshots()
        .map(|snapshot| snapshot.manifest_list().to_owned());
    let versions = metadata
        .metadata_log()
        .iter()
        .map(|version| version.metadata_file.clone());
    let current = table.metadata_location().map(str::to_owned);
    lists.chain(versions).chain(current).collect()
}
