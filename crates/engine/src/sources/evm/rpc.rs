//! JSON-RPC over HTTP: batches out, bounded bodies in.
//!
//! Requests and the HTTP client are alloy's. Its own transport reads bodies without a bound, so the
//! body is read here; the answers stay text inside it until the decoder takes them.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use alloy::{
    rpc::json_rpc::{Id, Request, RequestPacket},
    transports::http::reqwest::{self, Client, Response, StatusCode, header},
};
use serde_json::Value;

use super::{answers::Answers, batches::Batches};
use crate::sources::RetryPolicy;

/// Why a node did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RpcError {
    /// It asks for less.
    #[error("the node asks to slow down: {reason}")]
    Busy {
        reason: String,
        retry_after: Option<Duration>,
    },
    /// The request was too much for it, or took too long.
    #[error("the node cannot answer so much at once: {0}")]
    TooMuch(String),
    /// It does not know the method.
    #[error("the node does not know {0}")]
    NoMethod(&'static str),
    /// It answered a call with an error.
    #[error("the node refused {method}: {message} (code {code})")]
    Refused {
        method: &'static str,
        code: i64,
        message: String,
    },
    /// The contract that was called failed, which no other try will change.
    #[error("the contract failed: {0}")]
    Reverted(String),
    /// It is not there, broken, or answers nonsense.
    #[error("the node does not answer properly: {0}")]
    Unavailable(String),
}

impl RpcError {
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// One call of a batch.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) method: &'static str,
    pub(super) params: Value,
}

/// A node's HTTP address. It may hold a key, so no message and no log line shows it.
pub(super) struct Rpc {
    client: Client,
    url: String,
    body_bytes: usize,
    next_id: AtomicU64,
    /// How many calls it takes at once.
    pub(super) batches: Batches,
}

impl fmt::Debug for Rpc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rpc")
            .field("batches", &self.batches)
            .finish_non_exhaustive()
    }
}

impl Rpc {
    /// # Errors
    /// A sentence when the address cannot be used.
    pub(super) fn new(url: &str, policy: &RetryPolicy) -> Result<Self, String> {
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(
                "key `url`: it does not start with http:// or https://; a WebSocket address belongs under `ws`"
                    .into(),
            );
        }
        reqwest::Url::parse(url).map_err(|error| format!("key `url`: {error}"))?;
        let connect = policy.timeout.min(Duration::from_secs(10));
        let client = Client::builder()
            .timeout(policy.timeout)
            .connect_timeout(connect)
            .build();
        Ok(Self {
            client: client.map_err(|error| error.without_url().to_string())?,
            url: url.to_owned(),
            body_bytes: policy.body_bytes,
            next_id: AtomicU64::new(1),
            batches: Batches::new(),
        })
    }

    /// Sends calls as one HTTP request.
    pub(super) async fn send(&self, calls: Vec<Call>) -> Result<Answers, RpcError> {
        let first_id = self
            .next_id
            .fetch_add(calls.len() as u64, Ordering::Relaxed);
        let methods: Vec<_> = calls.iter().map(|call| call.method).collect();
        let is_batch = methods.len() > 1;
        let body = self.post(request_body(calls, first_id)?, is_batch).await?;
        Ok(Answers {
            body,
            first_id,
            methods,
        })
    }

    async fn post(&self, body: String, is_batch: bool) -> Result<Vec<u8>, RpcError> {
        let request = self
            .client
            .post(&self.url)
            .header(header::CONTENT_TYPE, "application/json");
        let mut response = request.body(body).send().await.map_err(transport_error)?;
        let status = response.status();
        let retry_after = retry_after(&response);
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(transport_error)? {
            if body.len() + chunk.len() > self.body_bytes {
                let reason = format!("the answer is longer than {} bytes", self.body_bytes);
                return Err(RpcError::TooMuch(reason));
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            Ok(body)
        } else {
            let reason = format!("HTTP status {status}: {}", self.shown(&body));
            Err(status_error(status, retry_after, reason, is_batch))
        }
    }

    /// The start of a body without the path that was asked for: servers like to repeat it.
    fn shown(&self, body: &[u8]) -> String {
        let path = match self.url.splitn(4, '/').nth(3) {
            Some(path) if !path.is_empty() => path,
            _ => return start_of(body),
        };
        // One that begins in what is shown is looked at as a whole.
        let start = &body[..body.len().min(SHOWN + path.len())];
        start_of(String::from_utf8_lossy(start).replace(path, "…").as_bytes())
    }
}

fn request_body(calls: Vec<Call>, first_id: u64) -> Result<String, RpcError> {
    let numbered = calls.into_iter().zip(first_id..);
    let requests = numbered
        .map(|(call, id)| Request::new(call.method, Id::Number(id), call.params).serialize());
    let mut requests: Vec<_> = requests.collect::<Result<_, _>>().map_err(unserializable)?;
    let packet = match requests.len() {
        // A call alone goes without an array, for nodes that know no batches.
        1 => RequestPacket::Single(requests.remove(0)),
        _ => RequestPacket::Batch(requests),
    };
    Ok(packet.serialize().map_err(unserializable)?.get().to_owned())
}

fn unserializable(error: serde_json::Error) -> RpcError {
    RpcError::Unavailable(error.to_string())
}

fn transport_error(error: reqwest::Error) -> RpcError {
    let error = error.without_url();
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        reason = format!("{reason}: {cause}");
        source = cause.source();
    }
    // A connection that cannot be made in time is not cured by asking for less.
    match error.is_timeout() && !error.is_connect() {
        true => RpcError::TooMuch(reason),
        false => RpcError::Unavailable(reason),
    }
}

fn retry_after(response: &Response) -> Option<Duration> {
    let text = |name| response.headers().get(name)?.to_str().ok();
    pause(text(header::RETRY_AFTER)?, text(header::DATE))
}

/// How long to wait: `Retry-After` is seconds or a date (RFC 9110, 10.2.3), which counts from the
/// other side's own clock where that is told.
fn pause(retry_after: &str, date: Option<&str>) -> Option<Duration> {
    if let Ok(seconds) = retry_after.trim().parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(retry_after.trim()).ok()?;
    let now = date.and_then(|date| httpdate::parse_http_date(date).ok());
    let left = until.duration_since(now.unwrap_or_else(SystemTime::now));
    // A date that has passed asks for no pause.
    Some(left.unwrap_or_default())
}

fn status_error(
    status: StatusCode,
    retry_after: Option<Duration>,
    reason: String,
    is_batch: bool,
) -> RpcError {
    match status {
        StatusCode::TOO_MANY_REQUESTS => RpcError::Busy {
            reason,
            retry_after,
        },
        StatusCode::PAYLOAD_TOO_LARGE | StatusCode::GATEWAY_TIMEOUT => RpcError::TooMuch(reason),
        _ if retry_after.is_some() => RpcError::Busy {
            reason,
            retry_after,
        },
        // So says a server that knows single calls only.
        StatusCode::BAD_REQUEST if is_batch => RpcError::TooMuch(reason),
        _ => RpcError::Unavailable(reason),
    }
}

/// Bytes of a body that messages show.
const SHOWN: usize = 200;

/// The start of a body, for messages.
pub(super) fn start_of(body: &[u8]) -> String {
    let start = &body[..body.len().min(SHOWN)];
    String::from_utf8_lossy(start)
        .chars()
        .filter(|c| !c.is_control())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_part_of_a_nodes_path_is_shown() {
        let policy = RetryPolicy::default();
        let rpc = Rpc::new("https://me:KEY@node.example/v3/KEY?t=KEY", &policy).unwrap();
        let long = format!("{}Cannot POST /v3/KEY?t=KEY", "x".repeat(SHOWN - 20));
        for body in ["Cannot POST /v3/KEY?t=KEY", &long] {
            let shown = rpc.shown(body.as_bytes());
            assert!(shown.contains("Cannot POST /"), "{shown}");
            assert!(!shown.contains("KEY"), "{shown}");
        }
        assert!(!format!("{rpc:?}").contains("KEY"));
        for bad in ["ftp://node/KEY", "http://:KEY", "http://a b/KEY"] {
            let error = Rpc::new(bad, &policy).unwrap_err();
            assert!(
                error.contains("key `url`") && !error.contains("KEY"),
                "{error}"
            );
        }
    }

    #[tokio::test]
    async fn the_address_of_a_node_that_is_down_is_in_no_error() {
        let policy = RetryPolicy::default();
        let rpc = Rpc::new("http://127.0.0.1:1/v3/KEY", &policy).unwrap();
        let error = rpc.send(Vec::new()).await.unwrap_err().to_string();
        assert!(
            error.contains("refused") && !error.contains("KEY"),
            "{error}"
        );
    }

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_until_a_date() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let later = "Sun, 06 Nov 1994 08:51:37 GMT";
        assert_eq!(pause(" 7 ", None), Some(Duration::from_secs(7)));
        assert_eq!(pause(later, Some(date)), Some(Duration::from_secs(120)));
        assert_eq!(pause(date, Some(later)), Some(Duration::ZERO));
        assert_eq!(pause(later, None), Some(Duration::ZERO));
        assert_eq!(pause("soon", Some(date)), None);
        let far = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(60));
        assert!(pause(&far, None).is_some_and(|pause| pause > Duration::from_secs(50)));
    }
}
