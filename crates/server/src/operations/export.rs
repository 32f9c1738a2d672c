//! Rows of a dataset as a file, for the command line.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use cairn_domain::events::{ExportRequested, Visibility};
use cairn_lake::{counted, export as write, queries, sql::SqlCaller};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::{Output, Unit};
use crate::node::Node;

/// Writes the rows to a file that is not there yet; it appears whole.
pub(super) async fn export(
    node: &Node,
    request: &ExportRequested,
    path: &Path,
    output: &Output,
) -> anyhow::Result<Value> {
    let lake = node.lake();
    let lake = lake.context("this server has no lake: give it the role `lake`")?;
    ensure!(
        !path.exists(),
        "{} is there already: name another directory, or delete it",
        path.display()
    );
    let (_, count) = queries(request)?;
    let mut rows = lake
        .exports
        .query(&count, &SqlCaller::new(Visibility::Operator))
        .await?;
    let rows = rows.next().await.context("a count has a row")??;
    let total = counted(&rows);
    let progress = |rows| output.progress("exporting", rows, Some(total), Unit::Rows);
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(format!(".{:08x}.unfinished", rand::random::<u32>()));
    let unfinished = PathBuf::from(unfinished);
    let made = write(&lake.exports, request, &unfinished, &progress).await;
    let made = match made {
        Ok(made) => made,
        Err(error) => {
            // What there is of it is of no use.
            let _gone = std::fs::remove_file(&unfinished);
            return Err(error.into());
        }
    };
    // Unlike a renaming this replaces nothing.
    let named = std::fs::hard_link(&unfinished, path);
    let _gone = std::fs::remove_file(&unfinished);
    named.with_context(|| format!("cannot name the file {}", path.display()))?;
    Ok(json!({
        "path": path,
        "rows": made.rows,
        "bytes": made.bytes,
        "sha256": made.sha256,
        "positions": made.positions,
    }))
}
