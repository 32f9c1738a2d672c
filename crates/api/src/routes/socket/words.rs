//! What is said on a WebSocket, and why one ends.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::MOST_BYTES;
use crate::error::{ApiError, ErrorCode};

/// What a client says.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Said {
    Auth {
        api_key: String,
    },
    Subscribe {
        channel: String,
        #[serde(default)]
        filters: Map<String, Value>,
        #[serde(default)]
        from_cursor: Option<String>,
    },
    Unsubscribe {
        #[serde(default)]
        subscription_id: Option<String>,
        #[serde(default)]
        channel: Option<String>,
    },
    Ping {},
    Pong {},
}

/// Why a connection ends.
pub(super) enum End {
    /// The client is gone, or does not take what it is told.
    Gone,
    /// It is told so.
    Told { code: u16, reason: String },
}

impl End {
    pub(super) fn told(code: u16, reason: impl Into<String>) -> Self {
        Self::Told {
            code,
            reason: reason.into(),
        }
    }

    /// An error that nothing comes behind.
    pub(super) fn of(error: &ApiError) -> Self {
        let code = match error.code {
            ErrorCode::Unauthorized => 4401,
            ErrorCode::TierRequired(_) | ErrorCode::Suspended => 4403,
            ErrorCode::TooMany => 4429,
            _ => 1011,
        };
        Self::told(code, error.message.clone())
    }
}

impl From<axum::Error> for End {
    fn from(_: axum::Error) -> Self {
        Self::Gone
    }
}

/// What was received cannot be read.
pub(super) fn broken(error: &axum::Error) -> End {
    let text = error.to_string();
    match text.contains("too long") || text.contains("too big") || text.contains("Space limit") {
        true => End::told(1009, format!("a message has {MOST_BYTES} bytes at most")),
        false => End::told(1002, "this is no WebSocket message"),
    }
}
