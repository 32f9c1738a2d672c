//! SQL over the files of the lake united with the hot tail from the store: every committed row once, as of
//! one position a shard, which the answer names.
//!
//! A query takes a [`snapshot`] first: the manifest, the rows of events that are in no file yet, and a view
//! of the store, all as of one position. Each dataset that the caller may see is a [`table`]; its files are
//! pruned by what the manifest says of them before one is opened. Queries run on threads of their own,
//! within limits of memory, disk, time and rows.

mod answer;
mod budget;
mod collected;
mod engine;
mod error;
mod files;
mod functions;
mod literals;
mod located;
mod measured;
mod memory;
mod names;
mod options;
mod output;
mod owned;
mod pauses;
mod ranges;
mod reads;
mod refusal;
mod room;
mod session;
mod snapshot;
mod statement;
mod sums;
mod table;
mod tail;
mod tail_rows;
mod text;
mod truncate;

pub use answer::SqlAnswer;
pub use engine::SqlEngine;
pub use error::SqlError;
pub use options::{SqlCaller, SqlOptions};
pub use output::{SqlFormat, encode};
pub use refusal::Refusal;

pub(crate) use names::shown_columns;
pub(crate) use session::{CATALOG, SCHEMA};
