//! Partners.

use cairn_domain::{
    commit::Millis,
    events::{IntegrationType, Tier},
    projections::partners::{KeyRow, PartnerRow, UsageRow},
};
use serde::Serialize;
use utoipa::ToSchema;

use super::Time;
use crate::{
    access::{Quota, key_id},
    answer::Model,
    partners::{NewKey, Profile},
};

/// How many requests a partner may send.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RateLimit {
    /// In each minute of the clock.
    requests_per_minute: u64,
    /// In each hour of the clock.
    requests_per_hour: u64,
}

impl From<Tier> for RateLimit {
    fn from(tier: Tier) -> Self {
        let quota = Quota::of(tier);
        Self {
            requests_per_minute: quota.per_minute,
            requests_per_hour: quota.per_hour,
        }
    }
}

/// A key and its secret, the only time that they are shown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Credentials {
    /// Names the partner.
    partner_id: String,
    /// To be shown with each request. It is kept nowhere: who loses it asks for another one.
    api_key: String,
    /// Signs the webhooks of the partner that have no secret of their own.
    api_secret: String,
    /// How many requests the partner may send.
    rate_limit: RateLimit,
    /// What the partner may use: basic, pro or enterprise.
    #[schema(value_type = String)]
    tier: Tier,
    /// When the key was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
}

impl From<NewKey> for Credentials {
    fn from(key: NewKey) -> Self {
        Self {
            partner_id: key.partner_id,
            api_key: key.api_key,
            api_secret: key.api_secret,
            rate_limit: key.tier.into(),
            tier: key.tier,
            created_at: time(key.created_at),
        }
    }
}

impl Model for Credentials {}

/// A partner, as it is told of itself.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PartnerDetail {
    /// Names the partner.
    partner_id: String,
    /// What the service is called; null where this node cannot read it.
    name: Option<String>,
    /// What it does.
    description: Option<String>,
    /// Its home page.
    website: Option<String>,
    /// An e-mail address.
    contact: Option<String>,
    /// explorer, analytics, wallet, exchange or other.
    #[schema(value_type = String)]
    integration_type: IntegrationType,
    /// What the partner may use: basic, pro or enterprise.
    #[schema(value_type = String)]
    tier: Tier,
    /// How many requests the partner may send.
    rate_limit: RateLimit,
    /// When it registered.
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
    /// The keys that hold, the newest last.
    keys: Vec<KeyDetail>,
}

/// A key that holds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyDetail {
    /// The beginning of the key's SHA-256.
    key_id: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Time,
    /// Until when it holds, if that is known.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Time>,
}

impl PartnerDetail {
    pub(crate) fn new(id: String, row: &PartnerRow, profile: Option<Profile>, now: Millis) -> Self {
        let key = |key: &KeyRow| KeyDetail {
            key_id: key_id(&key.pair.hash),
            created_at: time(key.made_at),
            expires_at: key.until.map(time),
        };
        let (name, description, website, contact) = profile.map_or_else(Default::default, |said| {
            (
                Some(said.name),
                Some(said.description),
                Some(said.website),
                Some(said.contact),
            )
        });
        Self {
            partner_id: id,
            name,
            description,
            website,
            contact,
            integration_type: row.integration,
            tier: row.tier,
            rate_limit: row.tier.into(),
            created_at: time(row.registered_at),
            keys: row.holding(now).map(key).collect(),
        }
    }
}

impl Model for PartnerDetail {}

/// What a partner asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Usage {
    /// Names the partner.
    pub(crate) partner_id: String,
    /// By day and endpoint; what is asked for comes here within half a minute.
    pub(crate) usage: Vec<DayOfUsage>,
    /// Number of requests, refused ones included.
    pub(crate) requests: u64,
    /// Number of requests beyond the limits.
    pub(crate) refused: u64,
}

/// What a partner asked of an endpoint on a day.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DayOfUsage {
    /// The day in UTC, such as `2026-01-31`.
    date: String,
    /// Method and route.
    endpoint: String,
    /// Number of requests, refused ones included.
    requests: u64,
    /// Number of requests beyond the limits.
    refused: u64,
}

impl DayOfUsage {
    pub(crate) fn new(day: u64, endpoint: String, row: UsageRow) -> Self {
        const SECONDS_OF_A_DAY: u64 = 86_400;
        const DATE: usize = "2026-01-31".len();
        let mut date = Time(day.saturating_mul(SECONDS_OF_A_DAY)).to_string();
        date.truncate(DATE);
        Self {
            date,
            endpoint,
            requests: row.requests,
            refused: row.refused,
        }
    }
}

impl Model for Usage {}

fn time(millis: Millis) -> Time {
    Time(millis / 1000)
}
