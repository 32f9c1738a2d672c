//! What changes partners: commands, which the node that writes the log turns into events.

use async_trait::async_trait;
use cairn_domain::{
    commit::Millis,
    events::{IntegrationType, Tier},
    projections::partners::PartnerRow,
};
use serde::{Deserialize, Serialize};

/// What a partner says of itself. The log holds it sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// What the service is called.
    pub name: String,
    /// What it does.
    pub description: String,
    /// Its home page.
    pub website: String,
    /// An e-mail address.
    pub contact: String,
}

/// What is to become of a partner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum PartnerCommand {
    /// Somebody new. Gives a [`NewKey`].
    Register {
        /// Who it is.
        profile: Box<Profile>,
        /// What it does.
        integration: IntegrationType,
    },
    /// It has another tier.
    SetTier {
        /// The partner.
        id: String,
        /// What it may use from now on.
        tier: Tier,
    },
    /// It has a new key. Gives a [`NewKey`].
    Rotate {
        /// The partner.
        id: String,
        /// The keys before hold for so long, in milliseconds.
        grace: Millis,
    },
    /// A key holds no longer.
    Revoke {
        /// The partner.
        id: String,
        /// Which one, as lists name it; none means all.
        key: Option<String>,
    },
    /// It is shut out.
    Suspend {
        /// The partner.
        id: String,
        /// Why, as it is told.
        reason: String,
    },
    /// It is let in again.
    Resume {
        /// The partner.
        id: String,
    },
    /// It is gone for good, and what it said of itself is unreadable.
    Erase {
        /// The partner.
        id: String,
    },
}

/// A key, the only time that it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewKey {
    /// The partner.
    pub partner_id: String,
    /// What requests show.
    pub api_key: String,
    /// What signs the webhooks of the partner.
    pub api_secret: String,
    /// What the partner may use.
    pub tier: Tier,
    /// When the key was made, in milliseconds since 1970.
    pub created_at: Millis,
}

/// Has the node that writes the log do what changes partners.
#[async_trait]
pub trait PartnerDesk: Send + Sync {
    /// Does it, and returns when it is folded here: with a key, where it makes one.
    ///
    /// # Errors
    /// Why it is not done now.
    async fn perform(&self, command: PartnerCommand) -> Result<Option<NewKey>, String>;

    /// What a partner said of itself; none where this node does not have the key to it.
    fn profile(&self, id: &str, row: &PartnerRow) -> Option<Profile>;
}
