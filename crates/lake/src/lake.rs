//! A lake that is open: its place, its manifest, and the rows of events that are in no file yet.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Arc, RwLock},
    time::Duration,
};

use bytes::Bytes;
use cairn_domain::Position;
use cairn_engine::clock::now_millis;
use futures_util::Stream;
use tokio::sync::{Mutex, watch};

use crate::{
    LakeError, Place,
    event_tail::EventTail,
    manifest::{FileEntry, Layout, Manifest, ReplacedFile, ShardState},
    place::Seen,
};

/// Where the manifest is, from the root of the lake.
pub const MANIFEST: &str = "manifest.json";

/// How a lake is kept.
#[derive(Debug, Clone)]
pub struct LakeOptions {
    /// How rows are parted into files.
    pub layout: Layout,
    /// How long files stay that were replaced, for those who still read them.
    pub keep_replaced: Duration,
}

impl Default for LakeOptions {
    fn default() -> Self {
        Self {
            layout: Layout::default(),
            keep_replaced: Duration::from_secs(3600),
        }
    }
}

/// See the module.
pub struct Lake {
    place: Place,
    options: LakeOptions,
    manifest: watch::Sender<Arc<Manifest>>,
    /// Publications of several shards come one by one, each upon the manifest of the one before.
    publishing: Mutex<Seen>,
    tails: RwLock<BTreeMap<String, EventTail>>,
}

/// What is to be published.
#[derive(Debug, Default)]
pub(crate) struct Publication {
    /// New files; their sequence is set when they are published.
    pub(crate) files: Vec<FileEntry>,
    /// Streams whose files of before a reset go, with its position.
    pub(crate) resets: Vec<(String, Position)>,
}

impl Lake {
    /// Opens a lake, which is made if it is not there.
    ///
    /// # Errors
    /// [`LakeError::Incompatible`] for a manifest of another version or layout,
    /// [`LakeError::Storage`].
    pub async fn open(place: Place, options: LakeOptions) -> Result<Arc<Self>, LakeError> {
        let (manifest, seen) = match Self::read_seen(&place).await? {
            None => (Manifest::new(options.layout), Seen::default()),
            Some((manifest, seen)) => match manifest.refuse(options.layout) {
                Some(reason) => return Err(incompatible(&place, reason)),
                None => (manifest, seen),
            },
        };
        place.empty_spool()?;
        Ok(Arc::new(Self {
            place,
            options,
            manifest: watch::Sender::new(Arc::new(manifest)),
            publishing: Mutex::new(seen),
            tails: RwLock::default(),
        }))
    }

    /// The manifest of a lake; none where there is none. It may be read beside a server that writes.
    ///
    /// # Errors
    /// [`LakeError::Incompatible`] for one that cannot be read, [`LakeError::Storage`].
    pub async fn read_manifest(place: &Place) -> Result<Option<Manifest>, LakeError> {
        let read = Self::read_seen(place).await?;
        Ok(read.map(|(manifest, _)| manifest))
    }

    async fn read_seen(place: &Place) -> Result<Option<(Manifest, Seen)>, LakeError> {
        let Some((bytes, seen)) = place.read_seen(MANIFEST).await? else {
            return Ok(None);
        };
        let read = serde_json::from_slice(&bytes);
        read.map(|manifest| Some((manifest, seen)))
            .map_err(|error| {
                let way_out = "run `cairn lake rebuild`, it is made anew from the log";
                incompatible(
                    place,
                    format!("its {MANIFEST} cannot be read ({error}): {way_out}"),
                )
            })
    }

    /// Empties a lake, whatever it is, so that it can be made anew. Publications go on from the number of the
    /// last one, so that who follows them sees everything once more.
    ///
    /// # Errors
    /// [`LakeError::Storage`].
    pub async fn renew(place: Place, options: LakeOptions) -> Result<Arc<Self>, LakeError> {
        let bytes = place.read(MANIFEST).await?.unwrap_or_default();
        // A manifest of another version, or one that is damaged, may tell this all the same.
        let old: serde_json::Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let mut manifest = Manifest::new(options.layout);
        manifest.sequence = old["sequence"].as_u64().map_or(0, |last| last + 1);
        place.empty_spool()?;
        let json =
            serde_json::to_vec(&manifest).map_err(|error| LakeError::storage(MANIFEST, error))?;
        // The manifest first: what it does not name is not there.
        place.replace(MANIFEST, json).await?;
        for dataset in cairn_domain::datasets::all() {
            place.delete_all(dataset.name).await?;
        }
        Self::open(place, options).await
    }

    /// Where it is.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// How rows are parted into files.
    pub fn layout(&self) -> Layout {
        self.options.layout
    }

    /// Reads a range of a file, piece by piece.
    ///
    /// # Errors
    /// [`LakeError::Storage`]; later ones come in the stream.
    pub async fn read_file(
        &self,
        path: &str,
        range: Range<u64>,
    ) -> Result<impl Stream<Item = Result<Bytes, LakeError>> + Send + 'static, LakeError> {
        self.place.read_range(path, range).await
    }

    /// The manifest as it is now.
    pub fn manifest(&self) -> Arc<Manifest> {
        Arc::clone(&self.manifest.borrow())
    }

    /// The manifest, as it moves.
    pub fn watch(&self) -> watch::Receiver<Arc<Manifest>> {
        self.manifest.subscribe()
    }

    /// Rows of events of a shard that are in no file yet, with the manifest that they go on from.
    pub fn tail(&self, shard: &str) -> (Arc<Manifest>, EventTail) {
        // Rows leave the tail under this lock, behind the manifest that has them.
        let tails = self.tails.read().expect("no panic holds it");
        (
            self.manifest(),
            tails.get(shard).cloned().unwrap_or_default(),
        )
    }

    /// The last position of a shard that was taken in.
    pub fn tail_position(&self, shard: &str) -> Position {
        let tails = self.tails.read().expect("no panic holds it");
        tails.get(shard).map_or(Position(0), |tail| tail.position)
    }

    /// Number of rows of a dataset and stream that are in no file yet.
    pub(crate) fn tail_count(&self, shard: &str, dataset: &str, stream: &str) -> u64 {
        let tails = self.tails.read().expect("no panic holds it");
        let tail = tails.get(shard);
        tail.map_or(0, |tail| tail.count(dataset, stream))
    }

    pub(crate) fn change_tail<T>(
        &self,
        shard: &str,
        change: impl FnOnce(&mut EventTail) -> T,
    ) -> T {
        let mut tails = self.tails.write().expect("no panic holds it");
        change(tails.entry(shard.to_owned()).or_default())
    }

    /// Publishes files and the state of a shard in one step. Files that the new ones replace, and those of
    /// before a reset, stay for a while for those who read them. Rows of events that are in the files leave
    /// the tail.
    pub(crate) async fn publish(
        &self,
        shard: &str,
        state: &ShardState,
        publication: Publication,
    ) -> Result<(), LakeError> {
        let mut seen = self.publishing.lock().await;
        let mut next = Manifest::clone(&self.manifest());
        next.sequence += 1;
        next.shards.insert(shard.to_owned(), state.clone());
        let now = now_millis();
        let mut gone = Vec::new();
        for (stream, position) in &publication.resets {
            let is_old = |file: &mut FileEntry| {
                file.heights.is_some() && file.stream == *stream && file.reset < *position
            };
            gone.extend(next.files.extract_if(.., is_old));
        }
        for mut file in publication.files {
            self.refuse_foreign(&next, &file)?;
            file.sequence = next.sequence;
            gone.extend(next.files.extract_if(.., |old| replaces(&file, old)));
            next.files.push(file);
        }
        let kept: Vec<_> = next.files.iter().map(|file| file.path.as_str()).collect();
        gone.retain(|file| !kept.contains(&file.path.as_str()));
        // Only what the manifest that stands has given up already: what this one gives up is still named
        // until it stands itself.
        self.forget_replaced(&mut next, now).await;
        next.replaced
            .extend(gone.into_iter().map(|file| ReplacedFile {
                file,
                replaced_at: now,
            }));
        let json =
            serde_json::to_vec(&next).map_err(|error| LakeError::storage(MANIFEST, error))?;
        self.place.replace_seen(MANIFEST, json, &mut seen).await?;
        let mut tails = self.tails.write().expect("no panic holds it");
        self.manifest.send_replace(Arc::new(next));
        // In one step for readers: the rest is read behind what is in files.
        let tail = tails.entry(shard.to_owned()).or_default();
        tail.keep_pending(state);
        tail.position = state.position;
        tail.unpublished = state.unpublished();
        Ok(())
    }

    /// Refuses a file of a stream that has files of another shard: they would have the same names.
    pub(crate) fn refuse_foreign(
        &self,
        manifest: &Manifest,
        file: &FileEntry,
    ) -> Result<(), LakeError> {
        let is_foreign = |old: &&FileEntry| old.stream == file.stream && old.shard != file.shard;
        let foreign = manifest.files.iter().find(is_foreign);
        let Some(other) = foreign else {
            return Ok(());
        };
        let reason = format!(
            "{} is in the shards {} and {}, and files of a chain come from one: take it out of one of them, then run `cairn lake rebuild`",
            file.stream, other.shard, file.shard
        );
        Err(incompatible(&self.place, reason))
    }

    /// Deletes what was replaced long ago. What cannot be deleted now is tried again.
    async fn forget_replaced(&self, manifest: &mut Manifest, now: u64) {
        let keep = u64::try_from(self.options.keep_replaced.as_millis()).unwrap_or(u64::MAX);
        let is_old = |file: &mut ReplacedFile| now.saturating_sub(file.replaced_at) >= keep;
        let old: Vec<_> = manifest.replaced.extract_if(.., is_old).collect();
        for file in old {
            // A path that the manifest names again holds what is named, not what was replaced.
            if manifest
                .files
                .iter()
                .any(|kept| kept.path == file.file.path)
            {
                continue;
            }
            if let Err(error) = self.place.delete(&file.file.path).await {
                tracing::warn!(%error, "a replaced file of the lake stays");
                manifest.replaced.push(file);
            }
        }
    }
}

fn incompatible(place: &Place, reason: String) -> LakeError {
    LakeError::Incompatible {
        place: place.shown().to_owned(),
        reason,
    }
}

/// Whether a new file takes the place of an old one: it holds all its rows.
fn replaces(new: &FileEntry, old: &FileEntry) -> bool {
    let is_of_same = new.shard == old.shard && new.dataset == old.dataset;
    let same = is_of_same && new.stream == old.stream && new.reset == old.reset;
    if !same || old.complete {
        return same && new.path == old.path;
    }
    match (new.heights, old.heights) {
        (Some((low, high)), Some((old_low, old_high))) => low <= old_low && old_high <= high,
        _ => new.positions.0 <= old.positions.0 && old.positions.1 <= new.positions.1,
    }
}
