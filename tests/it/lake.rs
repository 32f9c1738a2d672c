//! The lake: which rows a file holds is a function of the log, however it is followed.

mod unread;

use std::{
    collections::BTreeSet,
    future::poll_fn,
    path::{Path, PathBuf},
    pin::pin,
    sync::Arc,
    task::Poll,
};

use cairn_domain::{Position, Stream};
use cairn_lake::{Follower, Lake, LakeOptions, LakeShard, Layout, Manifest, Place};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::sync::watch;

use crate::{
    fold_properties::{block_on, chains},
    support::{Site, chain::RandomChain, fresh_fold, never, rounds},
};

/// Files that are soon complete.
const LAYOUT: Layout = Layout {
    range_heights: 7,
    rows_per_file: 9,
};

async fn open(directory: &Path) -> Arc<Lake> {
    let place = Place::directory(directory).expect("a place");
    let options = LakeOptions {
        layout: LAYOUT,
        ..LakeOptions::default()
    };
    Lake::open(place, options).await.expect("a lake")
}

async fn follower(lake: &Arc<Lake>, site: &Site) -> Follower {
    follower_of("main", lake, site).await
}

async fn follower_of(shard: &str, lake: &Arc<Lake>, site: &Site) -> Follower {
    let shard = LakeShard {
        name: shard.into(),
        log: Arc::clone(&site.log),
        store: Arc::clone(&site.store),
    };
    let follower = Follower::new(Arc::clone(lake), shard).await;
    follower.expect("a follower")
}

fn head(site: &Site) -> Position {
    *site.log.head().borrow()
}

/// What a reader sees of the files: where, what, how much.
fn files(manifest: &Manifest) -> BTreeSet<(String, String, u64, bool)> {
    let entries = manifest.files.iter();
    entries
        .map(|file| {
            (
                file.path.clone(),
                file.sha256.clone(),
                file.rows,
                file.complete,
            )
        })
        .collect()
}

/// The files of a lake that was made in one go.
async fn made_at_once(site: &Site) -> BTreeSet<(String, String, u64, bool)> {
    let directory = tempfile::tempdir().expect("a directory");
    let lake = open(directory.path()).await;
    let mut follower = follower(&lake, site).await;
    let caught = follower
        .catch_up(head(site), &|_, _| (), &mut never())
        .await;
    caught.expect("the files");
    files(&lake.manifest())
}

/// Every file of the manifest is there as it says, and no other file is.
fn assert_whole(directory: &Path, manifest: &Manifest) {
    for file in &manifest.files {
        let bytes = std::fs::read(directory.join(&file.path)).expect("the file");
        assert_eq!(bytes.len() as u64, file.bytes, "{}", file.path);
    }
    let replaced = manifest.replaced.iter().map(|replaced| &replaced.file);
    let known = manifest.files.iter().chain(replaced);
    let known: BTreeSet<_> = known.map(|file| directory.join(&file.path)).collect();
    for dataset in cairn_domain::datasets::all() {
        for file in files_under(&directory.join(dataset.name)) {
            assert!(
                known.contains(&file),
                "{} is in no manifest",
                file.display()
            );
        }
    }
}

/// The files under a directory, if there is one.
fn files_under(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let under = |path: PathBuf| match path.is_dir() {
        true => files_under(&path),
        false => vec![path],
    };
    paths.flat_map(under).collect()
}

fn rows(manifest: &Manifest, dataset: &str) -> u64 {
    manifest.files_of(dataset).map(|file| file.rows).sum()
}

/// Polls a future so many times at most, then drops it: a crash at one of its steps.
async fn polled<F: Future>(future: F, polls: u32) {
    let (mut future, mut left) = (pin!(future), polls);
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(());
        }
        left -= 1;
        future.as_mut().poll(context).map(drop)
    })
    .await;
}

/// A folded chain of this name, with files to be made.
async fn chain_of(seed: u64) -> Site {
    let mut chain = RandomChain::new("eth", seed);
    (0..40).for_each(|_| chain.append());
    while chain.hot() > 0 {
        chain.finalize();
    }
    chain.cut();
    fresh_fold(&chain.commits).await
}

#[test]
fn a_chain_in_two_shards_is_refused_and_the_files_of_the_first_stay_as_they_are() {
    block_on(async {
        let directory = tempfile::tempdir().expect("a directory");
        let lake = open(directory.path()).await;
        let (one, other) = (chain_of(1).await, chain_of(2).await);
        let mut first = follower(&lake, &one).await;
        let caught = first.catch_up(head(&one), &|_, _| (), &mut never()).await;
        caught.expect("the files");
        let bytes = || -> Vec<_> {
            let files = files_under(directory.path());
            let files = files
                .into_iter()
                .filter(|file| !file.ends_with("manifest.json"));
            files
                .map(|file| (std::fs::read(&file).expect("a file"), file))
                .collect()
        };
        let before = bytes();
        assert!(before.len() > 4, "{}", before.len());
        let mut second = follower_of("other", &lake, &other).await;
        let caught = second
            .catch_up(head(&other), &|_, _| (), &mut never())
            .await;
        let error = caught.expect_err("the same names").to_string();
        assert!(error.contains("is in the shards main and other"), "{error}");
        drop(second);
        assert!(bytes() == before);
        assert_whole(directory.path(), &lake.manifest());
    });
}

#[test]
fn rows_of_events_end_a_file_with_the_commit_that_fills_it() {
    block_on(async {
        let mut chain = RandomChain::new("eth", 7);
        chain.append();
        for _ in 0..40 {
            assert_eq!(chain.leave_and_return(), 1);
        }
        let site = fresh_fold(&chain.commits).await;
        let directory = tempfile::tempdir().expect("a directory");
        let lake = open(directory.path()).await;
        let mut follower = follower(&lake, &site).await;
        let caught = follower
            .catch_up(head(&site), &|_, _| (), &mut never())
            .await;
        caught.expect("the files");
        let manifest = lake.manifest();
        let files: Vec<_> = manifest.files_of("reverts").collect();
        assert!(
            files.iter().all(|file| file.complete && file.rows == 9),
            "{files:?}"
        );
        assert_eq!(files.len(), 4, "40 reverts");
        assert!(!lake.tail("main").1.is_empty());
    });
}

#[test]
fn a_log_that_is_not_read_up_to_rows_that_wait_keeps_them_waiting() {
    block_on(async {
        let mut chain = RandomChain::new("eth", 7);
        chain.append();
        (0..6).for_each(|_| assert_eq!(chain.leave_and_return(), 1));
        chain.cut();
        // A part of the rows waits, with the rest in a file.
        (0..2).for_each(|_| assert_eq!(chain.leave_and_return(), 1));
        (0..40).for_each(|_| chain.append());
        while chain.hot() > 0 {
            chain.finalize();
        }
        let site = fresh_fold(&chain.commits).await;
        let directory = tempfile::tempdir().expect("a directory");
        let lake = open(directory.path()).await;
        let mut first = follower(&lake, &site).await;
        let caught = first.catch_up(head(&site), &|_, _| (), &mut never()).await;
        caught.expect("the files");
        drop(first);
        let lake = open(directory.path()).await;
        let unread = Arc::new(unread::Unread {
            log: Arc::clone(&site.log),
            head: watch::Sender::new(Position(0)),
        });
        let shard = LakeShard {
            name: "main".into(),
            log: Arc::clone(&unread) as _,
            store: Arc::clone(&site.store),
        };
        let early = Follower::new(Arc::clone(&lake), shard.clone()).await;
        let error = early.err().expect("rows would be missing").to_string();
        assert!(error.contains("is not read yet"), "{error}");
        unread.head.send_replace(head(&site));
        let late = Follower::new(Arc::clone(&lake), shard).await;
        late.expect("all is read");
        assert!(!lake.tail("main").1.is_empty());
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: rounds(200) as u32, ..ProptestConfig::default() })]

    #[test]
    fn files_are_the_same_however_the_log_is_followed(seed: u64, steps in 1usize..120) {
        block_on(async {
            let chain = chains(seed, steps);
            let site = Site::new().await;
            let directory = tempfile::tempdir().expect("a directory");
            let mut random = StdRng::seed_from_u64(seed);
            let mut lake = open(directory.path()).await;
            let mut follower = follower(&lake, &site).await;
            let mut rest = &chain.commits[..];
            while !rest.is_empty() {
                let (now, later) = rest.split_at(random.random_range(1..=rest.len().min(20)));
                site.append(now).await;
                site.fold(4000).await;
                match random.random_range(0..4) {
                    // The process ends between two batches.
                    0 => {
                        lake = open(directory.path()).await;
                        follower = self::follower(&lake, &site).await;
                    }
                    // It ends in the middle of one.
                    1 => {
                        let (progress, mut stop) = (|_, _| (), never());
                        let catching = follower.catch_up(head(&site), &progress, &mut stop);
                        polled(catching, random.random_range(0..12)).await;
                        lake = open(directory.path()).await;
                        follower = self::follower(&lake, &site).await;
                    }
                    _ => {}
                }
                let caught = follower.catch_up(head(&site), &|_, _| (), &mut never()).await;
                caught.expect("the files");
                rest = later;
            }
            assert_whole(directory.path(), &lake.manifest());
            prop_assert_eq!(files(&lake.manifest()), made_at_once(&site).await);
            Ok(())
        })?;
    }

    #[test]
    fn behind_a_cut_every_final_row_is_in_one_file(seed: u64, steps in 1usize..120) {
        block_on(async {
            let mut chain = chains(seed, steps);
            chain.cut();
            let site = fresh_fold(&chain.commits).await;
            let directory = tempfile::tempdir().expect("a directory");
            let lake = open(directory.path()).await;
            let mut follower = follower(&lake, &site).await;
            follower.catch_up(head(&site), &|_, _| (), &mut never()).await.expect("the files");
            let (manifest, stream) = (lake.manifest(), Stream::chain("eth").expect("a name"));
            let view = site.store.view(None).expect("a view");
            let ends = view.ends(&stream).expect("a read");
            let finalized = ends.and_then(|ends| Some((ends.first.height, ends.finalized?.height)));
            let (blocks, transactions) = match finalized {
                Some((first, last)) => {
                    let block = view.canonical(&stream, last).expect("a read").expect("a block");
                    (last - first + 1, block.transactions)
                }
                None => (0, 0),
            };
            prop_assert_eq!(rows(&manifest, "blocks"), blocks);
            prop_assert_eq!(rows(&manifest, "transactions"), transactions);
            let (_, tail) = lake.tail("main");
            prop_assert!(tail.unpublished.is_empty(), "{:?}", tail.unpublished);
            prop_assert!(tail.is_empty());
            Ok(())
        })?;
    }
}
