//! An answer that knows which position it reflects and how long it stays true.

use axum::{
    http::{HeaderName, HeaderValue, header},
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use serde::Serialize;

use crate::error::ApiError;

/// The header with the position that an answer reflects: of the chain's shard, or, where it is of
/// no single shard, one for each in their order.
pub(crate) const POSITION: HeaderName = HeaderName::from_static("x-cairn-position");

const FOREVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const REVALIDATE: HeaderValue = HeaderValue::from_static("no-cache");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// What a route answers with.
pub(crate) trait Model: Serialize {
    /// Whether it stays as it is for ever: it is of a final block, and nothing in it moves with
    /// the head.
    fn is_final(&self) -> bool {
        false
    }

    /// About how many bytes it will be as JSON, so that the buffer need not grow.
    fn size_hint(&self) -> usize {
        1024
    }
}

/// A body with the position that it reflects.
#[derive(Debug)]
pub(crate) struct Answer {
    position: HeaderValue,
    body: Bytes,
    is_final: bool,
}

impl Answer {
    /// Serialises a model, once. `position` is what [`POSITION`] says.
    pub(crate) fn of<T: Model>(position: HeaderValue, model: &T) -> Result<Self, ApiError> {
        let mut body = Vec::with_capacity(model.size_hint());
        serde_json::to_writer(&mut body, model).map_err(ApiError::unserialisable)?;
        Ok(Self {
            position,
            body: body.into(),
            is_final: model.is_final(),
        })
    }
}

/// The strong entity tag of a body: the first 16 bytes of its BLAKE3.
pub(crate) fn entity_tag(body: &[u8]) -> HeaderValue {
    let mut tag = [b'"'; 34];
    let digits = const_hex::Buffer::<16, false>::new().const_format(&first_half(body));
    tag[1..33].copy_from_slice(digits.as_bytes());
    HeaderValue::from_bytes(&tag).unwrap_or(HeaderValue::from_static("\"\""))
}

fn first_half(body: &[u8]) -> [u8; 16] {
    let mut half = [0; 16];
    half.copy_from_slice(&blake3::hash(body).as_bytes()[..16]);
    half
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let tag = entity_tag(&self.body);
        let mut response = Response::new(self.body.into());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, JSON);
        headers.insert(POSITION, self.position);
        headers.insert(header::ETAG, tag);
        let lifetime = if self.is_final { FOREVER } else { REVALIDATE };
        headers.insert(header::CACHE_CONTROL, lifetime);
        response
    }
}
