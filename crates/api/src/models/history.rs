//! Figures over time.

use serde::Serialize;
use utoipa::ToSchema;

use super::Time;
use crate::answer::Model;

/// A figure in each of a row of buckets.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct History {
    /// Which figure.
    pub(crate) metric: &'static str,
    /// The width of a bucket: `1h`, `1d`, `1w`, or `1m` for a month.
    pub(crate) period: &'static str,
    /// Where the first bucket begins.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) start: Time,
    /// Where the last bucket ends.
    #[schema(value_type = String, format = DateTime)]
    pub(crate) end: Time,
    /// Where each bucket begins.
    #[schema(value_type = Vec<String>)]
    pub(crate) timestamps: Vec<Time>,
    /// The figure of each bucket: counts as numbers, amounts and gas as decimal strings, the average block
    /// time in seconds; null where a mean has nothing to be of.
    pub(crate) values: Vec<Figure>,
}

/// The figure of a bucket.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Figure {
    /// A count.
    Count(u64),
    /// An amount, or gas.
    Amount(String),
    /// A mean.
    Mean(f64),
    /// A mean of nothing.
    None,
}

impl Model for History {
    fn size_hint(&self) -> usize {
        256 + 40 * self.values.len()
    }
}
