//! Figures over time, from the buckets that are folded along: exact, and as cheap for a year as for a day.

use std::{collections::BTreeMap, ops::ControlFlow};

use cairn_domain::{
    period::Period,
    primitives::Balance,
    projections::{
        activity::{Activity, ActivityKey, ActivityRow},
        addresses::{AddressActivity, AddressActivityKey, AddressActivityRow},
    },
};

use crate::{
    error::ApiError,
    models::{Figure, History, Time},
    params::Params,
    scope::Scope,
};

/// The most buckets of an answer.
const MOST_BUCKETS: usize = 1000;
/// Buckets of an answer whose start is not given.
const BUCKETS: usize = 30;

const PERIODS: [(&str, Period); 4] = [
    ("1h", Period::Hour),
    ("1d", Period::Day),
    ("1w", Period::Week),
    ("1m", Period::Month),
];

/// What happened in a bucket.
#[derive(Debug, Default)]
struct Bucket {
    activity: ActivityRow,
    addresses: AddressActivityRow,
}

type Metric = (&'static str, fn(&Bucket) -> Figure);

/// Every figure, by its name.
const METRICS: &[Metric] = &[
    ("block_count", |bucket| {
        Figure::Count(bucket.activity.blocks)
    }),
    ("transaction_count", |bucket| {
        Figure::Count(bucket.activity.transactions)
    }),
    ("failed_transaction_count", |bucket| {
        Figure::Count(bucket.activity.failed_transactions)
    }),
    ("active_addresses", |bucket| {
        Figure::Count(bucket.addresses.active)
    }),
    ("new_addresses", |bucket| {
        Figure::Count(bucket.addresses.new)
    }),
    ("token_transfers", |bucket| {
        Figure::Count(bucket.activity.token_transfers)
    }),
    ("gas_used", |bucket| {
        Figure::Amount(bucket.activity.gas_used.to_string())
    }),
    ("fees", |bucket| {
        Figure::Amount(bucket.activity.fees.to_string())
    }),
    ("gas_price", |bucket| {
        let mean = bucket
            .activity
            .gas_prices
            .divided_by(bucket.activity.transactions);
        mean.map_or(Figure::None, |mean: Balance| {
            Figure::Amount(mean.to_string())
        })
    }),
    ("average_block_time", |bucket| block_time(&bucket.activity)),
    // No bid is indexed yet.
    ("marketplace_volume", |_| Figure::Amount("0".into())),
];

/// Mean of the intervals between the blocks of a bucket, in seconds to three digits.
fn block_time(activity: &ActivityRow) -> Figure {
    match (activity.first, activity.timed_blocks) {
        (Some(first), blocks @ 2..) => {
            let seconds = activity.last.saturating_sub(first) as f64;
            let mean = seconds / (blocks - 1) as f64;
            Figure::Mean((mean * 1e3).round() / 1e3)
        }
        _ => Figure::None,
    }
}

/// A figure of the scope's chain in each bucket.
pub(crate) fn history(scope: &Scope) -> Result<History, ApiError> {
    let params = &scope.params;
    let (metric, figure) = choose(params, "metric", METRICS)?;
    let (name, period) = choose(params, "period", &PERIODS)?;
    let starts = buckets(scope, period)?;
    let (first, last) = (starts[0], starts[starts.len() - 1]);
    let end = period.next(last);
    let mut rows: BTreeMap<u64, Bucket> = BTreeMap::new();
    let stream = &scope.stream;
    let from = ActivityKey {
        period,
        start: first,
    };
    scope
        .view
        .scan::<Activity>(stream, &period, Some(&from), |row| {
            if row.key.start >= end {
                return Ok(ControlFlow::Break(()));
            }
            rows.entry(row.key.start).or_default().activity = row.value;
            Ok(ControlFlow::Continue(()))
        })?;
    let from = AddressActivityKey {
        period,
        start: first,
    };
    scope
        .view
        .scan::<AddressActivity>(stream, &period, Some(&from), |row| {
            if row.key.start >= end {
                return Ok(ControlFlow::Break(()));
            }
            rows.entry(row.key.start).or_default().addresses = row.value;
            Ok(ControlFlow::Continue(()))
        })?;
    let empty = Bucket::default();
    let value = |start: &u64| figure(rows.get(start).unwrap_or(&empty));
    Ok(History {
        metric,
        period: name,
        start: Time(first),
        end: Time(end),
        values: starts.iter().map(value).collect(),
        timestamps: starts.into_iter().map(Time).collect(),
    })
}

/// What a parameter names, of things that have names.
pub(super) fn choose<T: Copy>(
    params: &Params,
    name: &str,
    choices: &[(&'static str, T)],
) -> Result<(&'static str, T), ApiError> {
    let asked = params.text(name);
    let found = choices.iter().find(|(choice, _)| asked == Some(choice));
    found.copied().ok_or_else(|| {
        let names: Vec<_> = choices.iter().map(|(choice, _)| *choice).collect();
        ApiError::parameter(name, format!("expected one of {}", names.join(", ")))
    })
}

/// Where the buckets begin that are asked for: at least one.
fn buckets(scope: &Scope, period: Period) -> Result<Vec<u64>, ApiError> {
    let start = scope.params.time("start")?;
    let end = match scope.params.time("end")? {
        Some(end) => end,
        None => {
            let head = scope.head().map(|head| scope.canonical(head.height));
            let head = head
                .transpose()?
                .flatten()
                .map_or(0, |block| block.timestamp);
            period.next(period.start(head.max(start.unwrap_or(0))))
        }
    };
    let first = match start {
        Some(start) if start >= end => {
            return Err(ApiError::parameter("end", "it must be later than `start`"));
        }
        Some(start) => period.start(start),
        None => {
            let mut first = period.start(end.saturating_sub(1));
            for _ in 1..BUCKETS {
                first = period.start(first.saturating_sub(1));
            }
            first
        }
    };
    let mut starts = vec![first];
    loop {
        let next = period.next(starts[starts.len() - 1]);
        if next >= end {
            return Ok(starts);
        }
        if starts.len() == MOST_BUCKETS {
            let reason = format!(
                "there are more than {MOST_BUCKETS} buckets: choose a wider one, or less time"
            );
            return Err(ApiError::parameter("period", reason));
        }
        starts.push(next);
    }
}
