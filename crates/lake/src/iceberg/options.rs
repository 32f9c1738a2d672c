//! Where Iceberg tables are registered.

use std::{collections::BTreeMap, fmt, num::NonZeroUsize, path::PathBuf};

/// How Iceberg tables are kept.
#[derive(Debug, Clone)]
pub struct IcebergOptions {
    /// Which catalog names them.
    pub catalog: CatalogOptions,
    /// The namespace that they are in. A lake's tables are in one: where it changes, those in the old one
    /// lose their metadata and are to be dropped.
    pub namespace: String,
    /// About so many snapshots of each table are kept: of so many publications it can be read how the
    /// table was.
    pub snapshots: NonZeroUsize,
}

/// A hundred snapshots.
const SNAPSHOTS: NonZeroUsize = NonZeroUsize::new(100).expect("it is not 0");

impl IcebergOptions {
    /// Those of a catalog, with the namespace `cairn` and 100 snapshots.
    pub fn new(catalog: CatalogOptions) -> Self {
        Self {
            catalog,
            namespace: "cairn".into(),
            snapshots: SNAPSHOTS,
        }
    }
}

/// A catalog: what knows the current metadata of each table.
#[derive(Clone)]
pub enum CatalogOptions {
    /// A SQLite database, which is made if it is not there. The catalog's name in it is `cairn`.
    Sql {
        /// The file.
        path: PathBuf,
    },
    /// A server that speaks the REST protocol.
    Rest {
        /// Its address.
        uri: String,
        /// Which of its warehouses; none for the one that it takes by itself.
        warehouse: Option<String>,
        /// What else it asks for, such as `token`.
        properties: BTreeMap<String, String>,
    },
}

impl fmt::Debug for CatalogOptions {
    // Properties may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sql { path } => f.debug_struct("Sql").field("path", path).finish(),
            Self::Rest {
                uri,
                warehouse,
                properties,
            } => f
                .debug_struct("Rest")
                .field("uri", uri)
                .field("warehouse", warehouse)
                .field("properties", &properties.keys())
                .finish(),
        }
    }
}
