//! What `kill -9` leaves of files.

use std::{collections::BTreeSet, process::Stdio, thread, time::Duration};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;

use super::{SAMPLE_TRANSACTIONS, SETTINGS, published, serve, sha256};
use crate::support::{
    process::{DataDir, SAMPLE_BLOCKS, run},
    rounds, seed,
};

/// The files that a manifest names: each is there, whole.
fn manifest_files(data: &DataDir) -> BTreeSet<(String, String, u64)> {
    let lake = data.path().join("lake");
    let Ok(text) = std::fs::read(lake.join("manifest.json")) else {
        return BTreeSet::new();
    };
    let manifest: Value = serde_json::from_slice(&text).expect("a whole manifest");
    let files = manifest["files"].as_array().expect("files");
    files
        .iter()
        .map(|file| {
            let path = file["path"].as_str().expect("a path");
            let digest = file["sha256"].as_str().expect("a digest");
            assert_eq!(sha256(&lake.join(path)), digest, "{path}");
            (
                path.to_owned(),
                digest.to_owned(),
                file["rows"].as_u64().expect("a count"),
            )
        })
        .collect()
}

/// The number of the last publication.
fn sequence(data: &DataDir) -> Option<u64> {
    let manifest = std::fs::read(data.path().join("lake/manifest.json")).ok()?;
    let manifest: Value = serde_json::from_slice(&manifest).ok()?;
    manifest["sequence"].as_u64()
}

#[test]
fn kill_9_while_files_are_written_leaves_none_torn_and_no_row_twice() {
    let mut random = StdRng::seed_from_u64(seed());
    for _ in 0..rounds(30) {
        let data = DataDir::with_samples();
        for _ in 0..3 {
            let server = serve(&data);
            thread::sleep(Duration::from_millis(random.random_range(0..1500)));
            server.kill();
            manifest_files(&data);
        }
        published(&data).terminate();
        let files = manifest_files(&data);
        let rows = |dataset: &str| -> u64 {
            let own = files
                .iter()
                .filter(|(path, ..)| path.starts_with(&format!("{dataset}/")));
            own.map(|(.., rows)| rows).sum()
        };
        assert_eq!(rows("blocks"), SAMPLE_BLOCKS);
        assert_eq!(rows("transactions"), SAMPLE_TRANSACTIONS);
        // Made anew it is the same, to the last byte, and who follows it is shown all of it again.
        let before = sequence(&data);
        let mut rebuild = data.command("lake rebuild --json");
        run(rebuild.envs(SETTINGS)).ok();
        assert_eq!(manifest_files(&data), files);
        assert!(sequence(&data) > before);
    }
}

#[test]
fn kill_9_of_a_rebuild_leaves_a_lake_that_is_made_anew_by_the_next_one() {
    let data = DataDir::with_samples();
    published(&data).terminate();
    let files = manifest_files(&data);
    let mut random = StdRng::seed_from_u64(seed());
    for _ in 0..rounds(30) {
        let mut rebuild = data.command("lake rebuild");
        let mut child = rebuild
            .envs(SETTINGS)
            .stdout(Stdio::null())
            .spawn()
            .expect("cairn starts");
        thread::sleep(Duration::from_millis(random.random_range(0..2000)));
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
        manifest_files(&data);
        let mut rebuild = data.command("lake rebuild");
        run(rebuild.envs(SETTINGS)).ok();
        assert_eq!(manifest_files(&data), files);
    }
}
