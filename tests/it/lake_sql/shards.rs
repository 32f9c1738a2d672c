//! One engine over several shards, and over a store whose history goes while a query reads.

use std::{collections::BTreeMap, sync::Arc};

use cairn_domain::{
    BlockRef, Bytes, Hash, Position, Stream,
    commit::NewCommit,
    events::{
        BlockAppended, BlockFinalized, BlockReverted, EventType as _, TransactionIncluded,
        Visibility,
    },
};
use cairn_lake::{
    Follower, Lake, LakeShard,
    sql::{SqlCaller, SqlEngine, SqlError, SqlFormat},
};
use futures_util::StreamExt as _;

use super::{World, bytes, eth, open, options, shard};
use crate::{
    fold_properties::block_on,
    support::{Site, chain::RandomChain, fresh_fold, never},
};

/// A folded chain of which a part is final.
async fn folded(name: &str, seed: u64) -> (Site, RandomChain) {
    let mut chain = RandomChain::new(name, seed);
    (0..80).for_each(|_| chain.append());
    chain.finalize();
    chain.reorganise();
    (fresh_fold(&chain.commits).await, chain)
}

/// A row of a chain's figures is what the store has.
fn assert_is_chain(row: &serde_json::Value, name: &str, site: &Site) {
    let stream = Stream::chain(name).expect("a name");
    let view = site.store.view(None).expect("a view");
    let ends = view.ends(&stream).expect("a read").expect("a chain");
    let count = ends.head.height - ends.first.height + 1;
    let expected = serde_json::json!({
        "chain": name, "blocks": count, "hashes": count,
        "low": ends.first.height, "high": ends.head.height,
    });
    assert_eq!(*row, expected);
}

fn assert_has_files(lake: &Lake, streams: &[&str]) {
    let manifest = lake.manifest();
    for stream in streams {
        let mut files = manifest.files_of("blocks");
        assert!(files.any(|file| file.stream == *stream), "{stream}");
    }
}

#[test]
fn shards_are_one_table_as_of_a_position_of_each() {
    block_on(async {
        let (one, first) = folded("eth", 1).await;
        let (other, second) = folded("b", 2).await;
        let directory = tempfile::tempdir().expect("a directory");
        let lake = open(&directory).await;
        let shards = vec![
            shard(&one),
            LakeShard {
                name: "second".into(),
                ..shard(&other)
            },
        ];
        for shard in &shards {
            let follower = Follower::new(Arc::clone(&lake), shard.clone()).await;
            let head = *shard.log.head().borrow();
            let mut follower = follower.expect("a follower");
            let caught = follower.catch_up(head, &|_, _| (), &mut never()).await;
            caught.expect("the files");
        }
        let engine = SqlEngine::new(Arc::clone(&lake), shards, options(&directory));
        let engine = engine.expect("an engine");
        let sql = "SELECT chain, count(*) AS blocks, count(DISTINCT hash) AS hashes, min(height) AS low, max(height) AS high FROM blocks GROUP BY chain ORDER BY chain";
        let answered = bytes(&engine, sql, SqlFormat::Json).await.expect("rows");
        let answered: serde_json::Value = serde_json::from_slice(&answered).expect("JSON");
        assert_has_files(&lake, &["chain/b", "chain/eth"]);
        assert!(first.hot() > 0 && second.hot() > 0, "a part is in no file");
        let rows = answered["rows"].as_array().expect("rows");
        assert_eq!(rows.len(), 2);
        assert_is_chain(&rows[0], "b", &other);
        assert_is_chain(&rows[1], "eth", &one);
        let positions: BTreeMap<String, u64> =
            serde_json::from_value(answered["positions"].clone()).expect("positions");
        let head = |site: &Site| site.log.head().borrow().0;
        let expected = [("main", head(&one)), ("second", head(&other))];
        assert_eq!(
            positions,
            expected.map(|(name, at)| (name.to_owned(), at)).into()
        );
        // Rows of one chain come from its shard alone, in order, though there are two.
        let sql = "SELECT height FROM blocks WHERE chain = 'b' ORDER BY height LIMIT 3";
        let lines = bytes(&engine, sql, SqlFormat::Csv).await.expect("rows");
        assert_eq!(String::from_utf8_lossy(&lines), "height\n5\n6\n7\n");
    });
}

/// Blocks from a height on, each with a transaction so large that few of them are a batch.
fn large_blocks(parent: BlockRef, branch: u8, count: u64) -> Vec<(BlockRef, NewCommit)> {
    let mut blocks = Vec::new();
    let mut parent = parent;
    for height in parent.height + 1..=parent.height + count {
        let mut bytes = [branch; 32];
        bytes[..8].copy_from_slice(&height.to_be_bytes());
        let block = BlockRef {
            height,
            hash: Hash(bytes),
        };
        let appended = BlockAppended {
            block,
            parent: parent.hash,
            withdrawals: Vec::new(),
            transaction_count: 1,
            ..BlockAppended::example()
        };
        bytes[31] = !branch;
        let included = TransactionIncluded {
            hash: Hash(bytes),
            index: 0,
            input: Bytes(vec![branch; 1 << 20]),
            ..TransactionIncluded::example()
        };
        let events = [appended.into(), included.into()];
        blocks.push((block, NewCommit::new(&eth(), height, &events)));
        parent = block;
    }
    blocks
}

fn commits(blocks: &[(BlockRef, NewCommit)]) -> Vec<NewCommit> {
    blocks.iter().map(|(_, commit)| commit.clone()).collect()
}

#[test]
fn history_that_goes_while_a_query_reads_is_an_error_and_never_another_branch() {
    block_on(async {
        let mut world = World::new().await;
        let start = BlockRef {
            height: 0,
            hash: Hash([9; 32]),
        };
        let old = large_blocks(start, 1, 48);
        world.take(&commits(&old)).await;
        let finalized = BlockFinalized { block: old[0].0 };
        world
            .take(&[NewCommit::new(&eth(), 49, &[finalized.into()])])
            .await;
        let caller = SqlCaller::new(Visibility::Public);
        let sql = "SELECT block_height, input FROM transactions";
        let mut answer = world.engine.query(sql, &caller).await.expect("an answer");
        let first = answer.next().await.expect("rows").expect("a batch");
        assert!(first.num_rows() < 12, "{} rows", first.num_rows());
        // All but the first block are taken back, and what was before can be read no more.
        let reverts: Vec<_> = old[1..]
            .iter()
            .rev()
            .map(|(block, _)| BlockReverted { block: *block }.into())
            .collect();
        world.take(&[NewCommit::new(&eth(), 50, &reverts)]).await;
        world.take(&commits(&large_blocks(old[0].0, 2, 48))).await;
        let head = *world.site.log.head().borrow();
        world.site.store.trim(head).expect("a trim");
        world.site.store.flush().expect("old versions go");
        let (mut rows, mut end) = (first.num_rows(), None);
        while let Some(batch) = answer.next().await {
            match batch {
                Ok(batch) => {
                    let inputs = batch.column_by_name("input").expect("a column");
                    let inputs: &arrow::array::BinaryArray =
                        arrow::array::AsArray::as_binary(inputs);
                    assert!(inputs.iter().flatten().all(|input| input[0] == 1));
                    rows += batch.num_rows();
                }
                Err(error) => end = Some(error),
            }
        }
        assert!(
            matches!(end, Some(SqlError::Moved)) && rows < 48,
            "{rows} rows, then {end:?}"
        );
        let now = world.ask("SELECT count(*) FROM transactions").await;
        assert_eq!(now.number(), 49);
        assert!(now.position > Position(50));
    });
}
