//! What all connections that follow events have in common: who may, and how many.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use cairn_domain::events::Tier;
use metrics::gauge;
use serde_json::{Map, Value};
use tokio::sync::{OwnedSemaphorePermit, watch};

use crate::{
    access::{Account, Caller},
    app::App,
    error::{ApiError, ErrorCode},
};

/// A place among the connections that follow.
pub(super) struct Seat {
    _permit: OwnedSemaphorePermit,
}

impl Seat {
    /// Takes one, if there is room.
    pub(super) fn take(app: &App) -> Result<Self, ApiError> {
        let permit = Arc::clone(&app.connections).try_acquire_owned();
        let permit = permit.map_err(|_| {
            let message = "so many follow already that there is no room: try again soon";
            ApiError::new(ErrorCode::Busy, message)
        })?;
        gauge!("cairn_stream_connections").increment(1);
        Ok(Self { _permit: permit })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        gauge!("cairn_stream_connections").decrement(1);
    }
}

/// A place among the connections of a partner.
pub(super) struct OwnSeat(Arc<Account>);

impl OwnSeat {
    /// Takes one for a caller who may follow; whom nothing is known of has none.
    pub(super) fn take(app: &App, caller: &Caller) -> Result<Option<Self>, ApiError> {
        caller.require(app, Tier::Pro)?;
        let Caller::Partner(partner) = caller else {
            return Ok(None);
        };
        let most = app.config.streams.connections_of_a_partner;
        let seat = Self(Arc::clone(&partner.account));
        // It is given back when the seat is dropped.
        match seat.count().fetch_add(1, Ordering::Relaxed) < most {
            true => Ok(Some(seat)),
            false => {
                let message = format!("{most} connections of yours follow already: close one");
                Err(ApiError::new(ErrorCode::TooMany, message))
            }
        }
    }

    fn count(&self) -> &AtomicUsize {
        &self.0.connections
    }
}

impl Drop for OwnSeat {
    fn drop(&mut self) {
        self.count().fetch_sub(1, Ordering::Relaxed);
    }
}

/// Returns when nothing more is told.
pub(super) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // A feed that is gone tells nothing more.
    let _gone = stopping.wait_for(|stop| *stop).await;
}

/// Filters as JSON has them: texts, numbers, true and false.
pub(super) fn filters(object: Map<String, Value>) -> Result<BTreeMap<String, String>, ApiError> {
    let text = |(name, value): (String, Value)| match value {
        Value::String(text) => Ok((name, text)),
        Value::Number(_) | Value::Bool(_) => Ok((name, value.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => {
            let message = format!("filter `{name}` is compared with one text or number");
            Err(ApiError::new(ErrorCode::UnknownFilter, message))
        }
    };
    object.into_iter().map(text).collect()
}
