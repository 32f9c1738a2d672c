//! `partner_key_rotated`.

use super::partner_registered::PartnerKey;
use crate::{
    commit::Millis,
    primitives::{Bytes, Hash},
};

crate::event! {
    /// A partner has a new key and a new secret. The ones before hold for a while, so that all its programs can
    /// change over.
    pub struct PartnerKeyRotated: version 1, Operator {
        /// The partner.
        pub id: String,
        /// The new pair.
        pub key: PartnerKey,
        /// Until when the pairs before hold, in milliseconds since 1970.
        pub others_until: Millis,
    }
    example: Self {
        id: "0198c0de-7a3b-7c1d-9e2f-1a2b3c4d5e6f".into(),
        key: PartnerKey {
            hash: Hash([0x5b; 32]),
            secret: Bytes(vec![7, 8, 9]),
        },
        others_until: 1_700_086_400_000,
    }
}
