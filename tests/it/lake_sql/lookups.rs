//! What is looked for by hash, account or height: found in the blocks that the store's indexes name, and the
//! same as a search through all files gives.

use serde_json::Value;

use super::World;
use crate::{fold_properties::block_on, support::chain::RandomChain};

/// Final blocks in files, and some behind them, of two branches.
async fn world() -> World {
    let mut chain = RandomChain::new("eth", 5);
    (0..150).for_each(|_| chain.append());
    while chain.hot() > 0 {
        chain.finalize();
    }
    chain.cut();
    (0..12).for_each(|_| chain.append());
    chain.reorganise();
    (0..3).for_each(|_| chain.append());
    let mut world = World::new().await;
    world.take(&chain.commits).await;
    world
}

/// The rows of a filter, and how they are found.
async fn rows(world: &World, dataset: &str, filter: &str) -> (Vec<Value>, String) {
    let order = if dataset == "blocks" {
        "height"
    } else {
        "block_height, transaction_index"
    };
    let sql = format!("SELECT * FROM {dataset} WHERE {filter} ORDER BY {order}");
    let plan = world.ask(&format!("EXPLAIN {sql}")).await.rows;
    let plan = serde_json::to_string(&plan).expect("JSON");
    (world.ask(&sql).await.rows, plan)
}

/// The same question, in words for which there is no index.
fn without_index(lookup: &str) -> String {
    let words = lookup.split(' ').map(|word| match word {
        "height" => "height + 0".to_owned(),
        column if column.ends_with("hash") || column.ends_with("address") => {
            format!("concat({column}, '')")
        }
        other => other.to_owned(),
    });
    words.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_lookup_reads_no_file_and_finds_what_a_search_finds() {
    block_on(async {
        let world = world().await;
        let some = "SELECT * FROM transactions ORDER BY block_height, transaction_index";
        let all = world.ask(some).await.rows;
        let (early, late) = (&all[all.len() / 5], &all[all.len() - 1]);
        for row in [early, late] {
            let text = |name: &str| row[name].as_str().expect("a text").to_owned();
            let (hash, from, block) = (text("hash"), text("from_address"), text("block_hash"));
            let height = &row["block_height"];
            let lookups = [
                ("transactions", format!("hash = '{hash}'")),
                ("transactions", format!("hash IN ('{hash}', '{block}')")),
                (
                    "transactions",
                    format!("from_address = '{from}' OR to_address = '{from}'"),
                ),
                (
                    "transactions",
                    format!("from_address = '{from}' AND hash <> '{hash}' AND NOT final"),
                ),
                ("blocks", format!("hash = '{block}'")),
                ("blocks", format!("height = {height}")),
                ("logs", format!("transaction_hash = '{hash}'")),
                ("logs", format!("block_hash = '{block}'")),
            ];
            for (dataset, lookup) in lookups {
                let search = without_index(&lookup);
                let (found, plan) = rows(&world, dataset, &lookup).await;
                assert!(!plan.contains(".parquet"), "{lookup}: {plan}");
                let (searched, plan) = rows(&world, dataset, &search).await;
                // What is not final is in no file.
                assert!(
                    plan.contains(".parquet") || search.contains("final"),
                    "{search}: {plan}"
                );
                assert_eq!(found, searched, "{dataset} {lookup}");
            }
        }
    });
}

#[test]
fn a_lookup_of_what_is_not_there_finds_nothing() {
    block_on(async {
        let world = world().await;
        let nowhere = format!("0x{}", "ab".repeat(32));
        for filter in [
            format!("hash = '{nowhere}'"),
            "block_height = -1".into(),
            "block_height = 1000000".into(),
        ] {
            let (found, plan) = rows(&world, "transactions", &filter).await;
            assert!(
                found.is_empty() && !plan.contains(".parquet"),
                "{filter}: {plan}"
            );
        }
    });
}
