//! What can be followed: channels, each with its events, and which of them a subscriber wants.

use std::collections::BTreeMap;

use cairn_domain::Commit;
use cairn_engine::store::StoreError;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{blocks::Blocks, past::Past, transactions::Transactions};
use crate::{
    error::{ApiError, ErrorCode},
    models::Time,
};

/// Something that can be followed.
pub(crate) trait Channel: Sync {
    /// Its name.
    fn name(&self) -> &'static str;
    /// Its number in cursors. Never reused.
    fn number(&self) -> u8;
    /// What it is, one sentence.
    fn doc(&self) -> &'static str;
    /// Its events.
    fn events(&self) -> &'static [EventDoc];
    /// What subscribers may ask for, by equality.
    fn filters(&self) -> &'static [&'static str];
    /// The events that a commit is to those who follow it: the same whenever it is asked.
    ///
    /// # Errors
    /// Where the store or the events cannot be read.
    fn render(&self, commit: &Commit, past: &Past<'_>) -> Result<Vec<Message>, RenderError>;
}

/// What is known of an event.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EventDoc {
    /// What it is called.
    pub(crate) name: &'static str,
    /// When it happens.
    pub(crate) doc: &'static str,
    /// What its data are called among the schemas of OpenAPI.
    pub(crate) data: &'static str,
}

/// Every channel.
pub(crate) const CHANNELS: &[&dyn Channel] = &[
    &Blocks,
    &Transactions,
    &Silent {
        name: "marketplace_offers",
        number: 3,
        doc: "Offers as they are listed, change and close.",
        filters: &["chain", "provider", "status", "category"],
    },
    &Silent {
        name: "marketplace_bids",
        number: 4,
        doc: "Bids as they are placed, accepted, rejected and withdrawn.",
        filters: &["chain", "offer_id", "provider", "status"],
    },
    &Silent {
        name: "governance",
        number: 5,
        doc: "Proposals as they are made and change, and votes as they are cast.",
        filters: &["chain", "proposal_id"],
    },
];

/// A channel by its name.
pub(crate) fn find(name: &str) -> Result<&'static dyn Channel, ApiError> {
    let found = CHANNELS.iter().find(|channel| channel.name() == name);
    found.copied().ok_or_else(|| {
        let names: Vec<_> = CHANNELS.iter().map(|channel| channel.name()).collect();
        let message = format!(
            "there is no channel `{name}`; there is: {}",
            names.join(", ")
        );
        ApiError::new(ErrorCode::UnknownChannel, message)
    })
}

/// A channel of which nothing is ever heard: this version has no such events.
struct Silent {
    name: &'static str,
    number: u8,
    doc: &'static str,
    filters: &'static [&'static str],
}

impl Channel for Silent {
    fn name(&self) -> &'static str {
        self.name
    }

    fn number(&self) -> u8 {
        self.number
    }

    fn doc(&self) -> &'static str {
        self.doc
    }

    fn events(&self) -> &'static [EventDoc] {
        &[]
    }

    fn filters(&self) -> &'static [&'static str] {
        self.filters
    }

    fn render(&self, _: &Commit, _: &Past<'_>) -> Result<Vec<Message>, RenderError> {
        Ok(Vec::new())
    }
}

/// Why a commit cannot be shown.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RenderError {
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The commit contradicts itself, or the store.
    #[error("{0}")]
    Contradiction(String),
    /// It does not become JSON.
    #[error("an event does not become JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// An event for those who follow a channel.
#[derive(Debug)]
pub(crate) struct Message {
    /// What it is called.
    pub(crate) event: &'static str,
    /// When it happened.
    pub(crate) timestamp: Time,
    /// What it is about: exactly the REST object, as of the position of its commit.
    pub(crate) data: Box<RawValue>,
    /// What filters look at.
    pub(crate) attributes: Attributes,
}

impl Message {
    pub(crate) fn new(
        event: &'static str,
        timestamp: Time,
        data: &impl Serialize,
        attributes: Attributes,
    ) -> Result<Self, RenderError> {
        Ok(Self {
            event,
            timestamp,
            data: to_raw_value(data)?,
            attributes,
        })
    }
}

/// Values by the names that filters have for them.
pub(crate) type Attributes = Vec<(&'static str, String)>;

/// Which events of a channel a subscriber wants: those that have all of these values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Filters(Vec<(&'static str, String)>);

impl Filters {
    /// Reads them; names that the channel does not know are refused.
    pub(crate) fn of(
        channel: &dyn Channel,
        asked: &BTreeMap<String, String>,
    ) -> Result<Self, ApiError> {
        let mut filters = Vec::with_capacity(asked.len());
        for (name, value) in asked {
            let known = channel.filters().iter().find(|known| *known == name);
            let Some(known) = known else {
                let message = format!(
                    "channel `{}` has no filter `{name}`; it has: {}",
                    channel.name(),
                    channel.filters().join(", ")
                );
                return Err(ApiError::new(ErrorCode::UnknownFilter, message));
            };
            filters.push((*known, comparable(value)));
        }
        Ok(Self(filters))
    }

    /// Whether an event with these values is wanted.
    pub(crate) fn match_all(&self, attributes: &Attributes) -> bool {
        self.0.iter().all(|wanted| attributes.contains(wanted))
    }
}

/// As values are compared: what begins with `0x` in any case.
pub(crate) fn comparable(value: &str) -> String {
    match value.get(..2) {
        Some("0x" | "0X") => value.to_ascii_lowercase(),
        _ => value.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filters(asked: &[(&str, &str)]) -> Result<Filters, ApiError> {
        let asked = asked
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Filters::of(&Transactions, &asked.collect())
    }

    #[test]
    fn all_filters_must_match_and_hex_in_any_case() {
        let wanted = filters(&[("to_address", "0xABC"), ("status", "failed")]).unwrap();
        let attributes = |to: &str, status: &str| -> Attributes {
            vec![("to_address", to.to_owned()), ("status", status.to_owned())]
        };
        assert!(wanted.match_all(&attributes("0xabc", "failed")));
        assert!(!wanted.match_all(&attributes("0xabc", "confirmed")));
        assert!(!wanted.match_all(&Vec::new()));
        assert!(Filters::default().match_all(&Vec::new()));
        let unknown = filters(&[("colour", "red")]).unwrap_err();
        assert_eq!(unknown.code, ErrorCode::UnknownFilter);
        assert!(unknown.message.contains("to_address"), "{unknown}");
    }

    #[test]
    fn channels_have_names_and_numbers_of_their_own() {
        for (index, one) in CHANNELS.iter().enumerate() {
            for other in &CHANNELS[index + 1..] {
                assert!(one.name() != other.name() && one.number() != other.number());
            }
        }
    }
}
