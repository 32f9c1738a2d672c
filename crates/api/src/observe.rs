//! What happens around every request: its id, its span, its limits, its metrics, and the headers
//! that every answer carries.

use std::{
    hash::{BuildHasher, RandomState},
    panic::AssertUnwindSafe,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use axum::{
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::Next,
    response::Response,
};
use futures_util::FutureExt;
use tracing::Instrument;

use crate::{
    answer::POSITION,
    app::App,
    dialects::Dialect,
    error::{ApiError, ErrorCode},
    positions,
};

/// The header with the id of a request.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken from a client.
const MAX_ID: usize = 128;
/// The largest body of a request, in bytes.
pub(crate) const BODY_LIMIT: u64 = 1 << 20;

/// The outermost layer.
pub(crate) async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(request.headers());
    let method = request.method().clone();
    let path = request.uri().path();
    let dialect = Dialect::of(path);
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or(""), %method, path);
    let route = request.extensions().get::<MatchedPath>().cloned();
    let condition = request.headers().get(header::IF_NONE_MATCH).cloned();

    let mut response = guard(&app, request, next).instrument(span.clone()).await;
    if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        let told = std::mem::take(response.headers_mut());
        response = dialect.render(&error);
        response.headers_mut().extend(told);
    }
    revalidate(&mut response, condition.as_ref());
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    if !headers.contains_key(POSITION) {
        headers.insert(POSITION, positions::header(&app.positions()));
    }
    let took = started.elapsed();
    let status = response.status();
    let route = route.as_ref().map_or("unmatched", MatchedPath::as_str);
    app.telemetry.record(&method, route, status, took);
    span.in_scope(|| tracing::debug!(status = status.as_u16(), route, ?took, "answered"));
    response
}

/// Runs the route within its limits; a panic becomes an error.
async fn guard(app: &App, request: Request, next: Next) -> Response {
    use axum::response::IntoResponse;
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > BODY_LIMIT) {
        let message = format!("a body may have {BODY_LIMIT} bytes");
        return ApiError::new(ErrorCode::PayloadTooLarge, message).into_response();
    }
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind();
    match tokio::time::timeout(app.config.request_timeout, answered).await {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => {
            tracing::error!("a request panicked");
            ApiError::new(ErrorCode::Internal, "the server failed; it was logged").into_response()
        }
        Err(_) => ApiError::new(
            ErrorCode::Timeout,
            "the request took too long; ask for less",
        )
        .into_response(),
    }
}

/// Turns an answer that the client already has into 304, and marks tags of compressed bodies weak,
/// because their bytes are not those that were hashed.
fn revalidate(response: &mut Response, condition: Option<&HeaderValue>) {
    let Some(tag) = response.headers().get(header::ETAG) else {
        return;
    };
    if response.status() == StatusCode::OK && condition.is_some_and(|known| matches(known, tag)) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Body::empty();
        for name in [
            header::CONTENT_TYPE,
            header::CONTENT_LENGTH,
            header::CONTENT_ENCODING,
        ] {
            response.headers_mut().remove(name);
        }
    } else if response.headers().contains_key(header::CONTENT_ENCODING) {
        let weak = [b"W/", tag.as_bytes()].concat();
        if let Ok(weak) = HeaderValue::from_bytes(&weak) {
            response.headers_mut().insert(header::ETAG, weak);
        }
    }
}

fn matches(condition: &HeaderValue, tag: &HeaderValue) -> bool {
    let mut known = condition
        .as_bytes()
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii);
    known.any(|known| known == b"*" || known.strip_prefix(b"W/").unwrap_or(known) == tag.as_bytes())
}

/// The client's id if it sent a usable one, else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    static PROCESS: LazyLock<u32> = LazyLock::new(|| RandomState::new().hash_one("cairn") as u32);
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let usable = |id: &&HeaderValue| {
        (1..=MAX_ID).contains(&id.len()) && id.as_bytes().iter().all(u8::is_ascii_graphic)
    };
    if let Some(id) = headers.get(REQUEST_ID).filter(usable) {
        return id.clone();
    }
    let mut id = [0; 12];
    id[..4].copy_from_slice(&PROCESS.to_be_bytes());
    id[4..].copy_from_slice(&COUNT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    let digits = const_hex::Buffer::<12, false>::new().const_format(&id);
    HeaderValue::from_bytes(digits.as_bytes()).unwrap_or(HeaderValue::from_static("unknown"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_matches_any_of_its_tags_weak_or_not() {
        let tag = HeaderValue::from_static("\"b\"");
        for condition in ["\"b\"", "W/\"b\"", "\"a\", \"b\"", "*"] {
            assert!(
                matches(&HeaderValue::from_static(condition), &tag),
                "{condition}"
            );
        }
        assert!(!matches(&HeaderValue::from_static("\"a\""), &tag));
    }

    #[test]
    fn only_a_short_printable_id_is_taken_from_a_client() {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, HeaderValue::from_static("abc-1"));
        assert_eq!(request_id(&headers), "abc-1");
        headers.insert(REQUEST_ID, HeaderValue::from_static("a b"));
        assert_eq!(request_id(&headers).len(), 24);
        assert_ne!(request_id(&headers), request_id(&headers));
    }
}
