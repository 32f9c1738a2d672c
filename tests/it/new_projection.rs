//! A projection that was added after others have folded.

use std::sync::Arc;

use cairn_domain::{
    Address, BlockRef, Hash, Position, Stream,
    period::Period,
    projections::{
        ALL,
        activity::{Activity, ActivityKey},
        addresses::{AccountKey, Accounts},
        blocks::{CanonicalBlocks, CanonicalKey},
        exports::{self, ExportKey, Exports},
        partners::{self, PartnerId, Partners},
        tokens::{TokenContracts, TokenKey},
        transactions::{TransactionKey, TransactionsByBlock},
    },
};
use cairn_engine::{
    runner::{rebuild_offline, verify},
    store::{StoreError, TableDigest},
};

use crate::{
    fold_properties::{block_on, chains},
    support::{Site, fresh_fold, never},
};

/// Reads a table of a projection.
fn read(site: &Site, projection: &str) -> Result<(), StoreError> {
    let stream = Stream::chain("eth").expect("a name");
    let view = Arc::clone(&site.store).view(None)?;
    let (contract, address) = (Address::ZERO, Address::ZERO);
    let block = BlockRef {
        height: 5,
        hash: Hash([0; 32]),
    };
    let height = CanonicalKey { height: 5 };
    match projection {
        "blocks" => view.get::<CanonicalBlocks>(&stream, &height).map(|_| ()),
        "transactions" => {
            let key = TransactionKey { block, index: 0 };
            view.find_any::<TransactionsByBlock>(&stream, &key)
                .map(|_| ())
        }
        "addresses" => view
            .get::<Accounts>(&stream, &AccountKey { address })
            .map(|_| ()),
        "tokens" => view
            .get::<TokenContracts>(&stream, &TokenKey { contract })
            .map(|_| ()),
        "activity" => {
            let (period, start) = (Period::Day, 0);
            let key = ActivityKey { period, start };
            view.get::<Activity>(&stream, &key).map(|_| ())
        }
        "exports" => {
            let key = ExportKey { id: "none".into() };
            view.get::<Exports>(&exports::stream(), &key).map(|_| ())
        }
        "partners" => {
            let key = PartnerId { id: "none".into() };
            view.get::<Partners>(&partners::stream(), &key).map(|_| ())
        }
        other => panic!("say how to read {other}"),
    }
}

/// A site that folded a chain when there was no such projection, and opened it when there was.
async fn opened_with_a_new(projection: &'static str, site: Site) -> Site {
    site.store
        .forget_projection(projection)
        .expect("nothing is left of it");
    let site = site.reopen().await;
    assert_eq!(site.store.outdated(), [projection]);
    site
}

/// The digests of the tables of all projections but one.
fn others(digests: Vec<TableDigest>, but: &str) -> Vec<TableDigest> {
    let projection = ALL.iter().find(|p| p.name() == but).expect("a projection");
    let own = |digest: &TableDigest| projection.tables().iter().any(|t| t.name == digest.table);
    digests.into_iter().filter(|digest| !own(digest)).collect()
}

#[test]
fn a_new_projection_waits_for_a_rebuild_and_is_refused_while_the_others_serve_and_fold_on() {
    block_on(async {
        for (seed, projection) in (20..).zip(ALL) {
            let (name, chain) = (projection.name(), chains(seed, 60));
            let (before, behind) = chain.commits.split_at(chain.commits.len() / 2);
            let site = opened_with_a_new(name, fresh_fold(before).await).await;
            let position = *site.store.position().borrow();
            assert_eq!(
                position,
                Position(before.len() as u64),
                "the others are where they were"
            );
            site.append(behind).await;
            site.fold(700).await;
            let refusal = read(&site, name).expect_err("a refusal").to_string();
            for part in [
                &format!("projection {name} cannot be read")[..],
                "waits for a rebuild",
                &format!("cairn replay --projection {name}"),
            ] {
                assert!(refusal.contains(part), "{refusal}");
            }
            for other in ALL.iter().filter(|other| other.name() != name) {
                read(&site, other.name()).expect("the others serve");
            }
            let fresh = fresh_fold(&chain.commits).await.digests();
            // Which rows count as canonical is what the projection of blocks says.
            if name != "blocks" {
                assert_eq!(site.digests(), others(fresh, name), "without {name}");
            }
            let report = verify(&site.log, &site.store, &|_, _| (), never())
                .await
                .expect("a verification");
            assert_eq!(
                report.skipped.keys().collect::<Vec<_>>(),
                [name],
                "{report:#?}"
            );
            assert!(
                !report.is_clean(),
                "a verification does not pass over what it cannot see"
            );
        }
    });
}

#[test]
fn a_projection_that_an_older_version_dropped_waits_for_a_rebuild_like_a_new_one() {
    block_on(async {
        for (seed, projection) in (60..).zip(ALL) {
            let (name, chain) = (projection.name(), chains(seed, 40));
            let site = fresh_fold(&chain.commits).await;
            let before = site.digests();
            if seed % 2 == 0 {
                replay(&site, name, false).await;
            }
            site.store
                .drop_projection(name)
                .expect("its tables are gone");
            let site = site.reopen().await;
            assert_eq!(site.store.outdated(), [name]);
            let refusal = read(&site, name).expect_err("a refusal").to_string();
            assert!(refusal.contains("waits for a rebuild"), "{refusal}");
            replay(&site, name, true).await;
            assert_eq!(site.digests(), before, "{name}");
            assert_eq!(site.reopen().await.digests(), before, "{name}");
        }
    });
}

#[test]
fn a_projection_that_was_dropped_from_an_empty_store_is_made_anew() {
    block_on(async {
        for (seed, projection) in (70..).zip(ALL) {
            let (name, chain) = (projection.name(), chains(seed, 30));
            let site = Site::new().await;
            site.store
                .drop_projection(name)
                .expect("its tables are gone");
            let site = site.reopen().await;
            assert!(site.store.outdated().is_empty(), "{name}");
            site.append(&chain.commits).await;
            site.fold(700).await;
            let fresh = fresh_fold(&chain.commits).await;
            assert_eq!(site.digests(), fresh.digests(), "{name}");
        }
    });
}

async fn replay(site: &Site, name: &str, beside_a_runner: bool) {
    let names = vec![name.to_owned()];
    if beside_a_runner {
        let runner = site.run(700);
        runner
            .rebuild(names, |_, _| (), never())
            .await
            .expect("a rebuild");
        runner.stop().await.expect("a fold without failure");
    } else {
        let rebuilt = rebuild_offline(&site.log, &site.store, &names, &|_, _| ()).await;
        rebuilt.expect("a rebuild");
    }
}

#[test]
fn a_new_projection_equals_a_fresh_fold_once_it_is_replayed_and_goes_on_through_reverts() {
    block_on(async {
        for (seed, projection) in (40..).zip(ALL) {
            let (name, mut chain) = (projection.name(), chains(seed, 50));
            let fresh = fresh_fold(&chain.commits).await;
            let before = fresh.digests();
            let site = opened_with_a_new(name, fresh).await;
            replay(&site, name, seed % 2 == 0).await;
            assert!(site.store.outdated().is_empty());
            read(&site, name).expect("it serves");
            assert_eq!(site.digests(), before, "{name}");
            let site = site.reopen().await;
            let old = chain.commits.len();
            (0..20).for_each(|_| chain.append());
            chain.leave_and_return();
            (0..20).for_each(|_| chain.step());
            site.append(&chain.commits[old..]).await;
            site.fold(700).await;
            let fresh = fresh_fold(&chain.commits).await;
            assert_eq!(site.digests(), fresh.digests(), "{name}");
        }
    });
}
