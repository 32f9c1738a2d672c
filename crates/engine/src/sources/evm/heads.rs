//! New heads over WebSocket: they only wake the follower, which asks for itself. Polling goes on
//! beside them, so nothing is lost while the connection is.

use std::{sync::Arc, time::Duration};

use alloy::{
    primitives::B256,
    pubsub::{PubSubConnect as _, PubSubFrontend, RawSubscription},
    rpc::json_rpc::{Id, Request},
    transports::{TransportError, TransportErrorKind, ws::WsConnect},
};
use tokio::{
    sync::{Notify, broadcast::error::RecvError},
    task::JoinHandle,
};

use super::retry::Backoff;
use crate::sources::SourceConfig;

/// See the module.
pub(super) struct Heads {
    wake: Arc<Notify>,
    listener: Option<JoinHandle<()>>,
}

impl Drop for Heads {
    fn drop(&mut self) {
        if let Some(listener) = &self.listener {
            listener.abort();
        }
    }
}

impl Heads {
    /// Listens at a source's WebSocket address, or to nothing.
    pub(super) fn listen(config: &SourceConfig) -> Self {
        let wake = Arc::new(Notify::new());
        let listener = config.ws.clone().map(|url| {
            let (wake, backoff) = (Arc::clone(&wake), Backoff::new(&config.retry));
            tokio::spawn(listen(config.name.clone(), url, wake, backoff))
        });
        Self { wake, listener }
    }

    /// Returns when the node has a new head, or when it is time to ask.
    pub(super) async fn next(&self, patience: Duration) {
        // That the time is over is as good a reason as a new head.
        let _woken = tokio::time::timeout(patience, self.wake.notified()).await;
    }
}

/// The log names the source: its address may hold a key.
async fn listen(source: String, url: String, wake: Arc<Notify>, mut backoff: Backoff) {
    loop {
        match subscribe(&url).await {
            Ok((_connection, mut heads)) => {
                backoff.reset();
                wake.notify_one();
                // Heads that were skipped are no loss: one wake is as good as many.
                while let Ok(_) | Err(RecvError::Lagged(_)) = heads.recv().await {
                    wake.notify_one();
                }
                tracing::warn!(
                    source,
                    "the node closed the subscription of new heads; polling meanwhile"
                );
            }
            Err(error) => {
                tracing::warn!(source, %error, "no subscription of new heads; polling meanwhile");
            }
        }
        tokio::time::sleep(backoff.next(None)).await;
    }
}

/// The connection lives as long as its front end does.
async fn subscribe(url: &str) -> Result<(PubSubFrontend, RawSubscription), TransportError> {
    let connect = WsConnect::new(url).with_max_retries(1).into_service();
    let connected = tokio::time::timeout(Duration::from_secs(10), connect).await;
    let front = connected.map_err(TransportErrorKind::custom)??;
    let request = Request::new("eth_subscribe", Id::Number(1), ["newHeads"]);
    let request = request.serialize().map_err(TransportError::ser_err)?;
    let answered = tokio::time::timeout(Duration::from_secs(10), front.send(request)).await;
    let response = answered.map_err(TransportErrorKind::custom)??;
    let id: B256 = response
        .payload
        .try_success_as()
        .ok_or_else(|| TransportErrorKind::custom_str("the node refused eth_subscribe"))?
        .map_err(|error| TransportErrorKind::custom_str(&error.to_string()))?;
    let heads = front.get_subscription(id).await?;
    Ok((front, heads))
}
