//! What answers look like, and how they are made from rows. Amounts are decimal strings, counts
//! and heights integers, times RFC 3339 in UTC.

mod address;
mod block;
mod chain;
mod dataset;
mod event;
mod export;
mod history;
mod partner;
mod stats;
mod time;
mod token;
mod transaction;

pub(crate) use address::{AddressBalance, AddressDetail, AddressSummary};
pub(crate) use block::{BlockDetail, BlockPage, BlockSummary};
pub(crate) use chain::{BlockName, Chain, ChainReplaced, Chains};
pub(crate) use dataset::{Dataset, DatasetFile, DatasetFiles, Datasets};
pub(crate) use event::{Argument, Arguments, EventList, TransactionEvent};
pub(crate) use export::{ExportAccepted, ExportStatus};
pub(crate) use history::{Figure, History};
pub(crate) use partner::{Credentials, DayOfUsage, PartnerDetail, Usage};
pub(crate) use stats::{NetworkStats, Volume, Windows};
pub(crate) use time::Time;
pub(crate) use token::{TokenHolding, TokenPage, TokenTransferPage, Transfer};
pub(crate) use transaction::{Status, Transaction, TransactionPage};
