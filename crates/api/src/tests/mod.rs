//! Claims about the whole surface, over a store that a short log of made-up blocks filled. Claims
//! about real blocks are data: `tests/cases/partner`.

mod claims;
mod cursors;
mod finals;
mod fixture;
mod nodes;
mod readiness;
mod shards;
mod streams;
