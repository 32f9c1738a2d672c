//! Ethereum nodes: the decoder of what they serve, and the source that follows one.

mod answers;
mod backfill;
mod batches;
mod decode_block;
mod decode_receipts;
mod fetch;
mod follow;
mod heads;
mod hex;
mod identity;
mod json;
mod mended;
mod node;
mod pace;
mod reorg;
mod retry;
mod rpc;
mod state;
mod token_answers;
mod tokens;
mod wire;

pub(super) use follow::run;
pub use json::{DecodeError, DecodedBlock, Header, decode, decode_header};
pub use state::EvmNodeState;
