//! The lake's complete files as Iceberg tables: all of them, each once, whatever happens in between.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use cairn_lake::{
    FileEntry, Manifest, Place,
    iceberg::{CatalogOptions, IcebergOptions, IcebergReport, IcebergTables},
};
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::support::{rounds, seed};

mod kept;
mod readers;

use kept::Kept;

/// Complete files of a manifest, by dataset.
fn complete(manifest: &Manifest) -> BTreeMap<&str, Vec<&FileEntry>> {
    let mut complete = BTreeMap::<_, Vec<_>>::new();
    for file in manifest.files.iter().filter(|file| file.complete) {
        complete
            .entry(file.dataset.as_str())
            .or_default()
            .push(file);
    }
    complete
}

/// Every complete file is in its table once, and nothing else is in any.
async fn assert_published(tables: &IcebergTables, manifest: &Manifest) {
    let complete = complete(manifest);
    let snapshots = tables.snapshots().await.expect("snapshots");
    for dataset in cairn_domain::datasets::all().map(|dataset| dataset.name) {
        let mut files = complete.get(dataset).cloned().unwrap_or_default();
        files.sort_by(|one, other| one.path.cmp(&other.path));
        let paths: Vec<_> = files.iter().map(|file| file.path.clone()).collect();
        assert_eq!(
            tables.files(dataset).await.expect("files"),
            paths,
            "{dataset}"
        );
        let last = snapshots.iter().rfind(|last| last.table == dataset);
        let told = last.map_or((0, 0), |last| (last.files, last.rows));
        let rows = files.iter().map(|file| file.rows).sum::<u64>();
        assert_eq!(
            told,
            (files.len() as u64, rows),
            "files and rows of {dataset}"
        );
    }
}

fn added(report: &IcebergReport) -> u64 {
    report.tables.iter().map(|table| table.added_files).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tables_have_the_complete_files_and_publishing_again_adds_none() {
    let kept = Kept::with_blocks(60).await;
    let tables = kept.tables().await;
    let manifest = kept.lake.manifest();
    let first = tables.publish(&manifest).await.expect("a publication");
    let files: usize = complete(&manifest).values().map(Vec::len).sum();
    assert!(files > 20, "{files} files say little");
    assert_eq!(added(&first), files as u64);
    assert_published(&tables, &manifest).await;
    let again = kept.tables().await;
    let second = again.publish(&manifest).await.expect("a publication");
    assert_eq!(added(&second), 0);
    let snapshots = |report: &IcebergReport| -> Vec<_> {
        report.tables.iter().map(|table| table.snapshot).collect()
    };
    assert_eq!(snapshots(&first), snapshots(&second));
    assert_published(&again, &manifest).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn new_complete_files_come_in_one_snapshot_that_says_how_far_the_log_was_read() {
    let mut kept = Kept::with_blocks(30).await;
    let tables = kept.tables().await;
    tables
        .publish(&kept.lake.manifest())
        .await
        .expect("a publication");
    kept.grow(40).await;
    let manifest = kept.lake.manifest();
    let report = tables.publish(&manifest).await.expect("a publication");
    assert!(added(&report) > 0 && report.tables.iter().all(|table| !table.made_anew));
    assert_published(&tables, &manifest).await;
    let all = tables.snapshots().await.expect("snapshots");
    let blocks: Vec<_> = all.iter().filter(|last| last.table == "blocks").collect();
    assert_eq!(blocks.len(), 2);
    assert_eq!(blocks[1].sequence, Some(manifest.sequence));
    assert_eq!(
        blocks[1].positions["main"],
        manifest.shards["main"].position
    );
    assert!(blocks[0].positions["main"] < blocks[1].positions["main"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_chain_makes_the_tables_anew_without_its_old_files() {
    let mut kept = Kept::with_blocks(40).await;
    let tables = kept.tables().await;
    tables
        .publish(&kept.lake.manifest())
        .await
        .expect("a publication");
    kept.chain.reset();
    kept.follow().await;
    let emptied = tables
        .publish(&kept.lake.manifest())
        .await
        .expect("a publication");
    assert!(emptied.tables.iter().any(|table| table.made_anew));
    assert_published(&tables, &kept.lake.manifest()).await;
    let blocks = kept.root().join("iceberg/blocks");
    assert!(!blocks.join("metadata/version-hint.text").exists());
    kept.grow(40).await;
    let manifest = kept.lake.manifest();
    assert!(manifest.files_of("blocks").all(|file| file.reset.0 > 0));
    tables.publish(&manifest).await.expect("a publication");
    assert_published(&tables, &manifest).await;
    let hint = std::fs::read_to_string(blocks.join("metadata/version-hint.text"));
    assert_eq!(hint.expect("a hint"), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_keeps_some_snapshots_and_no_file_of_those_that_are_gone() {
    let kept = Kept::with_blocks(60).await;
    let path = kept.catalog();
    let mut options = IcebergOptions::new(CatalogOptions::Sql { path });
    options.snapshots = 4.try_into().expect("it is not 0");
    let place = kept.lake.place().clone();
    let tables = IcebergTables::open(place, &options).await.expect("tables");
    let whole = kept.lake.manifest();
    for count in 1..=whole.files.len() {
        let mut manifest = Manifest::clone(&whole);
        manifest.files.truncate(count);
        tables.publish(&manifest).await.expect("a publication");
        assert_published(&tables, &manifest).await;
    }
    let snapshots = tables.snapshots().await.expect("snapshots");
    let blocks = snapshots.iter().filter(|last| last.table == "blocks");
    assert!((4..=5).contains(&blocks.count()), "{snapshots:?}");
    let metadata = std::fs::read_dir(kept.root().join("iceberg/logs/metadata")).expect("files");
    let named = |start: &str| {
        let names = metadata.map(|file| file.expect("a file").file_name());
        names
            .filter(|name| name.to_string_lossy().starts_with(start))
            .count()
    };
    assert!(
        (4..=5).contains(&named("snap-")),
        "one list of files a snapshot"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_that_are_complete_in_the_same_batch_are_files_of_their_own() {
    let kept = Kept::with_blocks(60).await;
    let manifest = kept.lake.manifest();
    assert!(manifest.files_of("blocks").count() > 1);
    for file in &manifest.files {
        let found = std::fs::metadata(kept.root().join(&file.path));
        let bytes = found.map(|found| found.len());
        assert_eq!(bytes.ok(), Some(file.bytes), "{}", file.path);
    }
}

/// A future that is polled so many times at most.
struct Interrupted<F> {
    inner: Pin<Box<F>>,
    polls: usize,
}

impl<F: Future> Future for Interrupted<F> {
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        match self.inner.as_mut().poll(context) {
            Poll::Ready(done) => Poll::Ready(Some(done)),
            // The last poll is over: what it had begun is left as it is.
            Poll::Pending if self.polls == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publication_that_ends_at_any_moment_is_made_good_by_the_next_one() {
    let kept = Kept::with_blocks(60).await;
    let mut random = StdRng::seed_from_u64(seed());
    let whole = kept.lake.manifest();
    let mut tables = kept.tables().await;
    let (mut interrupted, mut completed) = (0, 0);
    let mut polls = 1;
    for round in 0..rounds(600) {
        // Files come and go, so that tables are made, grow, and are made anew.
        let mut manifest = Manifest::clone(&whole);
        let share = f64::from(random.random_range(1..10)) / 10.0;
        manifest.files.retain(|_| random.random_bool(share));
        if round % 2 == 1 {
            manifest = Manifest::clone(&whole);
        }
        let inner = Box::pin(tables.publish(&manifest));
        match (Interrupted { inner, polls }).await {
            Some(done) => {
                done.expect("a publication");
                completed += 1;
                polls = 1;
            }
            None => interrupted += 1,
        }
        polls += random.random_range(1..6);
        if round % 3 == 0 {
            continue;
        }
        tables
            .publish(&manifest)
            .await
            .expect("the next publication");
        if round % 7 == 1 {
            tables = kept.tables().await;
        }
        assert_published(&tables, &manifest).await;
    }
    assert!(
        interrupted > completed && completed > 0,
        "{interrupted}, {completed}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_another_lake_is_left_alone() {
    let kept = Kept::with_blocks(30).await;
    let tables = kept.tables().await;
    tables
        .publish(&kept.lake.manifest())
        .await
        .expect("a publication");
    let other = Place::directory(&kept.directory.path().join("other")).expect("a place");
    let others = kept.open_tables(other).await.expect("tables");
    let refused = others.publish(&Manifest::new(kept.lake.layout())).await;
    let reason = refused.expect_err("tables of another lake").to_string();
    assert!(reason.contains("not in this lake"), "{reason}");
    assert_published(&tables, &kept.lake.manifest()).await;
}
