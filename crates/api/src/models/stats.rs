//! Figures of a whole chain.

use serde::Serialize;
use utoipa::ToSchema;

use crate::answer::Model;

/// A count over windows that end at the head's timestamp.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct Windows {
    /// The last 24 hours.
    #[serde(rename = "24h")]
    pub(crate) day: u64,
    /// The last 7 days.
    #[serde(rename = "7d")]
    pub(crate) week: u64,
    /// The last 30 days.
    #[serde(rename = "30d")]
    pub(crate) month: u64,
}

/// An amount over windows that end at the head's timestamp.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Volume {
    /// The last 24 hours.
    #[serde(rename = "24h")]
    pub(crate) day: String,
    /// The last 7 days.
    #[serde(rename = "7d")]
    pub(crate) week: String,
    /// The last 30 days.
    #[serde(rename = "30d")]
    pub(crate) month: String,
}

impl Volume {
    /// Nothing was traded: the marketplace is not indexed yet.
    pub(crate) fn zero() -> Self {
        Self {
            day: "0".into(),
            week: "0".into(),
            month: "0".into(),
        }
    }
}

/// Figures of a whole chain, counted from the first indexed block.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct NetworkStats {
    /// Canonical blocks.
    pub(crate) total_blocks: u64,
    /// Their transactions.
    pub(crate) total_transactions: u64,
    /// Distinct senders and recipients of the 24 hours that end at the head's timestamp.
    pub(crate) active_addresses: u64,
    /// Hashes per second on a proof-of-work chain, by difficulty and block time; else 0.
    pub(crate) network_hashrate: u64,
    /// Mean of the last 100 intervals in seconds, without the one behind genesis; null with fewer
    /// than two blocks.
    pub(crate) average_block_time: Option<f64>,
    /// Volume of accepted bids.
    pub(crate) marketplace_volume: Volume,
    /// Addresses that were ever sender or recipient.
    pub(crate) total_addresses: u64,
    /// Transactions by window.
    pub(crate) transactions: Windows,
    /// Height of the head; null while the chain is empty.
    pub(crate) head_height: Option<u64>,
    /// Height of the highest final block.
    pub(crate) finalized_height: Option<u64>,
}

impl Model for NetworkStats {}
