//! How each column family is laid out on disk and in memory.

use cairn_domain::{
    projections::ALL,
    table::{TableDef, TableKind},
};
use rocksdb::{BlockBasedIndexType, BlockBasedOptions, Cache, Options, SliceTransform};

use super::StoreError;

pub(super) fn plain_options(cache: &Cache) -> Options {
    tuned(Options::default(), cache)
}

fn tuned(mut options: Options, cache: &Cache) -> Options {
    options.set_compression_type(rocksdb::DBCompressionType::Lz4);
    options.set_level_compaction_dynamic_level_bytes(true);
    let mut blocks = BlockBasedOptions::default();
    blocks.set_block_cache(cache);
    blocks.set_block_size(8 << 10);
    blocks.set_format_version(6);
    blocks.set_cache_index_and_filter_blocks(true);
    blocks.set_pin_l0_filter_and_index_blocks_in_cache(true);
    // In parts of a few KiB: whole filters of large files would not fit the shards of the cache, and
    // every read would load a megabyte.
    blocks.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    blocks.set_partition_filters(true);
    blocks.set_metadata_block_size(4 << 10);
    blocks.set_pin_top_level_index_and_filter(true);
    blocks.set_bloom_filter(10.0, false);
    options.set_block_based_table_factory(&blocks);
    options
}

/// Options of a table's column family.
pub(super) fn table_options(table: &TableDef, cache: &Cache) -> Result<Options, StoreError> {
    let versioned = matches!(table.kind, TableKind::Versioned);
    let mut options = tuned(base_options(versioned)?, cache);
    if let Some(prefix) = table.prefix {
        options.set_prefix_extractor(SliceTransform::create("cairn.first-field", prefix, None));
        options.set_memtable_prefix_bloom_ratio(0.05);
    }
    Ok(options)
}

fn base_options(versioned: bool) -> Result<Options, StoreError> {
    match versioned {
        // RocksDB's own comparator for 8-byte timestamps, which rust-rocksdb names only this way.
        true => Ok(Options::default()
            .get_options_from_string("comparator=leveldb.BytewiseComparator.u64ts")?),
        false => Ok(Options::default()),
    }
}

/// Options of an existing column family, by its name.
pub(super) fn options_of(family: &str, cache: &Cache) -> Result<Options, StoreError> {
    let name = family.split('#').next().unwrap_or_default();
    let versioned = family.ends_with("/versioned");
    let known = ALL.iter().flat_map(|p| p.tables()).find(|table| {
        table.name == name && matches!(table.kind, TableKind::Versioned) == versioned
    });
    match known {
        Some(table) => table_options(table, cache),
        None => Ok(tuned(base_options(versioned)?, cache)),
    }
}
