//! Who asks, what they may see, and how much they may ask for.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use axum::{
    extract::{ConnectInfo, FromRequestParts, MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, Method, header, request::Parts},
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use cairn_domain::{
    Hash,
    events::{Tier, UsageCount, Visibility},
    projections::partners::PartnerRow,
};
use cairn_engine::clock::now_millis;
use serde_json::json;

use crate::{
    app::App,
    error::{ApiError, ErrorCode},
};

mod accounts;
mod client;
mod windows;

pub(crate) use accounts::{Account, Accounts};
pub use accounts::{hash_of_key, key_id};
pub use client::Proxies;
use windows::Verdict;
pub(crate) use windows::{HEADERS, Quota};

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Who asks.
#[derive(Debug, Clone)]
pub(crate) enum Caller {
    /// Somebody with the operator key.
    Operator,
    /// A partner.
    Partner(Partner),
    /// Somebody at an address.
    Anonymous(IpAddr),
}

/// A partner that asks.
#[derive(Debug, Clone)]
pub(crate) struct Partner {
    pub(crate) account: Arc<Account>,
    pub(crate) row: Arc<PartnerRow>,
    /// The key that it showed.
    key: Hash,
}

impl Caller {
    /// What it is called where callers take turns.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Operator => "operator".into(),
            Self::Partner(partner) => partner.account.id.clone(),
            Self::Anonymous(address) => address.to_string(),
        }
    }

    /// What it may see.
    pub(crate) fn sees(&self) -> Visibility {
        match self {
            Self::Operator => Visibility::Operator,
            Self::Partner(_) | Self::Anonymous(_) => Visibility::Public,
        }
    }

    /// The partner, where it is one.
    pub(crate) fn partner(&self) -> Result<&Partner, ApiError> {
        match self {
            Self::Partner(partner) => Ok(partner),
            Self::Operator | Self::Anonymous(_) => Err(ApiError::new(
                ErrorCode::Unauthorized,
                "this is about a partner: show its key as `Authorization: Bearer …` or `X-Api-Key`",
            )),
        }
    }

    /// The same, as it is now: its key may hold no longer.
    pub(crate) fn renewed(&self, app: &App) -> Result<Self, ApiError> {
        match self {
            Self::Partner(known) => partner(app, known.key),
            Self::Operator | Self::Anonymous(_) => Ok(self.clone()),
        }
    }

    /// Refuses who has no such tier.
    pub(crate) fn require(&self, app: &App, needed: Tier) -> Result<(), ApiError> {
        let tier = match self {
            Self::Operator => return Ok(()),
            Self::Partner(partner) if partner.row.tier >= needed => return Ok(()),
            _ if app.config.open_access => return Ok(()),
            Self::Partner(partner) => Some(partner.row.tier),
            Self::Anonymous(_) => None,
        };
        let message = match tier {
            Some(tier) => format!(
                "this needs the tier {needed}, and yours is {tier}: ask the operator for it"
            ),
            None => format!(
                "this needs a key of the tier {needed}: register, then show it as `Authorization: Bearer …` or `X-Api-Key`"
            ),
        };
        let details = json!({"required": needed, "tier": tier});
        Err(ApiError::new(ErrorCode::TierRequired(needed), message).with(details))
    }
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| {
            tracing::error!(path = parts.uri.path(), "a route does not ask who calls");
            ApiError::new(ErrorCode::Internal, "the server does not know who calls")
        })
    }
}

/// The key that a request shows, if it shows one.
fn shown_key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let unreadable = || refused("the key is not readable: send the text that registration gave");
    if let Some(value) = headers.get(header::AUTHORIZATION) {
        let text = value.to_str().map_err(|_| unreadable())?;
        let (scheme, key) = text.split_once(' ').unwrap_or((text, ""));
        return match scheme.eq_ignore_ascii_case("bearer") {
            true => Ok(Some(key.trim())),
            false => Err(refused("the scheme of `Authorization` is Bearer")),
        };
    }
    let key = headers.get(&API_KEY).map(|value| value.to_str());
    key.transpose().map_err(|_| unreadable())
}

fn refused(message: &str) -> ApiError {
    ApiError::new(ErrorCode::Unauthorized, message)
}

/// Finds out who shows a key.
pub(crate) fn identify(app: &App, key: &str) -> Result<Caller, ApiError> {
    // Hashes compare in constant time.
    if app.config.operator_key == Some(blake3::hash(key.as_bytes())) {
        return Ok(Caller::Operator);
    }
    partner(app, hash_of_key(key))
}

/// The partner with a key, by its hash.
fn partner(app: &App, key: Hash) -> Result<Caller, ApiError> {
    let known = app.accounts.find(app.first_shard(), key, now_millis())?;
    let known = known.ok_or_else(|| refused("the key is wrong, or holds no longer"))?;
    if let Some(reason) = &known.row.suspended {
        let message = format!("you are suspended: {reason}; ask the operator");
        return Err(ApiError::new(ErrorCode::Suspended, message));
    }
    Ok(Caller::Partner(Partner {
        account: known.account,
        row: known.row,
        key,
    }))
}

/// The layer around every route that somebody may use or not.
pub(crate) async fn admit(
    State(app): State<Arc<App>>,
    mut request: Request,
    next: Next,
) -> Response {
    let address = client(&app, &request);
    let caller = shown_key(request.headers()).and_then(|key| match key {
        Some(key) => identify(&app, key),
        None => Ok(Caller::Anonymous(address)),
    });
    // Who guesses keys is limited as one who shows none.
    let limited = match &caller {
        Ok(caller) => caller.clone(),
        Err(_) => Caller::Anonymous(address),
    };
    let verdict = take(&app, &limited);
    let is_refused = verdict.is_some_and(|verdict| !verdict.is_taken);
    if let Caller::Partner(partner) = &limited {
        partner.account.count(&endpoint(&request), is_refused);
    }
    let mut response = match (caller, verdict) {
        (_, Some(verdict)) if is_refused => too_many(&verdict).into_response(),
        (Err(error), _) => error.into_response(),
        (Ok(caller), _) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
    };
    if let Some(verdict) = verdict {
        verdict.show(response.headers_mut());
    }
    response
}

/// Where a request comes from, as limits know it.
pub(crate) fn client(app: &App, request: &Request) -> IpAddr {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    let peer = peer.map_or(SocketAddr::from(([0, 0, 0, 0], 0)), |peer| peer.0);
    client::limited(app.config.proxies.client(peer, request.headers()))
}

/// Counts a request of who is limited.
fn take(app: &App, caller: &Caller) -> Option<Verdict> {
    if !app.config.limits_enabled {
        return None;
    }
    let now = now_millis() / 1000;
    match caller {
        Caller::Operator => None,
        Caller::Partner(partner) => {
            let quota = Quota::of(partner.row.tier);
            Some(partner.account.windows.take(quota, now))
        }
        Caller::Anonymous(address) => {
            let tier = match app.config.open_access {
                true => Tier::Enterprise,
                false => Tier::Basic,
            };
            let windows = app.accounts.anonymous(*address);
            Some(windows.take(Quota::of(tier), now))
        }
    }
}

/// Counts a registration, which an address may send only a few of.
pub(crate) fn admit_registration(app: &App, address: IpAddr) -> Result<(), ApiError> {
    if !app.config.limits_enabled {
        return Ok(());
    }
    let most = app.config.registrations_per_hour;
    let quota = Quota {
        per_minute: most,
        per_hour: most,
    };
    let verdict = app
        .accounts
        .registering(address)
        .take(quota, now_millis() / 1000);
    match verdict.is_taken {
        true => Ok(()),
        false => {
            let message =
                format!("from one address {most} may register in an hour: try again later");
            Err(ApiError::new(ErrorCode::RateLimited, message).after(verdict.retry_after()))
        }
    }
}

fn too_many(verdict: &Verdict) -> ApiError {
    let left = verdict.tightest();
    let seconds = verdict.retry_after();
    let message = format!(
        "these were your {} requests: ask again in {seconds} s",
        left.limit
    );
    let details = json!({"limit": left.limit, "reset": left.reset});
    ApiError::new(ErrorCode::RateLimited, message)
        .with(details)
        .after(seconds)
}

/// Method and route, without the prefix: of what is asked under either of them one thing is counted.
fn endpoint(request: &Request) -> String {
    let route = request.extensions().get::<MatchedPath>();
    let route = route.map_or("unmatched", MatchedPath::as_str);
    let bare = route.strip_prefix("/api").unwrap_or(route);
    let bare = bare.strip_prefix("/v1").unwrap_or(bare);
    // Clients may make up others, as many as they like.
    let method = match *request.method() {
        Method::GET | Method::HEAD | Method::POST | Method::DELETE => request.method().as_str(),
        _ => "OTHER",
    };
    format!("{method} {bare}")
}

impl App {
    /// What somebody may see who shows this key, or none, where a tier is needed.
    ///
    /// # Errors
    /// Why it is nothing.
    pub fn sees(&self, key: Option<&str>, needed: Tier) -> Result<Visibility, String> {
        let caller = match key {
            Some(key) => identify(self, key),
            None => Ok(Caller::Anonymous(IpAddr::from([0, 0, 0, 0]))),
        };
        let caller = caller.and_then(|caller| caller.require(self, needed).map(|()| caller));
        caller
            .map(|caller| caller.sees())
            .map_err(|error| error.to_string())
    }

    /// Takes what partners asked for since it was taken last: for an event.
    pub fn take_usage(&self) -> Vec<UsageCount> {
        self.accounts.take_usage()
    }

    /// Gives back what was taken and came into no event.
    pub fn put_usage_back(&self, counts: Vec<UsageCount>) {
        self.accounts.put_back(counts);
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_key_is_shown_as_a_bearer_token_or_in_a_header_of_its_own() {
        let shown = |name: HeaderName, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            let key = shown_key(&headers).map(|key| key.map(str::to_owned));
            key.map_err(|error| error.code)
        };
        let key = || Ok(Some("aitbc_1".to_owned()));
        assert_eq!(shown(header::AUTHORIZATION, "Bearer aitbc_1"), key());
        assert_eq!(shown(header::AUTHORIZATION, "bearer  aitbc_1 "), key());
        assert_eq!(shown(API_KEY, "aitbc_1"), key());
        assert_eq!(shown(header::ACCEPT, "aitbc_1"), Ok(None));
        let basic = shown(header::AUTHORIZATION, "Basic YTpi");
        assert_eq!(basic, Err(ErrorCode::Unauthorized));
    }
}
