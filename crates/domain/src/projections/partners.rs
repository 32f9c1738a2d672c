//! Partners: who they are, what they may use, and what they used.

use bincode::{Decode, Encode};

use super::{FoldError, Folded, Projection, View};
use crate::{
    commit::{Millis, Stream},
    events::{ApiUsed, Event, IntegrationType, PartnerKey, PartnerRegistered, Tier, UsageCount},
    primitives::{Bytes, Hash},
    table,
    table::{Table, TableDef},
};

table! {
    /// Every partner, by its id.
    pub versioned Partners = "partners" {
        key PartnerId { id: String },
        value: PartnerRow,
    }
}

table! {
    /// Whose a key is, by its SHA-256.
    pub versioned PartnerKeys = "partner_keys" {
        key KeyHash { hash: Hash },
        value: PartnerOfKey,
    }
}

table! {
    /// What partners asked for on each day, counted from 1970, by endpoint.
    pub versioned PartnerUsage = "partner_usage" {
        key UsageKey { partner: String, day: u64, endpoint: String },
        value: UsageRow,
        scan: by_first,
    }
}

table! {
    /// What each partner asked for in the last minute and hour that it asked anything in.
    pub versioned RecentUsage = "partner_recent_usage" {
        key RecentKey { partner: String },
        value: RecentRow,
    }
}

/// What is known of a partner.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct PartnerRow {
    /// What the partner does.
    pub integration: IntegrationType,
    /// What the partner may use.
    pub tier: Tier,
    /// When it became a partner, in milliseconds since 1970.
    pub registered_at: Millis,
    /// Name, description, website and contact, sealed under a key of its own.
    pub profile: Bytes,
    /// Its keys, the newest last; those that hold no longer go with the next rotation.
    pub keys: Vec<KeyRow>,
    /// Why it is shut out, if it is.
    pub suspended: Option<String>,
    /// When it was erased, if it was.
    pub erased_at: Option<Millis>,
}

impl PartnerRow {
    /// The key with this hash, if it holds at a moment.
    pub fn key(&self, hash: &Hash, now: Millis) -> Option<&KeyRow> {
        self.keys
            .iter()
            .find(|key| key.pair.hash == *hash && key.holds(now))
    }

    /// The keys that hold at a moment, the newest last.
    pub fn holding(&self, now: Millis) -> impl DoubleEndedIterator<Item = &KeyRow> {
        self.keys.iter().filter(move |key| key.holds(now))
    }
}

/// A key of a partner.
#[derive(Debug, Clone, PartialEq, Encode, Decode)]
pub struct KeyRow {
    /// The hash of the key, and the secret that came with it.
    pub pair: PartnerKey,
    /// When it was made.
    pub made_at: Millis,
    /// From when on it holds no longer, if that is known.
    pub until: Option<Millis>,
}

impl KeyRow {
    /// Whether it holds at a moment.
    pub fn holds(&self, now: Millis) -> bool {
        self.until.is_none_or(|until| now < until)
    }

    fn ends(&mut self, until: Millis) {
        self.until = Some(self.until.map_or(until, |before| before.min(until)));
    }
}

/// Whose a key is.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PartnerOfKey {
    /// The partner.
    pub id: String,
}

/// What was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct UsageRow {
    /// Number of requests, refused ones included.
    pub requests: u64,
    /// Number of requests beyond the limits.
    pub refused: u64,
}

/// What a partner asked for lately; refused requests count in no window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
pub struct RecentRow {
    /// The minute, in minutes since 1970.
    pub minute: u64,
    /// Requests in that minute.
    pub in_minute: u64,
    /// Requests in the hour that it is a part of.
    pub in_hour: u64,
}

impl RecentRow {
    fn add(&mut self, minute: u64, requests: u64) {
        if minute / 60 > self.minute / 60 {
            self.in_hour = 0;
        }
        if minute > self.minute {
            (self.minute, self.in_minute) = (minute, 0);
        }
        if minute == self.minute {
            self.in_minute += requests;
        }
        if minute / 60 == self.minute / 60 {
            self.in_hour += requests;
        }
    }
}

/// The stream of all partners of a log.
pub fn stream() -> Stream {
    Stream::new("partners/all").expect("it has a kind and a name")
}

/// See the module.
#[derive(Debug)]
pub struct PartnerList;

impl Projection for PartnerList {
    fn name(&self) -> &'static str {
        "partners"
    }

    fn version(&self) -> u32 {
        1
    }

    fn doc(&self) -> &'static str {
        "Partners: who they are, what they may use, and what they used."
    }

    fn tables(&self) -> &'static [&'static TableDef] {
        &[
            Partners::DEF,
            PartnerKeys::DEF,
            PartnerUsage::DEF,
            RecentUsage::DEF,
        ]
    }

    fn apply(&self, folded: &Folded<'_>, view: &mut View<'_>) -> Result<(), FoldError> {
        let time = folded.commit.header.event_time;
        for event in &folded.commit.events {
            match event {
                Event::PartnerRegistered(registered) => register(registered, time, view)?,
                Event::PartnerKeyRotated(rotated) => change(view, &rotated.id, |row, view| {
                    rotate(row, &rotated.key, rotated.others_until, time, view);
                    own(&rotated.id, &rotated.key.hash, view);
                })?,
                Event::PartnerKeyRevoked(revoked) => change(view, &revoked.id, |row, _| {
                    let is_meant =
                        |key: &&mut KeyRow| revoked.key.is_none_or(|hash| key.pair.hash == hash);
                    row.keys
                        .iter_mut()
                        .filter(is_meant)
                        .for_each(|key| key.ends(time));
                })?,
                Event::PartnerTierSet(set) => {
                    change(view, &set.id, |row, _| row.tier = set.tier)?;
                }
                Event::PartnerSuspended(suspended) => change(view, &suspended.id, |row, _| {
                    row.suspended = Some(suspended.reason.clone());
                })?,
                Event::PartnerResumed(resumed) => {
                    change(view, &resumed.id, |row, _| row.suspended = None)?;
                }
                Event::PartnerErased(erased) => change(view, &erased.id, |row, view| {
                    forget_keys(row, view, |_| true);
                    row.profile = Bytes::default();
                    row.erased_at = Some(time);
                })?,
                Event::ApiUsed(used) => count(used, view)?,
                _ => {}
            }
        }
        Ok(())
    }
}

fn register(
    registered: &PartnerRegistered,
    time: Millis,
    view: &mut View<'_>,
) -> Result<(), FoldError> {
    let id = PartnerId {
        id: registered.id.clone(),
    };
    // A registration that was sent twice is one.
    if view.get::<Partners>(&id)?.is_some() {
        return Ok(());
    }
    let row = PartnerRow {
        integration: registered.integration,
        tier: registered.tier,
        registered_at: time,
        profile: registered.profile.clone(),
        keys: vec![KeyRow {
            pair: registered.key.clone(),
            made_at: time,
            until: None,
        }],
        suspended: None,
        erased_at: None,
    };
    view.put::<Partners>(&id, &row);
    own(&registered.id, &registered.key.hash, view);
    Ok(())
}

/// Changes a partner; one that is not there, or not there any more, stays so.
fn change(
    view: &mut View<'_>,
    id: &str,
    change: impl FnOnce(&mut PartnerRow, &mut View<'_>),
) -> Result<(), FoldError> {
    let id = PartnerId { id: id.to_owned() };
    let row = view.get::<Partners>(&id)?;
    if let Some(mut row) = row.filter(|row| row.erased_at.is_none()) {
        change(&mut row, view);
        view.put::<Partners>(&id, &row);
    }
    Ok(())
}

fn rotate(
    row: &mut PartnerRow,
    pair: &PartnerKey,
    others_until: Millis,
    time: Millis,
    view: &mut View<'_>,
) {
    forget_keys(row, view, |key| !key.holds(time));
    for key in &mut row.keys {
        key.ends(others_until);
    }
    row.keys.push(KeyRow {
        pair: pair.clone(),
        made_at: time,
        until: None,
    });
}

fn forget_keys(row: &mut PartnerRow, view: &mut View<'_>, is_meant: impl Fn(&KeyRow) -> bool) {
    for key in row.keys.extract_if(.., |key| is_meant(key)) {
        view.delete::<PartnerKeys>(&KeyHash {
            hash: key.pair.hash,
        });
    }
}

fn own(id: &str, hash: &Hash, view: &mut View<'_>) {
    let owner = PartnerOfKey { id: id.to_owned() };
    view.put::<PartnerKeys>(&KeyHash { hash: *hash }, &owner);
}

fn count(used: &ApiUsed, view: &mut View<'_>) -> Result<(), FoldError> {
    const MINUTES_OF_A_DAY: u64 = 24 * 60;
    for UsageCount {
        partner,
        endpoint,
        requests,
        refused,
    } in &used.counts
    {
        let key = UsageKey {
            partner: partner.clone(),
            day: used.minute / MINUTES_OF_A_DAY,
            endpoint: endpoint.clone(),
        };
        let mut row = view.get::<PartnerUsage>(&key)?.unwrap_or_default();
        row.requests = row.requests.saturating_add(*requests);
        row.refused = row.refused.saturating_add(*refused);
        view.put::<PartnerUsage>(&key, &row);
        let key = RecentKey {
            partner: partner.clone(),
        };
        let mut recent = view.get::<RecentUsage>(&key)?.unwrap_or_default();
        recent.add(used.minute, requests.saturating_sub(*refused));
        view.put::<RecentUsage>(&key, &recent);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_counts_what_is_of_it_in_whatever_order_it_comes() {
        let mut recent = RecentRow::default();
        for (minute, requests) in [(60, 5), (61, 7), (60, 1), (61, 2), (59, 100)] {
            recent.add(minute, requests);
        }
        let expected = RecentRow {
            minute: 61,
            in_minute: 9,
            in_hour: 15,
        };
        assert_eq!(recent, expected);
        recent.add(120, 1);
        assert_eq!((recent.in_minute, recent.in_hour), (1, 1));
    }

    #[test]
    fn a_key_ends_at_the_earliest_moment_that_was_said() {
        let mut key = KeyRow {
            pair: PartnerKey {
                hash: Hash([1; 32]),
                secret: Bytes::default(),
            },
            made_at: 0,
            until: None,
        };
        assert!(key.holds(u64::MAX));
        key.ends(100);
        key.ends(200);
        assert!(key.holds(99) && !key.holds(100));
    }
}
