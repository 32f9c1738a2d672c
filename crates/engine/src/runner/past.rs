//! Where a fold finds what rows held before: the store's own versions for the live fold, images in
//! memory for a rebuild.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use cairn_domain::{Commit, Position, Stream, projections::FoldError, table::TableDef};

use super::{LOG_PAUSE, fold::Past};
use crate::{
    log::{Log, LogError, StoredCommit},
    store::{Overlay, Store},
};

/// Reads one commit while a fold waits for it.
pub(crate) fn fetch(log: &Arc<dyn Log>, position: Position) -> Result<Commit, FoldError> {
    let log = Arc::clone(log);
    // The fold may run on a thread of the runtime or beside it; a thread of its own suits both.
    let runtime = tokio::runtime::Handle::current();
    let read = std::thread::spawn(move || runtime.block_on(read(log.as_ref(), position)));
    let failed = |reason: String| FoldError::Store(format!("commit {position}: {reason}"));
    let commits = read
        .join()
        .map_err(|_| failed("reading it panicked".into()))?;
    let commits = commits.map_err(|error| failed(error.to_string()))?;
    let commit = commits
        .first()
        .ok_or_else(|| failed("it is not in the log".into()))?;
    commit.decode().map_err(|error| failed(error.to_string()))
}

/// A log that does not answer is asked until it does.
async fn read(log: &dyn Log, position: Position) -> Result<Vec<StoredCommit>, LogError> {
    loop {
        match log.read(position, 1).await {
            Err(error) if error.is_passing() => tokio::time::sleep(LOG_PAUSE).await,
            read => return read,
        }
    }
}

/// The store's own versions.
pub(crate) struct LivePast<'a> {
    pub(crate) store: &'a Store,
    pub(crate) log: &'a Arc<dyn Log>,
}

impl Past for LivePast<'_> {
    fn as_of(
        &mut self,
        table: &'static TableDef,
        key: &[u8],
        at: Position,
    ) -> Result<Option<Vec<u8>>, FoldError> {
        Ok(self.store.get_as_of(table, key, at)?)
    }

    fn stream_keys(
        &mut self,
        table: &'static TableDef,
        stream: &Stream,
    ) -> Result<Vec<Vec<u8>>, FoldError> {
        Ok(self.store.stream_keys(table, stream)?)
    }

    fn fetch(&mut self, position: Position) -> Result<Commit, FoldError> {
        fetch(self.log, position)
    }

    fn remember(
        &mut self,
        _: Position,
        _: &mut Overlay<'_>,
        _: &[(&'static TableDef, Vec<u8>)],
    ) -> Result<(), FoldError> {
        // The versions in the store remember.
        Ok(())
    }
}

/// Keys of some tables.
pub(crate) type TableKeys = Vec<(&'static TableDef, Vec<Vec<u8>>)>;

type Images = HashMap<(&'static str, Vec<u8>), Option<Vec<u8>>>;

/// What hot rows held before each hot commit.
pub(crate) struct RebuildPast<'a> {
    pub(crate) log: &'a Arc<dyn Log>,
    pub(crate) images: &'a mut BTreeMap<Position, Images>,
    /// Keys of the stream that is being reset; gathered before the fold, which holds the base.
    pub(crate) reset: TableKeys,
}

impl Past for RebuildPast<'_> {
    fn as_of(
        &mut self,
        table: &'static TableDef,
        key: &[u8],
        at: Position,
    ) -> Result<Option<Vec<u8>>, FoldError> {
        let name = (table.name, key.to_vec());
        let image = self
            .images
            .range(at.next()..)
            .find_map(|(_, images)| images.get(&name));
        let missing =
            || FoldError::Store(format!("no image of a row of {} as of {at}", table.name));
        image.cloned().ok_or_else(missing)
    }

    fn stream_keys(
        &mut self,
        table: &'static TableDef,
        _: &Stream,
    ) -> Result<Vec<Vec<u8>>, FoldError> {
        let keys = self
            .reset
            .iter_mut()
            .find(|(other, _)| std::ptr::eq(*other, table));
        Ok(keys
            .map(|(_, keys)| std::mem::take(keys))
            .unwrap_or_default())
    }

    fn fetch(&mut self, position: Position) -> Result<Commit, FoldError> {
        fetch(self.log, position)
    }

    fn remember(
        &mut self,
        position: Position,
        overlay: &mut Overlay<'_>,
        touched: &[(&'static TableDef, Vec<u8>)],
    ) -> Result<(), FoldError> {
        let mut images = Images::new();
        for (table, key) in touched {
            images.insert((table.name, key.clone()), overlay.before(table, key)?);
        }
        self.images.insert(position, images);
        Ok(())
    }
}

pub(crate) type RowImages = BTreeMap<Position, Images>;
