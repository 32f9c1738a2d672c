//! `partner_registered`.

use bincode::{Decode, Encode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::named::named;
use crate::primitives::{Bytes, Hash};

crate::event! {
    /// Somebody became a partner.
    pub struct PartnerRegistered: version 1, Operator {
        /// Names the partner.
        pub id: String,
        /// What the partner does.
        pub integration: IntegrationType,
        /// What the partner may use.
        pub tier: Tier,
        /// Name, description, website and contact: sealed under a key that is no part of the log and is
        /// destroyed to erase them.
        pub profile: Bytes,
        /// What the partner shows: only the hash of it is kept.
        pub key: PartnerKey,
    }
    example: Self {
        id: "0198c0de-7a3b-7c1d-9e2f-1a2b3c4d5e6f".into(),
        integration: IntegrationType::Explorer,
        tier: Tier::Pro,
        profile: Bytes(vec![1, 2, 3]),
        key: PartnerKey {
            hash: Hash([0x5a; 32]),
            secret: Bytes(vec![4, 5, 6]),
        },
    }
}

/// A pair of key and secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Encode, Decode, JsonSchema)]
pub struct PartnerKey {
    /// SHA-256 of the key, which nobody can be asked for again.
    pub hash: Hash,
    /// The secret that signs what is sent to the partner, sealed under the master key.
    pub secret: Bytes,
}

/// What a partner does.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Encode, Decode, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum IntegrationType {
    /// Shows blocks and transactions.
    Explorer,
    /// Counts and compares.
    Analytics,
    /// Keeps money.
    Wallet,
    /// Trades.
    Exchange,
    /// Anything else.
    Other,
}

named!(
    IntegrationType, "integration type", Explorer = "explorer", Analytics = "analytics",
    Wallet = "wallet", Exchange = "exchange", Other = "other"
);

impl IntegrationType {
    /// The tier that a partner of this type begins with.
    pub fn first_tier(self) -> Tier {
        match self {
            Self::Explorer | Self::Analytics | Self::Exchange => Tier::Pro,
            Self::Wallet | Self::Other => Tier::Basic,
        }
    }
}

/// What a partner may use; each has what those before it have.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, Encode, Decode,
    JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// Public data, usage and webhooks.
    Basic,
    /// Streams and SQL, too.
    Pro,
    /// Bulk exports, datasets and Flight, too.
    Enterprise,
}

named!(
    Tier, "tier", Basic = "basic", Pro = "pro", Enterprise = "enterprise"
);
