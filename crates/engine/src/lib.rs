//! The moving parts of Cairn: the [`log`], the [`store`] that folds fill, the [`runner`] that
//! folds, and the [`sources`] that append.

pub mod clock;
pub mod dead_letters;
pub mod health;
pub mod log;
mod rocks;
pub mod runner;
pub mod sources;
pub mod store;
pub mod vault;
