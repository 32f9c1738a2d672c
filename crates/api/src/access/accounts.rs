//! The partners that ask, and what each asked for. Who a key belongs to is read from the store, and remembered
//! until the store moves.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, atomic::AtomicUsize},
};

use cairn_domain::{
    Hash, Position,
    commit::Millis,
    events::UsageCount,
    projections::partners::{
        KeyHash, PartnerId, PartnerKeys, PartnerRow, Partners, RecentKey, RecentUsage, UsageRow,
        stream,
    },
};
use cairn_engine::store::ReadView;
use quick_cache::sync::Cache;
use sha2::{Digest as _, Sha256};

use super::windows::Windows;
use crate::{error::ApiError, shard::Shard};

/// So many keys are remembered, and so many addresses; who is forgotten is looked up, or counted, anew.
const KEYS: usize = 10_000;
const ADDRESSES: usize = 100_000;

/// What is kept of a key, and of what is compared with one.
pub fn hash_of_key(key: &str) -> Hash {
    Hash(Sha256::digest(key.as_bytes()).into())
}

/// A partner that asked since the start.
#[derive(Debug)]
pub(crate) struct Account {
    /// Its id.
    pub(crate) id: String,
    pub(crate) windows: Windows,
    /// How many of its connections follow events.
    pub(crate) connections: AtomicUsize,
    /// What is in no event yet, by endpoint.
    usage: Mutex<BTreeMap<String, UsageRow>>,
}

impl Account {
    fn usage(&self) -> MutexGuard<'_, BTreeMap<String, UsageRow>> {
        self.usage.lock().expect("no panic holds it")
    }

    /// Counts a request.
    pub(crate) fn count(&self, endpoint: &str, is_refused: bool) {
        let mut usage = self.usage();
        let row = match usage.get_mut(endpoint) {
            Some(row) => row,
            None => usage.entry(endpoint.to_owned()).or_default(),
        };
        row.requests += 1;
        row.refused += u64::from(is_refused);
    }

    fn put_back(&self, endpoint: String, counted: UsageRow) {
        let mut usage = self.usage();
        let row = usage.entry(endpoint).or_default();
        row.requests += counted.requests;
        row.refused += counted.refused;
    }
}

/// What a key stands for.
#[derive(Debug, Clone)]
pub(crate) struct Known {
    pub(crate) account: Arc<Account>,
    pub(crate) row: Arc<PartnerRow>,
    /// As of which position.
    position: Position,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Accounts {
    known: Cache<Hash, Known>,
    accounts: Mutex<HashMap<String, Arc<Account>>>,
    /// Those who show no key.
    anonymous: Cache<IpAddr, Arc<Windows>>,
    /// Those who register.
    registering: Cache<IpAddr, Arc<Windows>>,
}

impl Default for Accounts {
    fn default() -> Self {
        Self {
            known: Cache::new(KEYS),
            accounts: Mutex::default(),
            anonymous: Cache::new(ADDRESSES),
            registering: Cache::new(ADDRESSES),
        }
    }
}

impl Accounts {
    fn accounts(&self) -> MutexGuard<'_, HashMap<String, Arc<Account>>> {
        self.accounts.lock().expect("no panic holds it")
    }

    /// What an address asked for that shows no key.
    pub(crate) fn anonymous(&self, address: IpAddr) -> Arc<Windows> {
        of_address(&self.anonymous, address)
    }

    /// How often an address registered.
    pub(crate) fn registering(&self, address: IpAddr) -> Arc<Windows> {
        of_address(&self.registering, address)
    }

    /// The partner whose key has this hash; none if it is nobody's, or does not hold at this moment.
    pub(crate) fn find(
        &self,
        shard: &Shard,
        hash: Hash,
        now: Millis,
    ) -> Result<Option<Known>, ApiError> {
        let latest = shard.position();
        let known = match self.known.get(&hash) {
            Some(known) if known.position == latest => Some(known),
            _ => self.read(shard, hash)?,
        };
        Ok(known.filter(|known| known.row.key(&hash, now).is_some()))
    }

    fn read(&self, shard: &Shard, hash: Hash) -> Result<Option<Known>, ApiError> {
        let view = shard.store.view(None)?;
        let owner = view.get::<PartnerKeys>(&stream(), &KeyHash { hash })?;
        let Some(owner) = owner else {
            return Ok(None);
        };
        let id = PartnerId { id: owner.id };
        let Some(row) = view.get::<Partners>(&stream(), &id)? else {
            return Ok(None);
        };
        let known = Known {
            account: self.account(&view, id.id)?,
            row: Arc::new(row),
            position: view.position(),
        };
        self.known.insert(hash, known.clone());
        Ok(Some(known))
    }

    fn account(&self, view: &ReadView, id: String) -> Result<Arc<Account>, ApiError> {
        if let Some(account) = self.accounts().get(&id) {
            return Ok(Arc::clone(account));
        }
        let key = RecentKey {
            partner: id.clone(),
        };
        let recent = view.get::<RecentUsage>(&stream(), &key)?;
        let account = Account {
            id: id.clone(),
            windows: recent.map(Windows::from).unwrap_or_default(),
            connections: AtomicUsize::new(0),
            usage: Mutex::default(),
        };
        let mut accounts = self.accounts();
        let account = accounts.entry(id).or_insert_with(|| Arc::new(account));
        Ok(Arc::clone(account))
    }

    /// Takes what was counted since it was taken last.
    pub(crate) fn take_usage(&self) -> Vec<UsageCount> {
        let mut counts = Vec::new();
        for account in self.accounts().values() {
            let usage = std::mem::take(&mut *account.usage());
            counts.extend(usage.into_iter().map(|(endpoint, row)| UsageCount {
                partner: account.id.clone(),
                endpoint,
                requests: row.requests,
                refused: row.refused,
            }));
        }
        counts
    }

    /// Gives back what was taken and is in no event.
    pub(crate) fn put_back(&self, counts: Vec<UsageCount>) {
        let accounts = self.accounts();
        for count in counts {
            if let Some(account) = accounts.get(&count.partner) {
                let counted = UsageRow {
                    requests: count.requests,
                    refused: count.refused,
                };
                account.put_back(count.endpoint, counted);
            }
        }
    }
}

fn of_address(known: &Cache<IpAddr, Arc<Windows>>, address: IpAddr) -> Arc<Windows> {
    let new = || Ok::<_, Infallible>(Arc::default());
    let Ok(windows) = known.get_or_insert_with(&address, new);
    windows
}

/// What is told of a key to those who may know which one it is.
pub fn key_id(hash: &Hash) -> String {
    const BYTES: usize = 6;
    const_hex::encode(&hash.0[..BYTES])
}
