//! The pure core of Cairn: what happened ([`events`]), how it is framed in the log ([`commit`]),
//! which tables exist ([`table`]) and how events fold into them ([`projections`]).
//!
//! Nothing here waits, reads a clock, draws a random number or touches a file: the same prefix of
//! the log gives the same state on any machine (promise P3 of the design).

pub mod commit;
pub mod datasets;
pub mod events;
pub mod period;
pub mod primitives;
pub mod projections;
pub mod table;
pub mod token;

pub use commit::{Commit, Position, Stream};
pub use events::Event;
pub use primitives::{Address, Amount, Balance, BlockRef, Bytes, Hash};
