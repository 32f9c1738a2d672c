//! A simulation that crashes between any two steps: whatever it leaves behind opens, goes on, and
//! equals a fresh fold.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use cairn_domain::{Position, commit::NewCommit, projections::ALL};
use cairn_engine::{
    runner::{History, rebuild_offline},
    store::{Steps, TableDigest},
};
use rand::{Rng, RngExt, SeedableRng, rngs::StdRng};

use crate::{
    fold_properties::{block_on, chains},
    support::{Site, SiteOptions, fresh_fold, never, rounds, seed, without_orphans},
};

mod camera;

use camera::{Camera, Picture};

/// Crashes that are tried of each run.
const CRASHES: usize = 6;

fn history(random: &mut impl Rng) -> History {
    match random.random_bool(0.5) {
        true => History::Span(Duration::from_secs(random.random_range(0..200_000))),
        false => History::All,
    }
}

/// Some projections; none means all.
fn some_projections(random: &mut impl Rng) -> Vec<String> {
    let some = ALL.iter().filter(|_| random.random_bool(0.4));
    some.map(|projection| projection.name().to_owned())
        .collect()
}

/// Everything that a server does to its directory, in a random order, until all commits are taken.
async fn live(camera: &Arc<Camera>, commits: &[NewCommit], history: History, random: &mut StdRng) {
    let observer = Arc::clone(camera);
    let options = SiteOptions {
        history,
        steps: Steps::observed(move |step| observer.step(step)),
        ..SiteOptions::default()
    };
    let mut site = Site::open(Arc::clone(&camera.subject), options).await;
    let mut rest = commits;
    while !rest.is_empty() {
        let (now, later) = rest.split_at(random.random_range(1..=rest.len().min(20)));
        site.append(now).await;
        camera.appended();
        rest = later;
        if random.random_bool(0.8) {
            site.fold(random.random_range(1..4000)).await;
        }
        match random.random_range(0..8) {
            0 => site.store.flush().expect("a flush"),
            1 => site = site.reopen().await,
            2 => {
                let names = some_projections(random);
                let rebuilt = rebuild_offline(&site.log, &site.store, &names, &|_, _| ()).await;
                rebuilt.expect("a rebuild");
            }
            3 => {
                // A picture shows one moment only if nothing folds while the rebuild writes.
                site.fold(1 << 20).await;
                let runner = site.run(1 << 20);
                let rebuilt = runner
                    .rebuild(some_projections(random), |_, _| (), never())
                    .await;
                rebuilt.expect("a rebuild");
                runner.stop().await.expect("a fold without failure");
            }
            _ => {}
        }
        camera.shoot("an operation");
    }
}

/// What the log of a run says, folded without any crash.
struct Expected {
    commits: Vec<NewCommit>,
    history: History,
    /// Of all commits, with all of its past.
    whole: Site,
    /// Digests of fresh folds of so many commits.
    parts: BTreeMap<usize, Vec<TableDigest>>,
}

impl Expected {
    async fn part(&mut self, commits: usize) -> &[TableDigest] {
        if !self.parts.contains_key(&commits) {
            let fresh = fresh_fold(&self.commits[..commits]).await;
            self.parts.insert(commits, fresh.digests());
        }
        &self.parts[&commits]
    }

    /// Opens what a crash left behind, goes on, and compares.
    async fn revive(&mut self, picture: Picture) {
        let behind = picture.behind.clone();
        let options = SiteOptions {
            history: self.history,
            ..SiteOptions::default()
        };
        let site = Site::open(Arc::new(picture.directory), options).await;
        let head = site.log.head().borrow().0 as usize;
        assert_eq!(site.store.outdated(), [""; 0], "{behind}");
        if head > 0 {
            site.fold(2000).await;
            assert_eq!(site.digests(), self.part(head).await, "{behind}, at {head}");
        }
        if head < self.commits.len() {
            site.append(&self.commits[head..]).await;
            site.fold(1 << 20).await;
        }
        assert_eq!(site.digests(), self.whole.digests(), "{behind}, at the end");
        let middle = site
            .store
            .oldest()
            .0
            .max(1)
            .midpoint(self.commits.len() as u64);
        let as_of = |site: &Site| {
            let digests = site.store.digests_at(Some(Position(middle)));
            without_orphans(digests.expect("digests"))
        };
        assert_eq!(as_of(&site), as_of(&self.whole), "{behind}, as of {middle}");
    }
}

fn round(seed: u64) {
    block_on(async {
        let mut random = StdRng::seed_from_u64(seed);
        let commits = chains(seed, random.random_range(1..80)).commits;
        let history = history(&mut random);
        let camera = Arc::new(Camera::new(seed, CRASHES));
        live(&camera, &commits, history, &mut random).await;
        let mut expected = Expected {
            whole: fresh_fold(&commits).await,
            commits,
            history,
            parts: BTreeMap::new(),
        };
        for mut picture in camera.develop() {
            if random.random_bool(0.5) {
                picture.tear(&mut random);
            }
            eprintln!("CAIRN_SEED={seed}: a crash behind {}", picture.behind);
            expected.revive(picture).await;
        }
    });
}

#[test]
fn a_crash_between_any_two_steps_leaves_what_goes_on_to_equal_a_fresh_fold() {
    let first = seed();
    for round_number in 0..rounds(100) as u64 {
        round(first.wrapping_add(round_number));
    }
}
