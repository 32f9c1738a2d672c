//! A query over the datasets.

use anyhow::Context as _;
use cairn_domain::events::Visibility;
use cairn_lake::sql::{SqlCaller, SqlFormat};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::Output;
use crate::node::Node;

/// A query, and how it is to be answered.
pub(super) struct Query {
    /// The statement.
    pub(super) sql: String,
    /// The form of the text.
    pub(super) format: String,
    /// Cuts the answer behind so many rows.
    pub(super) limit: Option<usize>,
}

/// Says the names of the columns, then the answer as pieces of text.
pub(super) async fn query(node: &Node, query: Query, output: &Output) -> anyhow::Result<Value> {
    let lake = node.lake();
    let lake = lake.context("this server has no lake: give it the role `lake`")?;
    let known = SqlFormat::ALL.into_iter();
    let format = known
        .filter(|format| format.is_text())
        .find(|format| format.name() == query.format)
        .context("expected json, ndjson or csv")?;
    let mut caller = SqlCaller::new(Visibility::Operator);
    caller.limit = query.limit;
    let answer = lake.sql.query(&query.sql, &caller).await?;
    let positions = json!(answer.positions);
    let columns: Vec<_> = answer.columns().collect();
    output.line(json!({ "columns": columns })).await?;
    let mut pieces = Box::pin(lake.sql.encoded(answer, format));
    while let Some(piece) = pieces.next().await {
        let text = String::from_utf8(piece?.to_vec()).context("the answer is no text")?;
        output.line(Value::String(text)).await?;
    }
    Ok(json!({ "positions": positions }))
}
