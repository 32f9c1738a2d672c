//! History that is trimmed while the chain forks and projections are rebuilt.

use std::{sync::Arc, time::Duration};

use cairn_domain::{Position, commit::NewCommit};
use cairn_engine::{
    runner::{History, rebuild_offline, verify},
    store::StoreError,
};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::{
    fold_properties::{block_on, chains},
    support::{Site, SiteOptions, chain::RandomChain, fresh_fold, never, rounds, without_orphans},
};

/// Folds a chain with a history of a span, in pieces, with flushes, restarts and rebuilds between.
async fn trimmed(chain: &RandomChain, span: Duration, random: &mut StdRng) -> Site {
    let options = SiteOptions {
        history: History::Span(span),
        ..SiteOptions::default()
    };
    let mut site = Site::with(options).await;
    let mut rest = &chain.commits[..];
    while !rest.is_empty() {
        let (now, mut later) = rest.split_at(random.random_range(1..=rest.len().min(15)));
        site.append(now).await;
        site.fold(random.random_range(1..4000)).await;
        // Versions are only forgotten when they go to files.
        if random.random_bool(0.6) {
            site.store.flush().expect("a flush");
        }
        match random.random_range(0..6) {
            0 => site = site.reopen().await,
            1 => {
                let rebuilt = rebuild_offline(&site.log, &site.store, &[], &|_, _| ()).await;
                rebuilt.expect("a rebuild");
            }
            2 => {
                let (meanwhile, behind) = later.split_at(later.len().min(10));
                rebuild_while_the_log_grows(&site, meanwhile).await;
                later = behind;
            }
            _ => {}
        }
        rest = later;
    }
    site
}

async fn rebuild_while_the_log_grows(site: &Site, meanwhile: &[NewCommit]) {
    let runner = site.run(1000);
    let names = vec!["addresses".into()];
    let (rebuilt, ()) = tokio::join!(runner.rebuild(names, |_, _| (), never()), async {
        for commit in meanwhile {
            site.append(std::slice::from_ref(commit)).await;
        }
    });
    rebuilt.expect("a rebuild");
    runner.stop().await.expect("a fold without failure");
    site.fold(1000).await;
}

/// Reads as of every position of some: those that are kept equal a fresh fold, the others are
/// refused.
fn assert_reads(site: &Site, fresh: &Site, random: &mut StdRng) {
    let oldest = site.store.oldest();
    let head = fresh.log.head().borrow().0;
    for _ in 0..8 {
        let at = Position(random.random_range(1..=head));
        let view = site.store.view(Some(at));
        if at < oldest {
            let refusal = view.err().expect("a refusal");
            let expected =
                format!("position {at} is beyond the kept history; the oldest is {oldest}");
            assert_eq!(refusal.to_string(), expected);
            assert!(matches!(refusal, StoreError::Trimmed { .. }), "{refusal:?}");
            continue;
        }
        assert_eq!(view.expect("a view").position(), at);
        let as_of = |site: &Site| {
            let digests = site.store.digests_at(Some(at));
            without_orphans(digests.expect("digests"))
        };
        assert_eq!(
            as_of(site),
            as_of(fresh),
            "as of {at}, the oldest is {oldest}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: rounds(80) as u32, ..ProptestConfig::default() })]

    #[test]
    fn trimmed_history_with_reverts_and_rebuilds_equals_a_fresh_fold_and_older_reads_are_refused(
        seed: u64, steps in 1usize..80, span in 0u64..200_000,
    ) {
        block_on(async {
            let chain = chains(seed, steps);
            let mut random = StdRng::seed_from_u64(seed);
            let site = trimmed(&chain, Duration::from_secs(span), &mut random).await;
            let fresh = fresh_fold(&chain.commits).await;
            prop_assert_eq!(site.digests(), fresh.digests());
            assert_reads(&site, &fresh, &mut random);
            let report = verify(&site.log, &site.store, &|_, _| (), never()).await.expect("a verification");
            prop_assert!(report.is_clean(), "{report:#?}");
            Ok(())
        })?;
    }
}

#[test]
fn history_is_trimmed_up_to_the_span_but_never_what_a_revert_may_need() {
    block_on(async {
        let mut chain = RandomChain::new("eth", 5);
        (0..60).for_each(|_| chain.append());
        let hot = chain.hot();
        let options = SiteOptions {
            history: History::Span(Duration::ZERO),
            ..SiteOptions::default()
        };
        let mut site = Site::with(options).await;
        site.append(&chain.commits).await;
        site.fold(1000).await;
        let oldest = site.store.oldest();
        let needed = Position((chain.commits.len() - hot) as u64);
        assert_eq!(oldest, needed, "all but what a revert may need is trimmed");
        site.store.flush().expect("a flush");
        site = site.reopen().await;
        assert_eq!(site.store.oldest(), oldest, "it holds behind a restart");
        let old = chain.commits.len();
        assert_eq!(chain.leave_and_return(), hot);
        site.append(&chain.commits[old..]).await;
        site.fold(1 << 20).await;
        assert_eq!(site.digests(), fresh_fold(&chain.commits).await.digests());
        rebuild_offline(&site.log, &site.store, &[], &|_, _| ())
            .await
            .expect("a rebuild");
        let refusal = Arc::clone(&site.store).view(Some(Position(1))).err();
        assert!(
            matches!(refusal, Some(StoreError::Trimmed { .. })),
            "{refusal:?}"
        );
    });
}
