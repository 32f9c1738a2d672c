//! `partner_key_revoked`.

use crate::primitives::Hash;

crate::event! {
    /// A key of a partner holds no longer, or none of them does.
    pub struct PartnerKeyRevoked: version 1, Operator {
        /// The partner.
        pub id: String,
        /// SHA-256 of the key; none means all.
        pub key: Option<Hash>,
    }
    example: Self {
        id: "0198c0de-7a3b-7c1d-9e2f-1a2b3c4d5e6f".into(),
        key: Some(Hash([0x5a; 32])),
    }
}
