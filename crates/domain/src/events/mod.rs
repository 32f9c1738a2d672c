//! What can happen. One file per event; the registry below gives each its number.
//!
//! To add an event: create `events/<name>.rs` with [`event!`](crate::event!) and an `example`, add
//! one line to the registry. With a `dataset` clause it is a row of a dataset, too. To change one: a new version with an upcast from the old one, whose
//! golden file stays frozen.

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};

use crate::{
    commit::RawRecord,
    datasets::{CellError, Cells, Column, DatasetDef, RowSource},
};

mod event_rows;
mod named;

/// Who may see an event. Streams, exports, datasets and SQL show a caller only what it may see.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// Everybody.
    Public,
    /// The partner or wallet that it is about.
    Owner,
    /// The operator alone.
    Operator,
}

/// What the registry knows of an event kind.
#[derive(Debug, Clone, Copy)]
pub struct EventDef {
    /// Number on disk. Never reused.
    pub kind: u16,
    /// Version of the definition.
    pub version: u16,
    /// Name in schemas, URLs and logs.
    pub name: &'static str,
    /// Who may see it.
    pub visibility: Visibility,
    /// JSON Schema of its JSON form.
    pub schema: fn() -> Schema,
    /// A value with every field set, for golden files and docs.
    pub example: fn() -> Event,
    /// The dataset whose rows these events are, if they are any.
    pub dataset: Option<DatasetDef>,
}

/// The dataset that events are rows of: its name, its doc, and the columns of the event's fields.
pub type DatasetClause = (&'static str, &'static str, fn() -> Vec<Column>);

/// One definition of an event.
pub trait EventType: Sized + bincode::Encode + bincode::Decode<()> + JsonSchema {
    /// Version of this definition.
    const VERSION: u16;
    /// Who may see it.
    const VISIBILITY: Visibility;
    /// The dataset whose rows these events are, if they are any.
    const DATASET: Option<DatasetClause> = None;
    /// A value with every field set.
    fn example() -> Self;
    /// Writes the columns of its fields, if it is a row of a dataset.
    ///
    /// # Errors
    /// [`CellError`] when a value has no place in its column.
    fn put(&self, _cells: &mut dyn Cells) -> Result<(), CellError> {
        Ok(())
    }
}

/// Why a record is not an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// Nothing here knows this kind or version.
    #[error(
        "record kind {kind} version {version} is unknown to this version of cairn: upgrade, or see `cairn schemas`"
    )]
    Unknown {
        /// Kind on disk.
        kind: u16,
        /// Version on disk.
        version: u16,
    },
    /// Nothing here knows how the body is encoded.
    #[error("record codec {0} is unknown to this version of cairn: upgrade")]
    Codec(u8),
    /// The body is not such an event.
    #[error("the body of a {name} (version {version}) does not decode: {reason}")]
    Body {
        /// The event's name.
        name: &'static str,
        /// Version on disk.
        version: u16,
        /// What is wrong.
        reason: String,
    },
}

/// Defines an event: its fields, its version and who may see it. With `dataset "name"` behind that,
/// every such event is a row of a dataset of that name.
#[macro_export]
macro_rules! event {
    (
        $(#[doc = $doc:literal])*
        pub struct $name:ident: version $version:literal, $visibility:ident {
            $($fields:tt)*
        }
        example: $example:expr
    ) => {
        $crate::event!(@struct $(#[doc = $doc])* $name { $($fields)* });

        impl $crate::events::EventType for $name {
            const VERSION: u16 = $version;
            const VISIBILITY: $crate::events::Visibility = $crate::events::Visibility::$visibility;

            fn example() -> Self {
                $example
            }
        }
    };
    (
        $(#[doc = $doc:literal])*
        pub struct $name:ident: version $version:literal, $visibility:ident, dataset $dataset:literal {
            $($(#[doc = $field_doc:literal])* pub $field:ident: $type:ty),* $(,)?
        }
        example: $example:expr
    ) => {
        $crate::event!(@struct $(#[doc = $doc])* $name {
            $($(#[doc = $field_doc])* pub $field: $type,)*
        });

        impl $crate::events::EventType for $name {
            const VERSION: u16 = $version;
            const VISIBILITY: $crate::events::Visibility = $crate::events::Visibility::$visibility;
            const DATASET: Option<$crate::events::DatasetClause> =
                Some(($dataset, concat!($($doc),*).trim_ascii(), || {
                    let mut columns = Vec::new();
                    $(columns.extend($crate::datasets::columns_of::<$type>(
                        stringify!($field),
                        concat!($($field_doc),*).trim_ascii(),
                    ));)*
                    columns
                }));

            fn example() -> Self {
                $example
            }

            fn put(
                &self,
                cells: &mut dyn $crate::datasets::Cells,
            ) -> Result<(), $crate::datasets::CellError> {
                $($crate::datasets::Cell::put(&self.$field, cells)?;)*
                Ok(())
            }
        }
    };
    (@struct $(#[doc = $doc:literal])* $name:ident { $($fields:tt)* }) => {
        $(#[doc = $doc])*
        #[derive(
            Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize, bincode::Encode,
            bincode::Decode, schemars::JsonSchema,
        )]
        pub struct $name {
            $($fields)*
        }
    };
}

const CONFIG: bincode::config::Configuration = bincode::config::standard();

fn decode_body<T: EventType>(name: &'static str, body: &[u8]) -> Result<T, EventError> {
    let fail = |reason: String| EventError::Body {
        name,
        version: T::VERSION,
        reason,
    };
    match bincode::decode_from_slice(body, CONFIG) {
        Ok((event, read)) if read == body.len() => Ok(event),
        Ok(_) => Err(fail("bytes are left over".into())),
        Err(error) => Err(fail(error.to_string())),
    }
}

macro_rules! registry {
    ($($module:ident::$name:ident = $kind:literal;)*) => {
        $(mod $module; pub use $module::$name;)*

        /// Anything that can happen.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        #[allow(missing_docs, reason = "each variant holds the documented event of its name")]
        pub enum Event {
            $($name($name),)*
        }

        $(impl From<$name> for Event {
            fn from(event: $name) -> Self {
                Self::$name(event)
            }
        })*

        impl Event {
            /// Every kind that this version writes.
            pub const DEFS: &'static [EventDef] = &[$(EventDef {
                kind: $kind,
                version: <$name as EventType>::VERSION,
                name: stringify!($module),
                visibility: <$name as EventType>::VISIBILITY,
                schema: || schemars::schema_for!($name),
                example: || Self::$name(<$name as EventType>::example()),
                dataset: match <$name as EventType>::DATASET {
                    None => None,
                    Some((name, doc, _)) => Some(DatasetDef {
                        name,
                        version: <$name as EventType>::VERSION as u32,
                        doc,
                        visibility: <$name as EventType>::VISIBILITY,
                        columns: event_rows::columns::<$name>,
                        source: RowSource::Events {
                            kind: $kind,
                            rows: |commit, cells| {
                                for (index, event) in (0..).zip(&commit.events) {
                                    if let Self::$name(event) = event {
                                        event_rows::put(commit, index, event, cells)?;
                                    }
                                }
                                Ok(())
                            },
                        },
                    }),
                },
            }),*];

            /// The number and version under which it goes to disk.
            pub fn kind_and_version(&self) -> (u16, u16) {
                match self {
                    $(Self::$name(_) => ($kind, <$name as EventType>::VERSION),)*
                }
            }

            /// Appends the body of its record.
            pub fn encode_body(&self, out: &mut Vec<u8>) {
                match self {
                    $(Self::$name(event) => bincode::encode_into_std_write(event, out, CONFIG),)*
                }
                .expect("an event always encodes into memory");
            }

            /// Reads a record.
            ///
            /// # Errors
            /// For an unknown kind, version or codec, and for a body that does not decode.
            pub fn decode(record: RawRecord<'_>) -> Result<Self, EventError> {
                if record.codec != Self::CODEC {
                    return Err(EventError::Codec(record.codec));
                }
                match (record.kind, record.version) {
                    $(($kind, <$name as EventType>::VERSION) =>
                        decode_body(stringify!($module), record.body).map(Self::$name),)*
                    (kind, version) => Err(EventError::Unknown { kind, version }),
                }
            }
        }
    };
}

registry! {
    block_appended::BlockAppended = 1;
    transaction_included::TransactionIncluded = 2;
    transaction_executed::TransactionExecuted = 3;
    block_reverted::BlockReverted = 4;
    block_finalized::BlockFinalized = 5;
    chain_reset::ChainReset = 6;
    token_described::TokenDescribed = 7;
    lake_cut::LakeCut = 8;
    export_requested::ExportRequested = 9;
    export_finished::ExportFinished = 10;
    partner_registered::PartnerRegistered = 11;
    partner_key_rotated::PartnerKeyRotated = 12;
    partner_key_revoked::PartnerKeyRevoked = 13;
    partner_tier_set::PartnerTierSet = 14;
    partner_suspended::PartnerSuspended = 15;
    partner_resumed::PartnerResumed = 16;
    partner_erased::PartnerErased = 17;
    api_used::ApiUsed = 18;
}

pub use api_used::UsageCount;
pub use block_appended::Withdrawal;
pub use export_finished::{ExportFile, ExportOutcome};
pub use export_requested::{ExportCompression, ExportFormat};
pub use partner_registered::{IntegrationType, PartnerKey, Tier};
pub use transaction_executed::Log;
pub use transaction_included::TransactionKind;

impl Event {
    /// The codec of every body that this version writes: bincode 2, standard configuration.
    pub const CODEC: u8 = 1;

    /// What the registry knows of this event's kind.
    pub fn def(&self) -> &'static EventDef {
        let (kind, _) = self.kind_and_version();
        Self::DEFS
            .iter()
            .find(|def| def.kind == kind)
            .expect("the registry made both")
    }

    /// One event of every kind, with every field set.
    pub fn examples() -> Vec<Self> {
        Self::DEFS.iter().map(|def| (def.example)()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_unknown_kind_or_codec_says_upgrade() {
        let record = RawRecord {
            kind: 9999,
            version: 1,
            codec: Event::CODEC,
            body: &[],
        };
        assert!(
            Event::decode(record)
                .unwrap_err()
                .to_string()
                .contains("upgrade")
        );
        let record = RawRecord {
            kind: 1,
            version: 1,
            codec: 77,
            body: &[],
        };
        assert_eq!(Event::decode(record), Err(EventError::Codec(77)));
    }

    #[test]
    fn every_event_survives_json() {
        for event in Event::examples() {
            let json = serde_json::to_string(&event).unwrap();
            assert_eq!(
                serde_json::from_str::<Event>(&json).unwrap(),
                event,
                "{json}"
            );
        }
    }
}
