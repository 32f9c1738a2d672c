//! A lake that is kept of a made-up chain.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use cairn_lake::{
    Follower, Lake, LakeError, LakeOptions, LakeShard, Layout, Place,
    iceberg::{CatalogOptions, IcebergOptions, IcebergTables},
};
use tempfile::TempDir;

use crate::support::{Site, chain::RandomChain, never, seed};

/// A chain whose final rows are in a lake.
pub(super) struct Kept {
    site: Site,
    pub(super) chain: RandomChain,
    appended: usize,
    pub(super) directory: TempDir,
    pub(super) lake: Arc<Lake>,
    follower: Follower,
}

impl Kept {
    /// A lake of small files, and a chain of so many blocks in it.
    pub(super) async fn with_blocks(blocks: usize) -> Self {
        let site = Site::new().await;
        let directory = tempfile::tempdir().expect("a directory");
        let place = Place::directory(&directory.path().join("lake")).expect("a place");
        let options = LakeOptions {
            layout: Layout {
                range_heights: 10,
                rows_per_file: 50,
            },
            ..LakeOptions::default()
        };
        let lake = Lake::open(place, options).await.expect("a lake");
        let shard = LakeShard {
            name: "main".into(),
            log: Arc::clone(&site.log),
            store: Arc::clone(&site.store),
        };
        let follower = Follower::new(Arc::clone(&lake), shard).await;
        let mut kept = Self {
            site,
            chain: RandomChain::new("eth", seed()),
            appended: 0,
            directory,
            lake,
            follower: follower.expect("a follower"),
        };
        kept.grow(blocks).await;
        kept
    }

    /// So many blocks more, most of them final.
    pub(super) async fn grow(&mut self, blocks: usize) {
        (0..blocks).for_each(|_| self.chain.append());
        (0..5).for_each(|_| self.chain.finalize());
        self.follow().await;
    }

    /// Takes in what the chain has done.
    pub(super) async fn follow(&mut self) {
        let head = self.site.append(&self.chain.commits[self.appended..]).await;
        self.appended = self.chain.commits.len();
        self.site.fold(1 << 20).await;
        let followed = self.follower.catch_up(head, &|_, _| (), &mut never()).await;
        followed.expect("a lake that follows");
    }

    pub(super) fn root(&self) -> &Path {
        self.lake.place().root().expect("a directory")
    }

    pub(super) fn catalog(&self) -> PathBuf {
        self.root().join("iceberg/catalog.sqlite3")
    }

    pub(super) async fn tables(&self) -> IcebergTables {
        self.open_tables(self.lake.place().clone())
            .await
            .expect("tables")
    }

    pub(super) async fn open_tables(&self, place: Place) -> Result<IcebergTables, LakeError> {
        let path = self.catalog();
        IcebergTables::open(place, &IcebergOptions::new(CatalogOptions::Sql { path })).await
    }
}
