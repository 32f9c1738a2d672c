//! Opens the catalog.

use std::{collections::HashMap, fs, path::Path, sync::Arc};

use ::iceberg::{Catalog, CatalogBuilder as _};
use iceberg_catalog_rest::{
    REST_CATALOG_PROP_URI, REST_CATALOG_PROP_WAREHOUSE, RestCatalogBuilder,
};
use iceberg_catalog_sql::{SqlBindStyle, SqlCatalogBuilder};

use super::{CatalogOptions, storage::LakeStorage};
use crate::LakeError;

/// The name under which a SQL catalog keeps its tables.
const NAME: &str = "cairn";

/// Opens a catalog, whose tables keep their metadata in the storage.
///
/// # Errors
/// [`LakeError::Iceberg`], [`LakeError::Storage`].
pub(crate) async fn connect(
    options: &CatalogOptions,
    storage: LakeStorage,
) -> Result<Arc<dyn Catalog>, LakeError> {
    let storage = Arc::new(storage);
    match options {
        CatalogOptions::Sql { path } => {
            let shown = path.display().to_string();
            // The catalog takes what sqlx is built with, which is SQLite alone.
            sqlx::any::install_default_drivers();
            // What one publication leaves unfinished ends before the next one begins.
            let properties = [("pool.max-connections".into(), "1".into())];
            let catalog = SqlCatalogBuilder::default()
                .with_storage_factory(storage)
                .uri(sqlite_uri(path)?)
                .sql_bind_style(SqlBindStyle::QMark)
                .load(NAME, HashMap::from(properties))
                .await;
            Ok(Arc::new(
                catalog.map_err(|error| LakeError::iceberg(&shown, error))?,
            ))
        }
        CatalogOptions::Rest {
            uri,
            warehouse,
            properties,
        } => {
            let mut all: HashMap<_, _> = properties.clone().into_iter().collect();
            all.insert(REST_CATALOG_PROP_URI.into(), uri.clone());
            if let Some(warehouse) = warehouse {
                all.insert(REST_CATALOG_PROP_WAREHOUSE.into(), warehouse.clone());
            }
            let catalog = RestCatalogBuilder::default()
                .with_storage_factory(storage)
                .load(NAME, all)
                .await;
            Ok(Arc::new(
                catalog.map_err(|error| LakeError::iceberg(uri, error))?,
            ))
        }
    }
}

/// The address of a SQLite database that is made if it is not there.
fn sqlite_uri(path: &Path) -> Result<String, LakeError> {
    let shown = path.display().to_string();
    let directory = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(directory).map_err(|error| LakeError::storage(&shown, error))?;
    let text = path.to_str().ok_or_else(|| LakeError::Incompatible {
        place: shown,
        reason: "the catalog's path is not UTF-8: choose another one".into(),
    })?;
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '%' | '?' | '#' => escaped.push_str(&format!("%{:02x}", u32::from(character))),
            other => escaped.push(other),
        }
    }
    Ok(format!("sqlite://{escaped}?mode=rwc"))
}
