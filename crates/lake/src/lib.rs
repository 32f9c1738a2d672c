//! Columns: final rows as Parquet files, the manifest that publishes them, and the readers of both.
//!
//! Which rows a file holds is a function of the log (promise P7): parts of blocks end at fixed heights
//! or with the block that brings them to so many rows; what the clock cuts off before that is an event
//! in the log, and is replaced when its part is complete.

mod blocks;
mod bucket;
mod chain;
mod copy;
mod error;
mod event_tail;
mod events;
mod export;
pub mod flight;
mod follower;
mod hashed;
pub mod iceberg;
mod lake;
mod manifest;
mod part;
mod place;
mod rows;
mod schema;
pub mod sql;

pub use blocks::{block, canonical_block};
pub use bucket::Bucket;
pub use error::LakeError;
pub use event_tail::EventTail;
pub use export::{ExportError, Exported, count, export, extension, queries};
pub use follower::{Follower, LakeShard};
pub use lake::{Lake, LakeOptions, MANIFEST};
pub use manifest::{ChainState, FileEntry, Layout, Manifest, Placed, ReplacedFile, ShardState};
pub use place::Place;
pub use rows::RowBuffer;
pub use schema::{ROW_GROUP_ROWS, WRITER_VERSION, arrow_type, parquet_schema, schema};
