//! How tables name the files of a lake: whole addresses, which other programs open.

use serde::{Deserialize, Serialize};

use crate::{LakeError, Place};

/// The address of a lake's root, without a `/` at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Address(String);

impl Address {
    /// That of a place: `file://` and the directory, or what an object store is called.
    ///
    /// # Errors
    /// [`LakeError::Incompatible`] where no other program could use it.
    pub(crate) fn of(place: &Place) -> Result<Self, LakeError> {
        let incompatible = |reason: &str| LakeError::Incompatible {
            place: place.shown().to_owned(),
            reason: reason.to_owned(),
        };
        let address = match place.root() {
            Some(root) => root.to_str().map(|root| format!("file://{root}")),
            None => Some(place.shown().to_owned()),
        };
        let address = address
            .ok_or_else(|| incompatible("Iceberg tables need a path in UTF-8: move the lake"))?;
        if !address.contains("://") {
            return Err(incompatible(
                "Iceberg tables need a whole address, such as s3://bucket/lake",
            ));
        }
        Ok(Self(address.trim_end_matches('/').to_owned()))
    }

    /// The address of a file.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.0)
    }

    /// Where a file is, from the root of the lake; none where it is outside.
    pub(crate) fn path<'a>(&self, url: &'a str) -> Option<&'a str> {
        url.strip_prefix(&self.0)?.strip_prefix('/')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_to_its_file_and_to_none_outside() {
        let address = Address("s3://bucket/lake".into());
        let url = address.url("blocks/chain=eth/000-009.parquet");
        assert_eq!(url, "s3://bucket/lake/blocks/chain=eth/000-009.parquet");
        assert_eq!(address.path(&url), Some("blocks/chain=eth/000-009.parquet"));
        assert_eq!(address.path("s3://bucket/lake2/blocks"), None);
    }
}
