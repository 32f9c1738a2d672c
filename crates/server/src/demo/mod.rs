//! What `cairn demo` runs beside the server: a real node, traffic on it, the sample.

mod child;
mod live;
mod repository;
mod sample;

pub(crate) use live::LiveNode;
pub(crate) use repository::Repository;
pub(crate) use sample::load_sample;

/// The chain of the sample.
pub(crate) const SAMPLE: &str = "sample";
/// The chain of the node that runs beside the server.
pub(crate) const LIVE: &str = "demo";
