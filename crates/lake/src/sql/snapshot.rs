//! What a query sees: files, rows of events that are in none, and the store, all as of one position of
//! each shard.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use arrow::record_batch::RecordBatch;
use cairn_domain::{Position, Stream, projections::blocks::ChainEndsRow};
use cairn_engine::{
    log::wait_for,
    store::{ReadView, StoreError},
};
use tokio::time::Instant;

use super::{SqlError, ranges::chain_of};
use crate::{
    EventTail, Lake, LakeShard,
    manifest::{FileEntry, Manifest},
};

/// Before the lake is asked again how far it is.
const PAUSE: Duration = Duration::from_millis(5);

/// See the module.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// By name of the shard, in this order.
    pub(super) shards: Vec<ShardSnapshot>,
}

/// What a query sees of a shard.
pub(super) struct ShardSnapshot {
    pub(super) name: String,
    pub(super) manifest: Arc<Manifest>,
    pub(super) view: ReadView,
    /// The chains of the view, sorted by name.
    pub(super) chains: Vec<(Stream, ChainEndsRow)>,
    events: EventTail,
}

impl Snapshot {
    /// Takes all shards.
    pub(super) async fn take(
        lake: &Lake,
        shards: &[LakeShard],
        wait: Duration,
    ) -> Result<Self, SqlError> {
        let mut taken = Vec::with_capacity(shards.len());
        for shard in shards {
            taken.push(ShardSnapshot::take(lake, shard, wait).await?);
        }
        taken.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(Self { shards: taken })
    }

    /// The files that hold rows of a dataset of blocks of a chain, in the order of heights.
    pub(crate) fn files_of<'a>(&'a self, dataset: &'a str, chain: &str) -> Vec<&'a FileEntry> {
        let files = self.shards.iter().flat_map(|shard| shard.files(dataset));
        let mut files: Vec<_> = files.filter(|file| chain_of(file) == Some(chain)).collect();
        files.sort_by_key(|file| file.heights);
        files
    }

    /// Whether all rows of blocks are of one chain.
    pub(super) fn has_one_chain(&self) -> bool {
        let shards = self.shards.iter();
        let names = shards.flat_map(|shard| {
            let files = shard
                .manifest
                .files
                .iter()
                .filter(|file| file.shard == shard.name);
            let chains = shard.chains.iter();
            let chains = chains.filter_map(|(stream, _)| stream.chain_name());
            files.filter_map(chain_of).chain(chains)
        });
        names.collect::<BTreeSet<_>>().len() == 1
    }

    /// As of which position it is, by shard.
    pub(crate) fn positions(&self) -> BTreeMap<String, Position> {
        let position = |shard: &ShardSnapshot| (shard.name.clone(), shard.view.position());
        self.shards.iter().map(position).collect()
    }
}

impl std::fmt::Debug for ShardSnapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} at {}", self.name, self.view.position())
    }
}

impl ShardSnapshot {
    async fn take(lake: &Lake, shard: &LakeShard, wait: Duration) -> Result<Self, SqlError> {
        let latest = *shard.store.position().borrow();
        let deadline = Instant::now() + wait;
        // Which files a chain has depends on resets, so a view may not be ahead of the lake.
        while lake.tail_position(&shard.name) < latest && Instant::now() < deadline {
            tokio::time::sleep(PAUSE).await;
        }
        let (manifest, events) = lake.tail(&shard.name);
        let published = manifest.shard(&shard.name);
        let published = published.map_or(Position(0), |state| state.position);
        let behind = |lake| SqlError::Behind {
            shard: shard.name.clone(),
            lake,
            store: *shard.store.position().borrow(),
            oldest: shard.store.oldest(),
        };
        if events.position < published {
            return Err(behind(events.position));
        }
        // All positions from the manifest's on up to the tail's can be answered as of.
        let position = latest.clamp(published, events.position);
        if !wait_for(&mut shard.store.position(), position, wait).await {
            return Err(behind(events.position));
        }
        let view = match shard.store.view(Some(position)) {
            Ok(view) => view,
            Err(StoreError::Trimmed { .. }) => return Err(behind(events.position)),
            Err(error) => return Err(error.into()),
        };
        let chains = view.chains()?;
        Ok(Self {
            name: shard.name.clone(),
            manifest,
            view,
            chains,
            events,
        })
    }

    /// The files of a dataset.
    pub(super) fn files<'a>(&'a self, dataset: &'a str) -> impl Iterator<Item = &'a FileEntry> {
        let files = self.manifest.files_of(dataset);
        files.filter(|file| file.shard == self.name)
    }

    /// Rows of events that are in no file.
    pub(super) fn events(&self, dataset: &str) -> impl Iterator<Item = RecordBatch> {
        self.events.rows_up_to(dataset, self.view.position())
    }
}
