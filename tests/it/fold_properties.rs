//! Random chains with forks: whatever way the log is folded, the state is the same.

use std::sync::Arc;

use cairn_domain::Position;
use cairn_engine::runner::{RunnerError, rebuild_offline, verify};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::sync::watch;

use crate::support::{
    Site, SiteOptions, chain::RandomChain, fresh_fold, never, rounds, without_orphans,
};

pub(crate) fn chains(seed: u64, steps: usize) -> RandomChain {
    let mut chain = RandomChain::new("eth", seed);
    (0..steps).for_each(|_| chain.step());
    chain
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
        .block_on(future)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: rounds(120) as u32, ..ProptestConfig::default() })]

    #[test]
    fn batches_split_anyhow_redelivered_and_reopened_equal_a_fresh_fold(
        seed: u64, steps in 1usize..60, batch in 1usize..4000,
    ) {
        block_on(async {
            let chain = chains(seed, steps);
            let expected = fresh_fold(&chain.commits).await.digests();
            let mut random = StdRng::seed_from_u64(seed);
            let mut site = Site::new().await;
            let mut rest = &chain.commits[..];
            while !rest.is_empty() {
                let (now, later) = rest.split_at(random.random_range(1..=rest.len()));
                site.append(now).await;
                site.fold(batch).await;
                if random.random_bool(0.3) {
                    site = site.reopen().await;
                }
                rest = later;
            }
            prop_assert_eq!(site.digests(), expected);
            Ok(())
        })?;
    }

    #[test]
    fn a_rebuild_equals_the_live_fold_orphans_included(seed: u64, steps in 1usize..60) {
        block_on(async {
            let site = fresh_fold(&chains(seed, steps).commits).await;
            let live = site.digests();
            let report = verify(&site.log, &site.store, &|_, _| (), never()).await.expect("a verification");
            prop_assert!(report.is_clean(), "{report:#?}");
            rebuild_offline(&site.log, &site.store, &[], &|_, _| ()).await.expect("a rebuild");
            prop_assert_eq!(site.digests(), live);
            // The rebuilt store must also be able to go on, reverts included.
            let mut chain = chains(seed, steps);
            let old = chain.commits.len();
            (0..20).for_each(|_| chain.step());
            site.append(&chain.commits[old..]).await;
            site.fold(1 << 20).await;
            prop_assert_eq!(site.digests(), fresh_fold(&chain.commits).await.digests());
            Ok(())
        })?;
    }

    #[test]
    fn a_rebuild_with_next_to_no_memory_equals_the_live_fold(seed: u64, steps in 1usize..90) {
        block_on(async {
            // Every commit becomes a run, the rows that folds read go to disk, and runs are joined.
            let options = SiteOptions { bulk_bytes: 1, ..SiteOptions::default() };
            let site = Site::with(options).await;
            site.append(&chains(seed, steps).commits).await;
            site.fold(1 << 20).await;
            let live = site.digests();
            rebuild_offline(&site.log, &site.store, &[], &|_, _| ()).await.expect("a rebuild");
            prop_assert_eq!(site.digests(), live);
            Ok(())
        })?;
    }

    #[test]
    fn after_reorganisations_every_view_equals_a_fresh_fold_of_the_surviving_branch(
        seed: u64, steps in 1usize..60,
    ) {
        block_on(async {
            let chain = chains(seed, steps);
            let forked = fresh_fold(&chain.commits).await;
            let straight = fresh_fold(&chain.surviving()).await;
            prop_assert_eq!(without_orphans(forked.digests()), without_orphans(straight.digests()));
            Ok(())
        })?;
    }

    #[test]
    fn a_read_as_of_any_position_equals_a_fresh_fold_up_to_it(seed: u64, steps in 1usize..40) {
        block_on(async {
            let chain = chains(seed, steps);
            let site = fresh_fold(&chain.commits).await;
            let mut random = StdRng::seed_from_u64(seed);
            for _ in 0..3 {
                let length = random.random_range(1..=chain.commits.len());
                let then = fresh_fold(&chain.commits[..length]).await;
                let at = Some(Position(length as u64));
                // Orphans are what all of the log left behind, not what it had left behind then.
                let as_of = site.store.digests_at(at).expect("digests");
                prop_assert_eq!(without_orphans(as_of), without_orphans(then.digests()));
            }
            Ok(())
        })?;
    }
}

#[test]
fn revert_and_append_again_is_the_identity() {
    block_on(async {
        for seed in 0..4 {
            let mut chain = RandomChain::new("eth", seed);
            (0..40).for_each(|_| chain.append());
            let site = fresh_fold(&chain.commits).await;
            let before = site.digests();
            let old = chain.commits.len();
            let depth = chain.leave_and_return();
            site.append(&chain.commits[old..old + 1]).await;
            site.fold(1 << 20).await;
            assert_ne!(
                site.digests(),
                before,
                "taking {depth} blocks back changes something"
            );
            site.append(&chain.commits[old + 1..]).await;
            site.fold(1 << 20).await;
            assert_eq!(site.digests(), before, "seed {seed}, depth {depth}");
        }
    });
}

#[test]
fn two_chains_in_one_log_do_not_touch_each_other() {
    block_on(async {
        let (mut left, mut right) = (RandomChain::new("left", 1), RandomChain::new("right", 2));
        let site = Site::new().await;
        for _ in 0..30 {
            let (l, r) = (left.commits.len(), right.commits.len());
            left.step();
            right.step();
            site.append(&left.commits[l..]).await;
            if right.commits.len() > r {
                site.append(&right.commits[r..]).await;
            }
        }
        site.fold(1 << 20).await;
        let report = verify(&site.log, &site.store, &|_, _| (), never())
            .await
            .expect("a verification");
        assert!(report.is_clean(), "{report:#?}");
        let one = fresh_fold(&[left.surviving(), right.surviving()].concat()).await;
        assert_eq!(
            without_orphans(site.digests()),
            without_orphans(one.digests())
        );
    });
}

#[test]
fn a_projection_of_an_older_version_is_rebuilt_beside_the_others_while_the_log_grows() {
    block_on(async {
        let mut chain = RandomChain::new("eth", 11);
        (0..60).for_each(|_| chain.step());
        let site = fresh_fold(&chain.commits).await;
        site.store
            .age_projection("addresses")
            .expect("an older version");
        assert_eq!(site.store.outdated(), ["addresses"]);
        let old = chain.commits.len();
        (0..30).for_each(|_| chain.step());
        let runner = site.run(300);
        let (_go_on, stop) = watch::channel(false);
        let rebuilding = runner.rebuild(site.store.outdated(), |_, _| (), stop);
        let (rebuilt, ()) = tokio::join!(rebuilding, async {
            for commit in &chain.commits[old..] {
                site.append(std::slice::from_ref(commit)).await;
            }
        });
        rebuilt.expect("a rebuild");
        let head = *site.log.head().borrow();
        let mut position = site.store.position();
        let patience = std::time::Duration::from_secs(20);
        assert!(cairn_engine::log::wait_for(&mut position, head, patience).await);
        runner.stop().await.expect("a fold without failure");
        assert!(site.store.outdated().is_empty());
        assert_eq!(site.digests(), fresh_fold(&chain.commits).await.digests());
    });
}

#[test]
fn a_rebuild_that_is_given_up_leaves_the_live_rows_and_goes_with_the_next_start() {
    block_on(async {
        let mut chain = RandomChain::new("eth", 17);
        (0..40).for_each(|_| chain.step());
        let site = fresh_fold(&chain.commits).await;
        let before = site.digests();
        let runner = site.run(300);
        let (_stopping, stop) = watch::channel(true);
        let given_up = runner.rebuild(Vec::new(), |_, _| (), stop).await;
        assert!(
            matches!(given_up, Err(RunnerError::Cancelled)),
            "{given_up:?}"
        );
        assert_eq!(site.digests(), before);
        runner.stop().await.expect("the fold goes on");
        let site = site.reopen().await;
        let entries = std::fs::read_dir(site.store.path()).expect("the store's directory");
        let left = entries.flatten().map(|entry| entry.file_name());
        let left: Vec<_> = left
            .filter(|name| name.to_string_lossy().starts_with("bulk-"))
            .collect();
        assert!(left.is_empty(), "{left:?}");
        assert_eq!(site.digests(), before);
        rebuild_offline(&site.log, &site.store, &[], &|_, _| ())
            .await
            .expect("a rebuild");
        assert_eq!(site.digests(), before);
    });
}

#[test]
fn verify_names_the_first_position_that_differs() {
    block_on(async {
        let mut chain = RandomChain::new("eth", 3);
        (0..10).for_each(|_| chain.append());
        let site = fresh_fold(&chain.commits).await;
        let stream = cairn_domain::Stream::chain("eth").expect("a name");
        let view = Arc::clone(&site.store).view(None).expect("a view");
        let height = view
            .ends(&stream)
            .expect("ends")
            .expect("a chain")
            .first
            .height
            + 3;
        let hash = view
            .canonical(&stream, height)
            .expect("a read")
            .expect("a block")
            .hash;
        let block = cairn_domain::BlockRef { height, hash };
        site.store.damage_block(&stream, block).expect("damage");
        let report = verify(&site.log, &site.store, &|_, _| (), never())
            .await
            .expect("a verification");
        assert!(!report.is_clean());
        assert_eq!(report.first_difference(), Some(Position(4)), "{report:#?}");
    });
}
