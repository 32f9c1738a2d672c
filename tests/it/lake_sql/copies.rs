//! Exports to Parquet, most of which are copied out of files: the same rows as a query gives, in order.

use std::{fs::File, path::Path, sync::Arc};

use arrow::{
    compute::concat_batches,
    datatypes::{Field, Schema},
    record_batch::RecordBatch,
};
use cairn_domain::events::{
    EventType as _, ExportCompression, ExportFormat, ExportRequested, Visibility,
};
use cairn_lake::{export, queries, sql::SqlCaller};
use futures_util::TryStreamExt as _;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::World;
use crate::{fold_properties::block_on, support::chain::RandomChain};

/// A chain whose first 100 blocks are final and partly in files, and 20 of which are not.
fn chain() -> RandomChain {
    let mut chain = RandomChain::new("eth", 5);
    for _ in 0..100 {
        chain.append();
    }
    while chain.hot() > 0 {
        chain.finalize();
    }
    chain.cut();
    (0..20).for_each(|_| chain.append());
    chain.finalize();
    chain
}

fn request(dataset: &str, (from, to): (u64, u64), final_only: bool) -> ExportRequested {
    ExportRequested {
        dataset: dataset.into(),
        chain: "eth".into(),
        from,
        to,
        address: None,
        final_only,
        format: ExportFormat::Parquet,
        compression: ExportCompression::None,
        ..ExportRequested::example()
    }
}

/// Rows as one batch, of columns that have a name and a type and nothing else; none where there are no rows.
fn whole(batches: &[RecordBatch]) -> Option<RecordBatch> {
    let all = concat_batches(&batches.first()?.schema(), batches).expect("the same columns");
    let plain = |field: &Arc<Field>| Field::new(field.name(), field.data_type().clone(), true);
    let fields: Vec<_> = all.schema().fields().iter().map(plain).collect();
    let all = RecordBatch::try_new(Arc::new(Schema::new(fields)), all.columns().to_vec());
    all.ok().filter(|all| all.num_rows() > 0)
}

fn read(path: &Path) -> Vec<RecordBatch> {
    let file = File::open(path).expect("a file");
    let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("a footer");
    let batches = reader.with_batch_size(1 << 20).build().expect("a reader");
    batches.collect::<Result<_, _>>().expect("rows")
}

#[test]
fn a_parquet_export_has_the_rows_that_a_query_gives_wherever_its_range_ends() {
    block_on(async {
        let mut world = World::new().await;
        world.take(&chain().commits).await;
        let caller = SqlCaller::new(Visibility::Public);
        let ranges = [
            (0, u64::MAX),
            (0, 4),
            (7, 7),
            (10, 19),
            (12, 37),
            (20, 200),
            (90, 118),
            (115, 300),
        ];
        let path = world.directory.path().join("export.parquet");
        for dataset in [
            "blocks",
            "transactions",
            "logs",
            "token_transfers",
            "withdrawals",
        ] {
            for (range, final_only) in ranges.map(|range| [(range, false), (range, true)]).concat()
            {
                let request = request(dataset, range, final_only);
                let (query, _) = queries(&request).expect("a query");
                let answer = world
                    .engine
                    .query(&query, &caller)
                    .await
                    .expect("an answer");
                let expected: Vec<_> = answer.try_collect().await.expect("rows");
                let made = export(&world.engine, &request, &path, &|_| ())
                    .await
                    .expect("an export");
                let copied = read(&path);
                let rows: usize = copied.iter().map(RecordBatch::num_rows).sum();
                assert_eq!(made.rows, rows as u64, "{dataset} {range:?}");
                assert_eq!(
                    whole(&copied),
                    whole(&expected),
                    "{dataset} {range:?} {final_only}"
                );
            }
        }
    });
}
