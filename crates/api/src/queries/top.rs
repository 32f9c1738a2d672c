//! The busiest accounts and tokens of a chain, as a query over its rows.

use super::history::choose;
use crate::{error::ApiError, scope::Scope};

/// How many there are at least and at most, and how many without `?limit=`.
const LIMITS: std::ops::RangeInclusive<u64> = 1..=100;
const LIMIT: u64 = 10;

/// Seconds before the newest block at which a window begins whose start is not given.
const WINDOW: u64 = 30 * 86_400;

/// Of whom there is a list: what is counted of whom, and by what they can be in order; the first by default.
#[derive(Clone, Copy)]
struct Top {
    rows: &'static str,
    whom: &'static str,
    figures: &'static [(&'static str, &'static str)],
}

const TOPS: [(&str, Top); 3] = [
    (
        "senders",
        Top {
            rows: "transactions",
            whom: "from_address",
            figures: &[
                ("transactions", "count(*)"),
                ("amount", "sum(amount)"),
                ("fees", "sum(fee)"),
                ("gas_used", "sum(gas_used)"),
            ],
        },
    ),
    (
        "recipients",
        Top {
            rows: "transactions",
            whom: "to_address",
            figures: &[
                ("transactions", "count(*)"),
                ("amount", "sum(amount)"),
                ("senders", "count(DISTINCT from_address)"),
            ],
        },
    ),
    (
        "tokens",
        Top {
            rows: "token_transfers",
            whom: "token_address",
            figures: &[
                ("transfers", "count(*)"),
                ("senders", "count(DISTINCT from_address)"),
                ("recipients", "count(DISTINCT to_address)"),
            ],
        },
    ),
];

/// The query that answers what is asked for.
pub(crate) fn query(scope: &Scope) -> Result<String, ApiError> {
    let params = &scope.params;
    let (_, top) = choose(params, "of", &TOPS)?;
    let by = match params.text("by") {
        None => top.figures[0].0,
        Some(_) => choose(params, "by", top.figures)?.0,
    };
    let limit = params.number("limit")?.unwrap_or(LIMIT);
    if !LIMITS.contains(&limit) {
        let (least, most) = LIMITS.into_inner();
        let reason = format!("expected a number from {least} to {most}");
        return Err(ApiError::parameter("limit", reason));
    }
    let (start, end) = window(scope)?;
    let chain = scope
        .stream
        .chain_name()
        .unwrap_or_default()
        .replace('\'', "''");
    let figures: Vec<_> = top
        .figures
        .iter()
        .map(|(name, figure)| format!("{figure} AS {name}"))
        .collect();
    let Top { rows, whom, .. } = top;
    Ok(format!(
        "SELECT {whom} AS address, {} FROM {rows} WHERE chain = '{chain}' AND {whom} IS NOT NULL \
         AND timestamp >= to_timestamp_micros({start}) AND timestamp < to_timestamp_micros({end}) \
         GROUP BY {whom} ORDER BY {by} DESC NULLS LAST, address LIMIT {limit}",
        figures.join(", ")
    ))
}

/// From when, and until when, in microseconds since 1970.
fn window(scope: &Scope) -> Result<(i64, i64), ApiError> {
    let newest = scope.head().map(|head| scope.canonical(head.height));
    let newest = newest.transpose()?.flatten();
    let newest = newest.map_or(0, |block| block.timestamp);
    let behind_newest = newest.saturating_add(1);
    let end = scope.params.time("end")?.unwrap_or(behind_newest);
    let start = scope.params.time("start")?;
    let start = start.unwrap_or(end.saturating_sub(WINDOW));
    if start >= end {
        return Err(ApiError::parameter("end", "it must be later than `start`"));
    }
    Ok((micros(start), micros(end)))
}

/// Texts would be read as nanoseconds, which end in 2262.
fn micros(seconds: u64) -> i64 {
    i64::try_from(seconds).map_or(i64::MAX, |seconds| seconds.saturating_mul(1_000_000))
}
