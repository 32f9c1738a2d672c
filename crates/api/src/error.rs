//! All that can go wrong with a request. The one place that maps other errors to an [`ErrorCode`];
//! a dialect only renders.

use axum::{
    http::StatusCode,
    response::{IntoResponse, Response},
};
use cairn_domain::{events::Tier, primitives::ParseError};
use cairn_engine::store::StoreError;
use cairn_lake::{LakeError, sql::SqlError};
use serde_json::{Value, json};

/// Why a request was not answered with what it asked for. Closed: every match names all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorCode {
    /// A parameter is not what it should be.
    InvalidParameter,
    /// A cursor is damaged, forged, or of another list.
    InvalidCursor,
    /// There are several chains and the request names none.
    ChainRequired,
    /// There is no such chain.
    UnknownChain,
    /// There is no such thing.
    NotFound,
    /// No route has this path.
    UnknownRoute,
    /// The route has another method.
    MethodNotAllowed,
    /// The position is beyond the kept history.
    HistoryTrimmed,
    /// A query is no SQL, is refused, or fails on the rows it meets.
    InvalidSql,
    /// A query needs more memory, time or rows than it may have.
    QueryLimitExceeded,
    /// There is no room for another query just now.
    Busy,
    /// It needs a key, or shows one that is wrong.
    Unauthorized,
    /// What is asked for needs this tier.
    TierRequired(Tier),
    /// The partner is shut out.
    Suspended,
    /// Fields of the body are not what they should be.
    InvalidFields,
    /// There is no such channel.
    UnknownChannel,
    /// The channel has no such filter.
    UnknownFilter,
    /// What was sent is no message.
    InvalidMessage,
    /// There are as many subscriptions, or connections, as there may be.
    TooMany,
    /// The caller asked for as much as it may.
    RateLimited,
    /// An export cannot be made.
    ExportFailed,
    /// The file of an export is not kept any more.
    ExportExpired,
    /// No byte of the file is in the range that is asked for.
    RangeNotSatisfiable,
    /// The body is larger than the limit.
    PayloadTooLarge,
    /// `min_position` was not reached in time.
    PositionNotReached,
    /// What the answer needs cannot be read now.
    Unavailable,
    /// The request took too long.
    Timeout,
    /// A fault of the server.
    Internal,
}

impl ErrorCode {
    /// The word that clients match on.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidParameter => "invalid_parameter",
            Self::InvalidCursor => "invalid_cursor",
            Self::ChainRequired => "chain_required",
            Self::UnknownChain => "unknown_chain",
            Self::NotFound => "not_found",
            Self::UnknownRoute => "unknown_route",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::HistoryTrimmed => "history_trimmed",
            Self::InvalidSql => "invalid_sql",
            Self::QueryLimitExceeded => "query_limit_exceeded",
            Self::Busy => "busy",
            Self::Unauthorized => "unauthorized",
            Self::TierRequired(Tier::Basic) => "basic_tier_required",
            Self::TierRequired(Tier::Pro) => "pro_tier_required",
            Self::TierRequired(Tier::Enterprise) => "enterprise_tier_required",
            Self::Suspended => "suspended",
            Self::InvalidFields => "invalid_fields",
            Self::UnknownChannel => "unknown_channel",
            Self::UnknownFilter => "unknown_filter",
            Self::InvalidMessage => "invalid_message",
            Self::TooMany => "too_many",
            Self::RateLimited => "rate_limited",
            Self::ExportFailed => "export_failed",
            Self::ExportExpired => "export_expired",
            Self::RangeNotSatisfiable => "range_not_satisfiable",
            Self::PayloadTooLarge => "payload_too_large",
            Self::PositionNotReached => "position_not_reached",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Internal => "internal",
        }
    }

    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::InvalidParameter
            | Self::InvalidCursor
            | Self::ChainRequired
            | Self::UnknownFilter
            | Self::InvalidMessage
            | Self::InvalidSql => StatusCode::BAD_REQUEST,
            Self::QueryLimitExceeded | Self::InvalidFields => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::RateLimited | Self::TooMany => StatusCode::TOO_MANY_REQUESTS,
            Self::UnknownChain | Self::UnknownChannel | Self::NotFound | Self::UnknownRoute => {
                StatusCode::NOT_FOUND
            }
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::HistoryTrimmed | Self::ExportExpired => StatusCode::GONE,
            Self::ExportFailed => StatusCode::CONFLICT,
            Self::TierRequired(_) | Self::Suspended => StatusCode::FORBIDDEN,
            Self::RangeNotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::PositionNotReached | Self::Unavailable | Self::Timeout | Self::Busy => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Seconds after which trying again may help.
    pub fn retry_after(self) -> Option<u64> {
        match self {
            Self::PositionNotReached | Self::Busy => Some(1),
            Self::Unavailable | Self::Timeout => Some(5),
            Self::InvalidParameter
            | Self::InvalidCursor
            | Self::ChainRequired
            | Self::UnknownChain
            | Self::NotFound
            | Self::UnknownRoute
            | Self::MethodNotAllowed
            | Self::HistoryTrimmed
            | Self::InvalidSql
            | Self::QueryLimitExceeded
            | Self::Unauthorized
            | Self::TierRequired(_)
            | Self::Suspended
            | Self::UnknownChannel
            | Self::UnknownFilter
            | Self::InvalidMessage
            | Self::TooMany
            | Self::InvalidFields
            // It depends on the window: see `access`.
            | Self::RateLimited
            | Self::ExportFailed
            | Self::ExportExpired
            | Self::RangeNotSatisfiable
            | Self::PayloadTooLarge
            | Self::Internal => None,
        }
    }
}

/// An [`ErrorCode`] with what people and programs want to know about it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// Which.
    pub code: ErrorCode,
    /// One sentence for people: the thing and the way out. Never internals.
    pub message: String,
    /// More for programs: an object, or null.
    pub details: Value,
    /// Seconds after which trying again may help, where that is not the same for all of this code.
    pub retry_after: Option<u64>,
}

impl ApiError {
    /// An error without details.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            details: Value::Null,
            retry_after: None,
        }
    }

    /// Adds details.
    #[must_use]
    pub fn with(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    /// Says when trying again may help, in seconds.
    #[must_use]
    pub(crate) fn after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// A parameter that is not what it should be.
    pub(crate) fn parameter(name: &str, reason: impl std::fmt::Display) -> Self {
        Self::new(ErrorCode::InvalidParameter, format!("`{name}`: {reason}"))
            .with(json!({"parameter": name}))
    }

    /// An answer that does not become JSON.
    pub(crate) fn unserialisable(error: serde_json::Error) -> Self {
        tracing::error!(%error, "an answer does not serialise");
        Self::new(ErrorCode::Internal, "the server failed to write its answer")
    }

    /// A thing that is not there.
    pub(crate) fn missing(what: &str, name: impl std::fmt::Display) -> Self {
        Self::new(
            ErrorCode::NotFound,
            format!("no {what} {name} on this chain"),
        )
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Trimmed { asked, oldest } => {
                Self::new(ErrorCode::HistoryTrimmed, error.to_string())
                    .with(json!({"position": asked, "oldest_position": oldest}))
            }
            StoreError::Unavailable { name, reason } => {
                tracing::warn!(projection = name, reason, "a read was refused");
                Self::new(
                    ErrorCode::Unavailable,
                    format!("{name} cannot be read at the moment"),
                )
                .with(json!({"projection": name}))
            }
            StoreError::InUse { .. }
            | StoreError::Incompatible { .. }
            | StoreError::Downgrade { .. }
            | StoreError::Table(_)
            | StoreError::Storage(_) => {
                tracing::error!(%error, "a read failed");
                Self::new(ErrorCode::Internal, "the server failed to read its store")
            }
        }
    }
}

impl From<LakeError> for ApiError {
    fn from(error: LakeError) -> Self {
        if let LakeError::Gone { .. } = error {
            return Self::new(ErrorCode::NotFound, error.to_string());
        }
        tracing::error!(%error, "the lake cannot be read");
        Self::new(ErrorCode::Internal, "the server failed to read its files")
    }
}

impl From<SqlError> for ApiError {
    fn from(error: SqlError) -> Self {
        let code = match &error {
            SqlError::Busy { .. } | SqlError::CallerBusy { .. } | SqlError::Crowded { .. } => {
                ErrorCode::Busy
            }
            SqlError::Syntax(_)
            | SqlError::Refused(_)
            | SqlError::UnknownTable { .. }
            | SqlError::Plan(_)
            | SqlError::Execution(_) => ErrorCode::InvalidSql,
            SqlError::TooLarge { .. } | SqlError::TooSlow { .. } | SqlError::TooManyRows { .. } => {
                ErrorCode::QueryLimitExceeded
            }
            SqlError::Moved | SqlError::Behind { .. } => ErrorCode::Unavailable,
            SqlError::Disagreement { .. } | SqlError::Lake(_) | SqlError::Internal(_) => {
                tracing::error!(%error, "a query failed");
                return Self::new(ErrorCode::Internal, "the server failed to answer the query");
            }
        };
        Self::new(code, error.to_string())
    }
}

impl From<ParseError> for ApiError {
    fn from(error: ParseError) -> Self {
        Self::new(ErrorCode::InvalidParameter, error.to_string())
    }
}

/// The status, with the error itself as an extension: the dialect of the route renders it on the
/// way out (see `observe`).
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}
