//! JSON-RPC over HTTP: batches out, bounded bodies in.
//!
//! Requests and the HTTP client are alloy's. Its own transport reads bodies without a bound, so the
//! body is read here; the answers stay text inside it until the decoder takes them.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use alloy::{
    rpc::json_rpc::{Id, Request, RequestPacket},
    transports::http::reqwest::{self, Client, Response, StatusCode, header},
};
use serde::Deserialize;
use serde_json::{Value, value::RawValue};

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

/// The answers to a batch, still text.
#[derive(Debug)]
pub(super) struct Answers {
    body: Vec<u8>,
    first_id: u64,
    methods: Vec<&'static str>,
}

/// The answer to one call: JSON text, or none for `null`.
pub(super) type Answer<'a> = Result<Option<&'a str>, RpcError>;

/// A node's HTTP address.
#[derive(Debug)]
pub(super) struct Rpc {
    client: Client,
    url: String,
    body_bytes: usize,
    next_id: AtomicU64,
}

impl Rpc {
    /// # Errors
    /// A sentence when the address cannot be used.
    pub(super) fn new(url: &str, policy: &RetryPolicy) -> Result<Self, String> {
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(format!(
                "key `url`: `{url}` does not start with http:// or https://; a WebSocket address belongs under `ws`"
            ));
        }
        reqwest::Url::parse(url).map_err(|error| format!("key `url`: `{url}`: {error}"))?;
        let connect = policy.timeout.min(Duration::from_secs(10));
        let client = Client::builder()
            .timeout(policy.timeout)
            .connect_timeout(connect)
            .build();
        Ok(Self {
            client: client.map_err(|error| error.to_string())?,
            url: url.to_owned(),
            body_bytes: policy.body_bytes,
            next_id: AtomicU64::new(1),
        })
    }

    /// Sends calls as one HTTP request.
    pub(super) async fn send(&self, calls: Vec<Call>) -> Result<Answers, RpcError> {
        let first_id = self
            .next_id
            .fetch_add(calls.len() as u64, Ordering::Relaxed);
        let methods = calls.iter().map(|call| call.method).collect();
        let body = self.post(request_body(calls, first_id)?).await?;
        Ok(Answers {
            body,
            first_id,
            methods,
        })
    }

    async fn post(&self, body: String) -> Result<Vec<u8>, RpcError> {
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
            Err(status_error(status, retry_after, &body))
        }
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
    let value = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    value.trim().parse().ok().map(Duration::from_secs)
}

fn status_error(status: StatusCode, retry_after: Option<Duration>, body: &[u8]) -> RpcError {
    let reason = format!("HTTP status {status}: {}", start_of(body));
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
        _ => RpcError::Unavailable(reason),
    }
}

fn start_of(body: &[u8]) -> String {
    let start = &body[..body.len().min(200)];
    String::from_utf8_lossy(start)
        .chars()
        .filter(|c| !c.is_control())
        .collect()
}

#[derive(Deserialize)]
struct WireAnswer<'a> {
    #[serde(default)]
    id: Option<u64>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<WireError>,
}

#[derive(Deserialize)]
struct WireError {
    code: i64,
    #[serde(default)]
    message: String,
}

impl Answers {
    /// Size of the body in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.body.len()
    }

    /// The answers in the order of the calls.
    pub(super) fn get(&self) -> Result<Vec<Answer<'_>>, RpcError> {
        let garbage = |error: String| {
            RpcError::Unavailable(format!("not JSON-RPC ({error}): {}", start_of(&self.body)))
        };
        let text = std::str::from_utf8(&self.body).map_err(|error| garbage(error.to_string()))?;
        let many = text.trim_start().starts_with('[');
        let answers: Vec<WireAnswer<'_>> = match many {
            true => serde_json::from_str(text),
            false => serde_json::from_str(text).map(|answer| vec![answer]),
        }
        .map_err(|error| garbage(error.to_string()))?;
        if !many && self.methods.len() > 1 {
            return Err(self.refused_as_a_whole(answers));
        }
        Ok(self.in_order(answers))
    }

    /// A batch that is answered by one object is refused, usually as too large.
    fn refused_as_a_whole(&self, answers: Vec<WireAnswer<'_>>) -> RpcError {
        match answers.into_iter().find_map(|answer| answer.error) {
            Some(error) => match failure(self.methods[0], error) {
                RpcError::Refused { message, .. } => RpcError::TooMuch(message),
                other => other,
            },
            None => RpcError::Unavailable("a batch was answered by a single result".into()),
        }
    }

    fn in_order<'a>(&'a self, answers: Vec<WireAnswer<'a>>) -> Vec<Answer<'a>> {
        let missing = |method: &&str| Err(RpcError::Unavailable(format!("{method} got no answer")));
        let mut ordered: Vec<Answer<'a>> = self.methods.iter().map(missing).collect();
        let alone = self.methods.len() == 1;
        for answer in answers {
            let place = match answer.id {
                _ if alone => Some(0),
                id => id.and_then(|id| usize::try_from(id.checked_sub(self.first_id)?).ok()),
            };
            let Some((place, slot)) = place.and_then(|p| Some((p, ordered.get_mut(p)?))) else {
                continue;
            };
            *slot = match answer.error {
                Some(error) => Err(failure(self.methods[place], error)),
                None => Ok(answer.result.map(RawValue::get)),
            };
        }
        ordered
    }
}

/// What an error object means. Codes: EIP-1474, and what providers are seen to use.
fn failure(method: &'static str, WireError { code, message }: WireError) -> RpcError {
    let said = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| said.contains(word));
    let unknown = [
        "method not found",
        "does not exist/is not available",
        "not supported",
        "unsupported method",
    ];
    if code == -32601 || code == -32004 || says(&unknown) {
        return RpcError::NoMethod(method);
    }
    if code == -32005 || code == 429 || says(&["rate limit", "too many requests"]) {
        return RpcError::Busy {
            reason: message,
            retry_after: None,
        };
    }
    if says(&[
        "too large",
        "response size",
        "batch limit",
        "batch size",
        "timed out",
        "timeout",
    ]) {
        return RpcError::TooMuch(message);
    }
    RpcError::Refused {
        method,
        code,
        message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(body: &str, methods: &[&'static str]) -> Answers {
        Answers {
            body: body.into(),
            first_id: 7,
            methods: methods.to_vec(),
        }
    }

    #[test]
    fn answers_come_in_the_order_of_the_calls_whatever_order_the_node_used() {
        let body = r#"[{"id":8,"result":{"b":1}},{"id":7,"result":null},{"id":99,"result":1}]"#;
        let answers = answers(body, &["a", "b", "c"]);
        let got = answers.get().unwrap();
        assert_eq!(got[0], Ok(None));
        assert_eq!(got[1], Ok(Some(r#"{"b":1}"#)));
        assert_eq!(got[2], Err(RpcError::Unavailable("c got no answer".into())));
    }

    #[test]
    fn error_objects_become_what_can_be_done_about_them() {
        let error = |code: i64, message: &str| {
            failure(
                "m",
                WireError {
                    code,
                    message: message.into(),
                },
            )
        };
        assert_eq!(error(-32601, "x"), RpcError::NoMethod("m"));
        assert!(matches!(error(-32005, "limit"), RpcError::Busy { .. }));
        assert!(matches!(
            error(-32000, "response size exceeded"),
            RpcError::TooMuch(_)
        ));
        assert!(matches!(
            error(-32000, "unknown block"),
            RpcError::Refused { .. }
        ));
    }

    #[test]
    fn garbage_is_shown_shortened_and_is_no_panic() {
        let answers = answers(&"<html>".repeat(1000), &["a"]);
        let error = answers.get().unwrap_err().to_string();
        assert!(error.contains("<html>") && error.len() < 500, "{error}");
    }
}
