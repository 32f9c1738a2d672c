//! What contracts reported while a transaction was executed.

use cairn_domain::{Address, Bytes, Hash, events::Log};
use serde::{Serialize, Serializer, ser::SerializeMap};
use utoipa::ToSchema;

use crate::answer::Model;

/// A decoded argument: one word, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(crate) enum Argument {
    /// One word.
    One(String),
    /// An array.
    Many(Vec<String>),
}

/// Decoded arguments by name, in the order of the event's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Arguments(pub(crate) Vec<(&'static str, Argument)>);

impl Serialize for Arguments {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// What a contract reported.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TransactionEvent {
    /// Its place among the logs of the block.
    pub(crate) index: u32,
    /// The contract.
    #[schema(value_type = String)]
    pub(crate) address: Address,
    /// The event's name, where its signature is known.
    pub(crate) name: Option<&'static str>,
    /// Its arguments by name, as strings or lists of strings; null where it is not known.
    #[schema(value_type = Option<Object>)]
    pub(crate) args: Option<Arguments>,
    /// Indexed words as they were logged.
    #[schema(value_type = Vec<String>)]
    pub(crate) topics: Vec<Hash>,
    /// The other words as they were logged.
    #[schema(value_type = String)]
    pub(crate) data: Bytes,
}

impl TransactionEvent {
    /// A log with what is known of it.
    pub(crate) fn new(log: Log, decoded: Option<(&'static str, Arguments)>) -> Self {
        let (name, args) = decoded.unzip();
        Self {
            index: log.index,
            address: log.address,
            name,
            args,
            topics: log.topics,
            data: log.data,
        }
    }
}

/// All events of a transaction, in the order in which they happened.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EventList {
    /// The events.
    pub(crate) events: Vec<TransactionEvent>,
    #[serde(skip)]
    pub(crate) is_final: bool,
}

impl Model for EventList {
    fn is_final(&self) -> bool {
        self.is_final
    }
}
