//! `api_used`.

use bincode::{Decode, Encode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

crate::event! {
    /// Partners sent requests: what one node counted of a minute since it counted last.
    pub struct ApiUsed: version 1, Operator {
        /// The minute, in minutes since 1970.
        pub minute: u64,
        /// What was counted.
        pub counts: Vec<UsageCount>,
    }
    example: Self {
        minute: 28_333_333,
        counts: vec![UsageCount {
            partner: "0198c0de-7a3b-7c1d-9e2f-1a2b3c4d5e6f".into(),
            endpoint: "GET /api/v1/explorer/blocks".into(),
            requests: 120,
            refused: 20,
        }],
    }
}

/// Requests of a partner to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode, JsonSchema)]
pub struct UsageCount {
    /// The partner.
    pub partner: String,
    /// Method and route.
    pub endpoint: String,
    /// Number of requests, refused ones included.
    pub requests: u64,
    /// Number of requests beyond the limits.
    pub refused: u64,
}
