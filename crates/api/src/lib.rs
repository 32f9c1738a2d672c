//! The HTTP surface: routes per resource, one closed set of errors, and the dialects that render
//! them.
//!
//! A request becomes a [`scope::Scope`]: a view of one shard's store as of one position, for one
//! chain. A handler makes one call into `queries` and answers with what it got; nothing here writes.

mod access;
mod answer;
mod app;
mod at;
mod chains;
mod cursor;
mod dialects;
mod error;
mod exports;
mod finals;
mod models;
mod nodes;
mod observe;
mod paging;
mod params;
mod partners;
mod positions;
mod queries;
mod range;
mod readiness;
mod roles;
mod routes;
mod scope;
mod shard;
mod stream;
mod telemetry;
#[cfg(test)]
mod tests;

pub use access::{Proxies, hash_of_key, key_id};
pub use app::{ApiConfig, App, AppError, Desks, LakeArgs, StreamLimits};
pub use error::{ApiError, ErrorCode};
pub use exports::{ExportDesk, ExportProgress, ExportRefused};
pub use partners::{NewKey, PartnerCommand, PartnerDesk, Profile};
pub use roles::Roles;
pub use routes::{openapi_json, router};
pub use shard::{Shard, ShardArgs};
pub use stream::asyncapi_json;
