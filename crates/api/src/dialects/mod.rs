//! What clients of one contract expect beside the routes: how an error looks.
//!
//! To add a dialect: create `dialects/<name>.rs`, add a variant and its arms here.

use axum::{
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};

use crate::error::ApiError;

mod partner;

/// A contract's way to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// `/api/…`, and all that is outside the dialects.
    Partner,
}

impl Dialect {
    /// The dialect that a path belongs to.
    pub(crate) fn of(_path: &str) -> Self {
        Self::Partner
    }

    /// The answer that tells a client of this dialect about an error.
    pub(crate) fn render(self, error: &ApiError) -> Response {
        let body = match self {
            Self::Partner => partner::render(error),
        };
        let json = [(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        )];
        let mut response = (error.code.status(), json, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = error.retry_after.or(error.code.retry_after()) {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        response
    }
}
