//! `partner_resumed`.

crate::event! {
    /// The operator lets a suspended partner in again.
    pub struct PartnerResumed: version 1, Operator {
        /// The partner.
        pub id: String,
    }
    example: Self {
        id: "0198c0de-7a3b-7c1d-9e2f-1a2b3c4d5e6f".into(),
    }
}
