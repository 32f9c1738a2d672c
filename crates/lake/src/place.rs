//! Where a lake is: a directory, or a bucket of an object store. What appears there appears whole.

use std::{
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{Stream, TryStreamExt as _};
use object_store::{
    GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt as _, PutMode, PutPayload,
    UpdateVersion, WriteMultipart, local::LocalFileSystem, path::Path as ObjectPath,
};

use crate::{Bucket, LakeError};

/// Where files are written before they are published. Readers of a lake pass over names with `_`.
const SPOOL: &str = "_spool";

/// Bytes of a part of an upload.
const UPLOAD_PART: usize = 8 << 20;

/// See the module.
#[derive(Debug, Clone)]
pub struct Place {
    objects: Arc<dyn ObjectStore>,
    /// The directory, where it is one.
    root: Option<PathBuf>,
    spool: PathBuf,
    shown: String,
}

/// What an object was when it was read or replaced.
#[derive(Debug, Default)]
pub(crate) struct Seen(Option<UpdateVersion>);

impl Place {
    /// A directory, which is made if it is not there.
    ///
    /// # Errors
    /// [`LakeError::Storage`] where it cannot be made.
    pub fn directory(root: &Path) -> Result<Self, LakeError> {
        let shown = root.display().to_string();
        fs::create_dir_all(root).map_err(|error| LakeError::storage(&shown, error))?;
        let root = root
            .canonicalize()
            .map_err(|error| LakeError::storage(&shown, error))?;
        let objects = LocalFileSystem::new_with_prefix(&root)
            .map_err(|error| LakeError::storage(&shown, error))?;
        let spool = root.join(SPOOL);
        Ok(Self {
            objects: Arc::new(objects),
            root: Some(root),
            spool,
            shown,
        })
    }

    /// A bucket; files are written to a directory of this machine first.
    ///
    /// # Errors
    /// [`LakeError::Incompatible`] for a bucket that lacks a setting.
    pub fn bucket(bucket: &Bucket, directory: &Path) -> Result<Self, LakeError> {
        let spool = directory.join(SPOOL);
        Ok(Self::object_store(bucket.open()?, spool, bucket.address()))
    }

    /// An object store that has this address.
    pub(crate) fn object_store(
        objects: Arc<dyn ObjectStore>,
        spool: PathBuf,
        address: &str,
    ) -> Self {
        Self {
            objects,
            root: None,
            spool,
            shown: address.to_owned(),
        }
    }

    /// Makes the spool; what a process that ended too early left behind goes.
    ///
    /// # Errors
    /// [`LakeError::Storage`].
    pub(crate) fn empty_spool(&self) -> Result<(), LakeError> {
        let fail = |error: io::Error| LakeError::storage(self.spool.display().to_string(), error);
        match fs::remove_dir_all(&self.spool) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fail(error)),
            _ => {}
        }
        fs::create_dir_all(&self.spool).map_err(fail)
    }

    /// The store, for readers.
    pub fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    /// The directory, where it is one.
    pub fn root(&self) -> Option<&Path> {
        self.root.as_deref()
    }

    /// What it is called in messages.
    pub fn shown(&self) -> &str {
        &self.shown
    }

    /// A new file that nobody sees yet. No two have the same name: several parts of a dataset may wait for
    /// their publication, and the manifest and tables may be replaced at the same time.
    pub fn spooled(&self, name: &str) -> PathBuf {
        static SPOOLED: AtomicU64 = AtomicU64::new(0);
        let number = SPOOLED.fetch_add(1, Ordering::Relaxed);
        self.spool.join(format!("{name}-{number}"))
    }

    /// Reads an object; none where there is none.
    ///
    /// # Errors
    /// [`LakeError::Storage`].
    pub async fn read(&self, path: &str) -> Result<Option<Bytes>, LakeError> {
        let read = self.read_seen(path).await?;
        Ok(read.map(|(content, _)| content))
    }

    /// Reads an object, and what to show to [`Place::replace_seen`].
    pub(crate) async fn read_seen(&self, path: &str) -> Result<Option<(Bytes, Seen)>, LakeError> {
        let fail = |error| LakeError::storage(path, error);
        match self.objects.get(&ObjectPath::from(path)).await {
            Ok(found) => {
                let seen = Seen(Some(UpdateVersion {
                    e_tag: found.meta.e_tag.clone(),
                    version: found.meta.version.clone(),
                }));
                Ok(Some((found.bytes().await.map_err(fail)?, seen)))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(fail(error)),
        }
    }

    /// Reads a range of an object, piece by piece.
    ///
    /// # Errors
    /// [`LakeError::Gone`], [`LakeError::Storage`]; later ones come in the stream.
    pub(crate) async fn read_range(
        &self,
        path: &str,
        range: Range<u64>,
    ) -> Result<impl Stream<Item = Result<Bytes, LakeError>> + Send + 'static, LakeError> {
        let place = path.to_owned();
        let fail = move |error| LakeError::object(&place, error);
        let options = GetOptions {
            // An empty range is none to ask for.
            range: (range.start < range.end).then_some(GetRange::Bounded(range)),
            ..GetOptions::default()
        };
        let found = self
            .objects
            .get_opts(&ObjectPath::from(path), options)
            .await;
        let found = found.map_err(&fail)?;
        Ok(found.into_stream().map_err(fail))
    }

    /// Publishes a file that was written to the spool; it is durable when this returns.
    ///
    /// # Errors
    /// [`LakeError::Storage`].
    pub async fn publish(&self, spooled: &Path, path: &str) -> Result<(), LakeError> {
        let fail = |error: io::Error| LakeError::storage(path, error);
        match &self.root {
            Some(root) => rename_durably(spooled, &root.join(path)).map_err(fail),
            None => {
                self.upload(spooled, path).await?;
                fs::remove_file(spooled).map_err(fail)
            }
        }
    }

    async fn upload(&self, spooled: &Path, path: &str) -> Result<(), LakeError> {
        let unreadable = |error: io::Error| LakeError::storage(path, error);
        let fail = |error: object_store::Error| LakeError::storage(path, error);
        let target = ObjectPath::from(path);
        let mut file = fs::File::open(spooled).map_err(unreadable)?;
        if file.metadata().map_err(unreadable)?.len() <= UPLOAD_PART as u64 {
            // One request instead of three.
            let content = fs::read(spooled).map_err(unreadable)?;
            let put = self.objects.put(&target, PutPayload::from(content)).await;
            return put.map(drop).map_err(fail);
        }
        let upload = self.objects.put_multipart(&target).await.map_err(fail)?;
        let mut writer = WriteMultipart::new_with_chunk_size(upload, UPLOAD_PART);
        if let Err(error) = send(&mut file, &mut writer).await {
            // What was sent is not visible, but takes room.
            let _gone = writer.abort().await;
            return Err(fail(error));
        }
        writer.finish().await.map(drop).map_err(fail)
    }

    /// Replaces an object in one step; it is durable when this returns.
    ///
    /// # Errors
    /// [`LakeError::Storage`].
    pub async fn replace(&self, path: &str, content: Vec<u8>) -> Result<(), LakeError> {
        match &self.root {
            Some(root) => {
                let spooled = self.spooled("replacement");
                let written = write_durably(&spooled, &content)
                    .and_then(|()| rename_durably(&spooled, &root.join(path)));
                written.map_err(|error| LakeError::storage(path, error))
            }
            None => {
                let target = ObjectPath::from(path);
                let put = self.objects.put(&target, PutPayload::from(content)).await;
                put.map(drop)
                    .map_err(|error| LakeError::storage(path, error))
            }
        }
    }

    /// Replaces an object as [`Place::replace`] does, if it is what was seen; what it is then is seen.
    /// A directory has one process that writes, and is not asked.
    ///
    /// # Errors
    /// [`LakeError::Incompatible`] where somebody else has replaced it, [`LakeError::Storage`].
    pub(crate) async fn replace_seen(
        &self,
        path: &str,
        content: Vec<u8>,
        seen: &mut Seen,
    ) -> Result<(), LakeError> {
        use object_store::Error as E;
        if self.root.is_some() {
            return self.replace(path, content).await;
        }
        let mode = seen.0.clone().map_or(PutMode::Create, PutMode::Update);
        let payload = PutPayload::from(content.clone());
        let target = ObjectPath::from(path);
        match self.objects.put_opts(&target, payload, mode.into()).await {
            Ok(put) => seen.0 = Some(put.into()),
            Err(E::NotImplemented { .. } | E::NotSupported { .. }) => {
                self.replace(path, content).await?;
            }
            // It may have been ourselves, and the answer got lost.
            Err(E::Precondition { .. } | E::AlreadyExists { .. }) => {
                match self.read_seen(path).await? {
                    Some((now, what)) if *now == content => *seen = what,
                    _ => return Err(self.taken(path)),
                }
            }
            Err(error) => return Err(LakeError::storage(path, error)),
        }
        Ok(())
    }

    fn taken(&self, path: &str) -> LakeError {
        let reason = format!(
            "another process has replaced its {path}: give one node only the role `lake`, or each an address of its own, then start again"
        );
        LakeError::Incompatible {
            place: self.shown.clone(),
            reason,
        }
    }

    /// Deletes an object; one that is gone already is no failure.
    ///
    /// # Errors
    /// [`LakeError::Storage`].
    pub async fn delete(&self, path: &str) -> Result<(), LakeError> {
        match self.objects.delete(&ObjectPath::from(path)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(LakeError::storage(path, error)),
        }
    }

    /// Deletes everything under a prefix.
    ///
    /// # Errors
    /// [`LakeError::Storage`].
    pub async fn delete_all(&self, prefix: &str) -> Result<(), LakeError> {
        self.delete_before(prefix, u64::MAX).await.map(drop)
    }

    /// Deletes what is under a prefix and was written before a moment, in milliseconds since 1970, and gives
    /// the number of bytes that are left there.
    ///
    /// # Errors
    /// [`LakeError::Storage`].
    pub async fn delete_before(&self, prefix: &str, moment: u64) -> Result<u64, LakeError> {
        let fail = |error| LakeError::storage(prefix, error);
        let prefix_path = ObjectPath::from(prefix);
        let found: Vec<_> = self
            .objects
            .list(Some(&prefix_path))
            .try_collect()
            .await
            .map_err(fail)?;
        let old = |object: &ObjectMeta| {
            let written = object.last_modified.timestamp_millis();
            u64::try_from(written).unwrap_or(0) < moment
        };
        let mut left = 0;
        for object in found {
            match old(&object) {
                true => self.delete(object.location.as_ref()).await?,
                false => left += object.size,
            }
        }
        Ok(left)
    }
}

async fn send(file: &mut fs::File, writer: &mut WriteMultipart) -> object_store::Result<()> {
    let mut buffer = vec![0; UPLOAD_PART];
    loop {
        let read =
            io::Read::read(file, &mut buffer).map_err(|error| object_store::Error::Generic {
                store: "spool",
                source: error.into(),
            })?;
        if read == 0 {
            return Ok(());
        }
        writer.wait_for_capacity(2).await?;
        writer.write(&buffer[..read]);
    }
}

fn write_durably(path: &Path, content: &[u8]) -> io::Result<()> {
    fs::write(path, content)?;
    fs::File::open(path)?.sync_all()
}

/// The file's content must be durable already.
fn rename_durably(from: &Path, to: &Path) -> io::Result<()> {
    let directory = to.parent().unwrap_or(Path::new("."));
    if !directory.exists() {
        fs::create_dir_all(directory)?;
        // New directories, too, have to outlive a loss of power.
        for ancestor in directory.ancestors().skip(1).take(3) {
            if ancestor.as_os_str().is_empty() {
                break;
            }
            fs::File::open(ancestor)?.sync_all()?;
        }
    }
    fs::rename(from, to)?;
    fs::File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn what_somebody_else_has_replaced_is_not_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        let objects = Arc::new(InMemory::new());
        let spool = directory.path().join(SPOOL);
        let place = Place::object_store(objects, spool, "s3://bucket/lake");
        let (mut one, mut other) = (Seen::default(), Seen::default());
        let replaced = place.replace_seen("manifest", vec![1], &mut one).await;
        replaced.expect("it is the first");
        // As when the answer to the same request got lost.
        let again = place.replace_seen("manifest", vec![1], &mut other).await;
        again.expect("it is there as it is to be");
        let next = place.replace_seen("manifest", vec![2], &mut other).await;
        next.expect("it is as it was seen");
        let late = place.replace_seen("manifest", vec![3], &mut one).await;
        let late = late.expect_err("somebody else has replaced it").to_string();
        assert!(
            late.contains("give one node only the role `lake`"),
            "{late}"
        );
        let now = place.read("manifest").await.expect("it can be read");
        assert_eq!(now.as_deref(), Some(&[2][..]));
    }
}
