//! Files as answers: whole, or a range of bytes.

use axum::{
    body::Body,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use cairn_lake::Lake;

use crate::{
    error::{ApiError, ErrorCode},
    range::{Asked, asked_range},
};

/// The type of Parquet files.
pub(super) const PARQUET: &str = "application/vnd.apache.parquet";

/// A file that is sent.
pub(super) struct Sent<'a> {
    /// Where it is, from the root of the lake.
    pub(super) path: &'a str,
    /// Its size.
    pub(super) bytes: u64,
    /// SHA-256 in hex.
    pub(super) sha256: &'a str,
    /// Its type.
    pub(super) media: &'static str,
}

/// Sends what a request wants of a file.
pub(super) async fn send(
    lake: &Lake,
    file: Sent<'_>,
    headers: &HeaderMap,
) -> Result<Response, ApiError> {
    let tag = format!("\"{}\"", file.sha256);
    let (status, range) = match asked_range(headers, &tag, file.bytes) {
        Asked::All => (StatusCode::OK, 0..file.bytes),
        Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Asked::Nothing => {
            let message = format!("the file has {} bytes", file.bytes);
            return Err(ApiError::new(ErrorCode::RangeNotSatisfiable, message));
        }
    };
    let body = Body::from_stream(lake.read_file(file.path, range.clone()).await?);
    let mut response = (status, body).into_response();
    let own = response.headers_mut();
    let text = |text: String| HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""));
    own.insert(header::CONTENT_TYPE, HeaderValue::from_static(file.media));
    own.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    own.insert(header::CONTENT_LENGTH, (range.end - range.start).into());
    own.insert(header::ETAG, text(tag));
    let digest = STANDARD.encode(const_hex::decode(file.sha256).unwrap_or_default());
    own.insert("digest", text(format!("sha-256={digest}")));
    own.insert("repr-digest", text(format!("sha-256=:{digest}:")));
    // What is sent is what the digest is of: it is not packed on its way.
    own.insert(
        header::CONTENT_ENCODING,
        HeaderValue::from_static("identity"),
    );
    if status == StatusCode::PARTIAL_CONTENT {
        let last = range.end.saturating_sub(1);
        let content = format!("bytes {}-{last}/{}", range.start, file.bytes);
        own.insert(header::CONTENT_RANGE, text(content));
    }
    Ok(response)
}
