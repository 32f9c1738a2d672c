//! What becomes of partners: commands, which turn into events, and what is known of them.

use std::ops::ControlFlow;

use anyhow::{Context as _, ensure};
use cairn_api::{NewKey, PartnerCommand, Profile};
use cairn_domain::{
    Event, Hash,
    commit::Millis,
    events::{
        IntegrationType, PartnerErased, PartnerKey, PartnerKeyRevoked, PartnerKeyRotated,
        PartnerRegistered, PartnerResumed, PartnerSuspended, PartnerTierSet, Tier,
    },
    primitives::Bytes,
    projections::partners::{KeyRow, PartnerId, PartnerRow, Partners, stream},
};
use cairn_engine::{clock::now_millis, store::ReadView, vault::Vault};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Output, append};
use crate::{
    config::Prefixes,
    exit::{Exit, Failure},
    node::{Node, Shard},
};

/// Bytes of chance in a key, and in a secret.
const CHANCE: usize = 24;

/// What a secret of a partner is sealed for.
pub(crate) fn purpose(partner: &str) -> String {
    format!("the api secret of {partner}")
}

/// What a partner said of itself; none where this node does not have the key to it.
pub(crate) fn profile(node: &Node, id: &str, row: &PartnerRow) -> anyhow::Result<Option<Profile>> {
    let opened = node.vault()?.open_profile(id, &row.profile.0)?;
    let read = opened.map(|json| serde_json::from_slice(&json));
    Ok(read.transpose()?)
}

/// Does what changes a partner, and waits until it is folded.
pub(super) async fn perform(
    node: &Node,
    shard: &Shard,
    command: PartnerCommand,
    output: &Output,
) -> anyhow::Result<Value> {
    super::fold(shard, output).await?;
    let maker = KeyMaker {
        vault: node.vault()?,
        prefixes: node.prefixes(),
    };
    let view = shard.store()?.view(None)?;
    let erased = match &command {
        PartnerCommand::Erase { id } => Some(id.clone()),
        _ => None,
    };
    let now = now_millis();
    let (event, key) = decide(&maker, &view, (now, command))?;
    let position = append::append_all(shard, &stream(), (now, &[event]), output).await?;
    if let Some(id) = erased {
        maker.vault.destroy_profile(&id)?;
    }
    Ok(json!({"position": position, "key": key}))
}

/// Destroys the keys of profiles of partners that are gone.
pub(crate) fn destroy_erased(node: &Node, shard: &Shard) -> anyhow::Result<()> {
    let (vault, view) = (node.vault()?, shard.store()?.view(None)?);
    for id in vault.profiles()? {
        let row = view.get::<Partners>(&stream(), &PartnerId { id: id.clone() })?;
        if row.is_some_and(|row| row.erased_at.is_some()) {
            vault.destroy_profile(&id)?;
        }
    }
    Ok(())
}

/// The event that a command makes of what is known, and the key that it makes.
fn decide(
    maker: &KeyMaker<'_>,
    view: &ReadView,
    (now, command): (Millis, PartnerCommand),
) -> anyhow::Result<(Event, Option<NewKey>)> {
    let event = match command {
        PartnerCommand::Register {
            profile,
            integration,
        } => return register(maker, &profile, integration, now),
        PartnerCommand::Rotate { id, grace } => {
            let row = found(view, &id)?;
            let (key, shown) = maker.make(&id, row.tier, now);
            let others_until = now.saturating_add(grace);
            let rotated = PartnerKeyRotated {
                id,
                key,
                others_until,
            };
            return Ok((rotated.into(), Some(shown)));
        }
        PartnerCommand::SetTier { id, tier } => {
            found(view, &id)?;
            PartnerTierSet { id, tier }.into()
        }
        PartnerCommand::Revoke { id, key } => {
            let row = found(view, &id)?;
            let key = key.map(|key| named_key(&row, &key, now)).transpose()?;
            PartnerKeyRevoked { id, key }.into()
        }
        PartnerCommand::Suspend { id, reason } => {
            found(view, &id)?;
            PartnerSuspended { id, reason }.into()
        }
        PartnerCommand::Resume { id } => {
            let row = found(view, &id)?;
            ensure!(row.suspended.is_some(), "partner {id} is not suspended");
            PartnerResumed { id }.into()
        }
        PartnerCommand::Erase { id } => {
            found(view, &id)?;
            PartnerErased { id }.into()
        }
    };
    Ok((event, None))
}

fn register(
    maker: &KeyMaker<'_>,
    profile: &Profile,
    integration: IntegrationType,
    now: Millis,
) -> anyhow::Result<(Event, Option<NewKey>)> {
    let id = uuid::Uuid::new_v4().to_string();
    let tier = integration.first_tier();
    let (key, shown) = maker.make(&id, tier, now);
    let profile = maker
        .vault
        .seal_profile(&id, &serde_json::to_vec(profile)?)?;
    let registered = PartnerRegistered {
        id,
        integration,
        tier,
        profile: Bytes(profile),
        key,
    };
    Ok((registered.into(), Some(shown)))
}

fn found(view: &ReadView, id: &str) -> anyhow::Result<PartnerRow> {
    // NUL would end the key.
    let row = match id.contains('\0') {
        true => None,
        false => view.get::<Partners>(&stream(), &PartnerId { id: id.to_owned() })?,
    };
    let row = row.filter(|row| row.erased_at.is_none());
    row.ok_or_else(|| {
        let message = format!("there is no partner {id}: `cairn partner list` shows them");
        Failure::new(Exit::Usage, message).into()
    })
}

fn named_key(row: &PartnerRow, name: &str, now: Millis) -> anyhow::Result<Hash> {
    let mut holding = row.holding(now).map(|key| key.pair.hash);
    let found = holding.find(|hash| cairn_api::key_id(hash) == name);
    found.ok_or_else(|| {
        let message =
            format!("no key {name} of it holds: `cairn partner show` lists those that do");
        Failure::new(Exit::Usage, message).into()
    })
}

/// Makes keys and secrets.
struct KeyMaker<'a> {
    vault: &'a Vault,
    prefixes: &'a Prefixes,
}

impl KeyMaker<'_> {
    /// A pair as the log keeps it, and as its owner sees it once.
    fn make(&self, id: &str, tier: Tier, now: Millis) -> (PartnerKey, NewKey) {
        let chance = || const_hex::encode(rand::random::<[u8; CHANCE]>());
        let api_key = format!("{}{}", self.prefixes.key, chance());
        let api_secret = format!("{}{}", self.prefixes.secret, chance());
        let kept = PartnerKey {
            hash: cairn_api::hash_of_key(&api_key),
            secret: Bytes(self.vault.seal(&purpose(id), api_secret.as_bytes())),
        };
        let shown = NewKey {
            partner_id: id.to_owned(),
            api_key,
            api_secret,
            tier,
            created_at: now,
        };
        (kept, shown)
    }
}

/// Every partner, in the order of their ids.
pub(super) fn list(node: &Node, shard: &Shard) -> anyhow::Result<Value> {
    let view = shard.store()?.view(None)?;
    let mut rows = Vec::new();
    view.scan::<Partners>(&stream(), &(), None, |row| {
        rows.push((row.key.id, row.value));
        Ok(ControlFlow::Continue(()))
    })?;
    let told: anyhow::Result<Vec<_>> = rows.iter().map(|(id, row)| tell(node, id, row)).collect();
    Ok(told?.into())
}

/// One partner.
pub(super) fn show(node: &Node, shard: &Shard, id: &str) -> anyhow::Result<Value> {
    let view = shard.store()?.view(None)?;
    let row = view.get::<Partners>(&stream(), &PartnerId { id: id.to_owned() })?;
    let row = row.with_context(|| {
        let message = format!("there is no partner {id}: `cairn partner list` shows them");
        Failure::new(Exit::Usage, message)
    })?;
    tell(node, id, &row)
}

fn tell(node: &Node, id: &str, row: &PartnerRow) -> anyhow::Result<Value> {
    let now = now_millis();
    let status = match (&row.erased_at, &row.suspended) {
        (Some(_), _) => "erased",
        (None, Some(_)) => "suspended",
        (None, None) if row.holding(now).next().is_none() => "revoked",
        (None, None) => "active",
    };
    let key = |key: &KeyRow| {
        json!({
            "key_id": cairn_api::key_id(&key.pair.hash),
            "created_at": time(key.made_at),
            "expires_at": key.until.map(time),
        })
    };
    Ok(json!({
        "id": id,
        "status": status,
        "tier": row.tier,
        "integration_type": row.integration,
        "created_at": time(row.registered_at),
        "suspended": row.suspended,
        "erased_at": row.erased_at.map(time),
        "keys": row.holding(now).map(key).collect::<Vec<_>>(),
        "profile": profile(node, id, row)?,
    }))
}

fn time(millis: Millis) -> String {
    let millis = i64::try_from(millis).unwrap_or(i64::MAX);
    Timestamp::from_millisecond(millis)
        .unwrap_or(Timestamp::MAX)
        .to_string()
}
