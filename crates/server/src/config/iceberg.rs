//! `[iceberg]`: the lake's complete files as Iceberg tables.

use std::{
    collections::BTreeMap,
    num::NonZeroUsize,
    path::{Path, PathBuf},
};

use cairn_lake::iceberg::{CatalogOptions, IcebergOptions};

use super::reader::{Reader, number, one_of, parsed};

/// Where the catalog is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Catalog {
    Off,
    Sqlite,
    Rest,
}

const CATALOGS: &[(&str, Catalog)] = &[
    ("off", Catalog::Off),
    ("sqlite", Catalog::Sqlite),
    ("rest", Catalog::Rest),
];
const PROPERTIES: &str = "iceberg.properties.";

/// Reads the section; none when anything in it is wrong, none inside where there are to be no tables.
pub(super) fn read_iceberg(
    reader: &mut Reader<'_>,
    lake: Option<&Path>,
) -> Option<Option<IcebergOptions>> {
    let catalog = reader.take("iceberg.catalog", one_of(CATALOGS));
    let namespace = reader.take("iceberg.namespace", parsed(namespace));
    let snapshots = reader.take("iceberg.snapshots", number(1));
    let uri = reader.take("iceberg.uri", parsed(text));
    let warehouse = reader.take("iceberg.warehouse", parsed(text));
    let keys: Vec<String> = reader
        .rest(PROPERTIES)
        .map(|(key, _)| key.clone())
        .collect();
    let mut properties = BTreeMap::new();
    for key in keys {
        let name = key.trim_start_matches(PROPERTIES).to_owned();
        properties.insert(name, reader.take(&key, parsed(text))?);
    }
    let (uri, warehouse) = (uri?, warehouse?);
    let catalog = match catalog? {
        Catalog::Off => return Some(None),
        Catalog::Sqlite => CatalogOptions::Sql {
            path: lake.map_or_else(PathBuf::new, |lake| lake.join("iceberg/catalog.sqlite3")),
        },
        Catalog::Rest => CatalogOptions::Rest {
            uri,
            warehouse: (!warehouse.is_empty()).then_some(warehouse),
            properties,
        },
    };
    Some(Some(IcebergOptions {
        catalog,
        namespace: namespace?,
        snapshots: NonZeroUsize::new(usize::try_from(snapshots?).unwrap_or(usize::MAX))?,
    }))
}

fn text(text: &str) -> Result<String, String> {
    Ok(text.to_owned())
}

fn namespace(text: &str) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    match text
        .split('.')
        .all(|part| !part.is_empty() && part.chars().all(fits))
    {
        true => Ok(text.to_owned()),
        false => Err(format!(
            "`{text}` cannot name a namespace: use letters, digits, `_` and `-`, and dots between its parts"
        )),
    }
}
