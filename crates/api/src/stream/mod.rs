//! Following what happens: channels of events, replayed from the log and live, for WebSockets and server-sent
//! events.
//!
//! To add a channel: a file with what makes its events of a commit, one line in [`CHANNELS`].
//!
//! [`CHANNELS`]: channel::CHANNELS

mod asyncapi;
mod blocks;
mod channel;
mod feed;
mod frame;
mod past;
mod subscription;
mod transactions;

pub use asyncapi::asyncapi_json;
pub(crate) use channel::{Filters, find};
pub(crate) use feed::Feed;
pub(crate) use frame::Frame;
pub(crate) use subscription::{Next, Subscription};
