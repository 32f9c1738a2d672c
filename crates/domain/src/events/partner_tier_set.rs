//! `partner_tier_set`.

use super::partner_registered::Tier;

crate::event! {
    /// The operator gave a partner another tier.
    pub struct PartnerTierSet: version 1, Operator {
        /// The partner.
        pub id: String,
        /// What the partner may use from now on.
        pub tier: Tier,
    }
    example: Self {
        id: "0198c0de-7a3b-7c1d-9e2f-1a2b3c4d5e6f".into(),
        tier: Tier::Enterprise,
    }
}
