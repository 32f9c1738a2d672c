//! `token_described`.

use crate::primitives::Address;

crate::event! {
    /// A token contract told its name. Asked once from the node; a field is none where the contract
    /// has no answer.
    pub struct TokenDescribed: version 1, Public, dataset "tokens" {
        /// The contract.
        pub contract: Address,
        /// `name()`.
        pub name: Option<String>,
        /// `symbol()`.
        pub symbol: Option<String>,
        /// `decimals()`: how many digits of an amount stand behind the point.
        pub decimals: Option<u8>,
    }
    example: Self {
        contract: Address::Evm([0xcc; 20]),
        name: Some("Demo Token".into()),
        symbol: Some("DEMO".into()),
        decimals: Some(18),
    }
}
