//! `chain_reset`.

crate::event! {
    /// A chain was replaced by another of the same name: all that its stream held is void, and
    /// nothing that follows connects to it.
    pub struct ChainReset: version 1, Public {
        /// Why the operator, or the source that was told to, accepted it.
        pub reason: String,
    }
    example: Self { reason: "the node was wiped".into() }
}
