//! The files of Iceberg tables, kept where the lake is kept: each appears whole, and is durable then.

use std::{fmt::Display, ops::Range, sync::Arc};

use ::iceberg::{
    Error, ErrorKind, Result,
    io::{
        FileMetadata, FileRead, FileWrite, InputFile, OutputFile, Storage, StorageConfig,
        StorageFactory,
    },
};
use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream::BoxStream};
use object_store::{ObjectStore, ObjectStoreExt as _, path::Path as ObjectPath};
use serde::{Deserialize, Serialize};

use super::address::Address;
use crate::Place;

/// See the module. The interface asks that it can be written down and read back; what was read back
/// knows no place, and says so.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LakeStorage {
    address: Address,
    #[serde(skip)]
    place: Option<Place>,
}

impl LakeStorage {
    /// The storage of a place, whose files have this address.
    pub(crate) fn new(address: Address, place: Place) -> Self {
        Self {
            address,
            place: Some(place),
        }
    }

    /// Where a file is, from the root of the lake.
    fn find(&self, url: &str) -> Result<(&Place, String)> {
        let place = self.place.as_ref();
        let place = place.ok_or_else(|| unexpected("a storage that was read back has no place"))?;
        let path = self.address.path(url);
        let path = path.ok_or_else(|| unexpected(elsewhere(url)))?;
        Ok((place, path.to_owned()))
    }

    async fn replace(&self, url: &str, content: Vec<u8>) -> Result<()> {
        let (place, path) = self.find(url)?;
        place.replace(&path, content).await.map_err(unexpected)
    }
}

#[typetag::serde]
impl StorageFactory for LakeStorage {
    fn build(&self, _: &StorageConfig) -> Result<Arc<dyn Storage>> {
        Ok(Arc::new(self.clone()))
    }
}

#[async_trait]
#[typetag::serde]
impl Storage for LakeStorage {
    async fn exists(&self, url: &str) -> Result<bool> {
        let (place, path) = self.find(url)?;
        match place.objects().head(&ObjectPath::from(path)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(unexpected(error)),
        }
    }

    async fn metadata(&self, url: &str) -> Result<FileMetadata> {
        let (place, path) = self.find(url)?;
        let found = place.objects().head(&ObjectPath::from(path)).await;
        let size = found.map_err(unexpected)?.size;
        Ok(FileMetadata { size })
    }

    async fn read(&self, url: &str) -> Result<Bytes> {
        let (place, path) = self.find(url)?;
        let found = place.read(&path).await.map_err(unexpected)?;
        found.ok_or_else(|| {
            unexpected(format!(
                "{url} is gone: drop the table from the catalog, it is made anew"
            ))
        })
    }

    async fn reader(&self, url: &str) -> Result<Box<dyn FileRead>> {
        let (place, path) = self.find(url)?;
        Ok(Box::new(LakeFile {
            objects: Arc::clone(place.objects()),
            path: ObjectPath::from(path),
        }))
    }

    async fn write(&self, url: &str, content: Bytes) -> Result<()> {
        self.replace(url, content.into()).await
    }

    async fn writer(&self, url: &str) -> Result<Box<dyn FileWrite>> {
        Ok(Box::new(Collected {
            storage: self.clone(),
            url: url.to_owned(),
            content: Vec::new(),
        }))
    }

    async fn delete(&self, url: &str) -> Result<()> {
        let (place, path) = self.find(url)?;
        place.delete(&path).await.map_err(unexpected)
    }

    async fn delete_prefix(&self, url: &str) -> Result<()> {
        let (place, path) = self.find(url)?;
        place.delete_all(&path).await.map_err(unexpected)
    }

    async fn delete_stream(&self, mut urls: BoxStream<'static, String>) -> Result<()> {
        while let Some(url) = urls.next().await {
            self.delete(&url).await?;
        }
        Ok(())
    }

    fn new_input(&self, url: &str) -> Result<InputFile> {
        Ok(InputFile::new(Arc::new(self.clone()), url.to_owned()))
    }

    fn new_output(&self, url: &str) -> Result<OutputFile> {
        Ok(OutputFile::new(Arc::new(self.clone()), url.to_owned()))
    }
}

/// A file that is read in parts.
struct LakeFile {
    objects: Arc<dyn ObjectStore>,
    path: ObjectPath,
}

#[async_trait]
impl FileRead for LakeFile {
    async fn read(&self, range: Range<u64>) -> Result<Bytes> {
        let read = self.objects.get_range(&self.path, range).await;
        read.map_err(unexpected)
    }
}

/// A file that appears when it is closed. They are small: lists of files.
struct Collected {
    storage: LakeStorage,
    url: String,
    content: Vec<u8>,
}

#[async_trait]
impl FileWrite for Collected {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        self.content.extend_from_slice(&bytes);
        Ok(())
    }

    async fn close(&mut self) -> Result<()> {
        let content = std::mem::take(&mut self.content);
        self.storage.replace(&self.url, content).await
    }
}

/// Why a table is not this lake's to change.
pub(crate) fn elsewhere(url: &str) -> String {
    format!(
        "the catalog has it at {url}, which is not in this lake: choose another catalog or namespace, or drop it there"
    )
}

fn unexpected(reason: impl Display) -> Error {
    Error::new(ErrorKind::Unexpected, reason.to_string())
}
