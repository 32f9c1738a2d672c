//! Rows of a dataset as a file, for the command line.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail, ensure};
use cairn_domain::events::ExportRequested;
use cairn_lake::{count, export as write, extension};
use serde_json::{Value, json};

use super::{Output, Unit, output::while_heard};
use crate::{node::Node, unfinished::Unfinished};

/// Writes the rows to a file that is not there yet; it appears whole.
pub(super) async fn export(
    node: &Node,
    mut request: ExportRequested,
    directory: &Path,
    output: &Output,
) -> anyhow::Result<Value> {
    let lake = node.lake();
    let lake = lake.context("this server has no lake: give it the role `lake`")?;
    request.chain = chain(node, request.chain)?;
    let path = directory.join(file_name(&request));
    ensure!(
        !path.exists(),
        "{} is there already: name another directory, or delete it",
        path.display()
    );
    let total = count(&lake.exports, &request).await?;
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{:08x}.unfinished", rand::random::<u32>()));
    let unfinished = Unfinished(PathBuf::from(unfinished));
    let (engine, output) = (Arc::clone(&lake.exports), output.clone());
    // Columns take all of a thread for a while, which must not be one that answers requests.
    let writing = lake.exports.threads().spawn(async move {
        let progress = |rows| output.progress("exporting", rows, Some(total), Unit::Rows);
        let written = write(&engine, &request, &unfinished.0, &progress);
        let made = while_heard(&output, async { Ok(written.await?) }).await?;
        // Nothing writes it any more when it goes.
        anyhow::Ok((made, unfinished))
    });
    let (made, unfinished) = writing.await??;
    // Unlike a renaming this replaces nothing.
    let named = std::fs::hard_link(&unfinished.0, &path);
    named.with_context(|| format!("cannot name the file {}", path.display()))?;
    Ok(json!({
        "path": path,
        "rows": made.rows,
        "bytes": made.bytes,
        "sha256": made.sha256,
        "positions": made.positions,
    }))
}

fn file_name(request: &ExportRequested) -> String {
    let ExportRequested {
        dataset, from, to, ..
    } = request;
    let chain = request.chain.replace(std::path::is_separator, "_");
    let extension = extension(request.format, request.compression);
    format!("{dataset}-{chain}-{from}-{to}.{extension}")
}

/// The chain of this name, or the only one where none is named.
fn chain(node: &Node, named: String) -> anyhow::Result<String> {
    let mut known = BTreeSet::new();
    for shard in &node.shards {
        for (stream, _) in shard.store()?.view(None)?.chains()? {
            known.extend(stream.chain_name().map(str::to_owned));
        }
    }
    let known: Vec<_> = known.into_iter().collect();
    let list = known.join(", ");
    match &known[..] {
        _ if known.contains(&named) => Ok(named),
        [] => bail!("no chain is indexed yet"),
        _ if !named.is_empty() => bail!("no chain `{named}`; there is: {list}"),
        [only] => Ok(only.clone()),
        _ => bail!("name a chain with --chain: one of {list}"),
    }
}
