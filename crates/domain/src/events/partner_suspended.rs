//! `partner_suspended`.

crate::event! {
    /// The operator shut a partner out until further notice.
    pub struct PartnerSuspended: version 1, Operator {
        /// The partner.
        pub id: String,
        /// Why, as the partner is told.
        pub reason: String,
    }
    example: Self {
        id: "0198c0de-7a3b-7c1d-9e2f-1a2b3c4d5e6f".into(),
        reason: "the invoice is open".into(),
    }
}
