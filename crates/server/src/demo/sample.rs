//! Loads the recorded blocks of `samples/`.

use std::fs;

use anyhow::Context as _;
use serde_json::Value;

use super::{Repository, SAMPLE};
use crate::{
    config::Config,
    operations::{
        Inputs, Operation, Request,
        inputs::{open_blocks, open_file},
    },
    render::render,
    transport,
};

/// Appends the sample with a progress bar, unless an earlier run did: none then.
pub(crate) async fn load_sample(
    repository: &Repository,
    config: &Config,
) -> anyhow::Result<Option<Value>> {
    let loaded = config.data.dir.join("sample-loaded");
    if loaded.exists() {
        return Ok(None);
    }
    let (_, size, blocks) = open_blocks(&repository.path("samples/blocks.jsonl.zst"))?;
    let (_, receipts) = open_file(&repository.path("samples/receipts.jsonl.zst"))?;
    let inputs = Inputs {
        blocks: Some(blocks),
        receipts: Some(Box::new(receipts)),
    };
    let request = Request::Ingest {
        chain: SAMPLE.into(),
        is_final: true,
        name: "samples/blocks.jsonl.zst".into(),
        size,
    };
    let operation = Operation {
        shard: None,
        request,
    };
    let result = render(transport::start(config, operation, inputs).await?).await?;
    fs::write(&loaded, "").with_context(|| format!("cannot write {}", loaded.display()))?;
    Ok(Some(result))
}
