//! What lets a table be opened by its directory, without a catalog: Hadoop tables of Spark, `iceberg_scan`
//! of DuckDB. They read a number from `version-hint.text` and open `v<number>.metadata.json`.

use ::iceberg::table::Table;

use crate::{LakeError, Place};

/// So many versions stay, for those who have read the hint and not yet the metadata.
const KEPT: i64 = 8;

/// Follows the table: the number is that of its last snapshot.
///
/// # Errors
/// [`LakeError::Storage`].
pub(crate) async fn show(place: &Place, directory: &str, table: &Table) -> Result<(), LakeError> {
    let version = table.metadata().last_sequence_number();
    let hint = hint(directory);
    let number = version.to_string();
    if place.read(&hint).await?.as_deref() == Some(number.as_bytes()) {
        return Ok(());
    }
    let path = metadata(directory, version);
    let json =
        serde_json::to_vec(table.metadata()).map_err(|error| LakeError::storage(&path, error))?;
    place.replace(&path, json).await?;
    place.replace(&hint, number.into()).await?;
    place.delete(&metadata(directory, version - KEPT)).await
}

/// Hides a table that is to be dropped.
///
/// # Errors
/// [`LakeError::Storage`].
pub(crate) async fn hide(place: &Place, directory: &str) -> Result<(), LakeError> {
    place.delete(&hint(directory)).await
}

fn hint(directory: &str) -> String {
    format!("{directory}/metadata/version-hint.text")
}

fn metadata(directory: &str, version: i64) -> String {
    format!("{directory}/metadata/v{version}.metadata.json")
}
