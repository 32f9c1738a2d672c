//! Bytes that come through the socket for an operation to read.

use std::{collections::BTreeMap, io, sync::Mutex};

use axum::body::{Body, Bytes};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use crate::operations::inputs::ChannelReader;

/// Where chunks of a body go.
pub(super) type Sink = mpsc::Sender<io::Result<Bytes>>;

/// Uploads that an operation waits for, by token.
#[derive(Default)]
pub(super) struct Uploads(Mutex<BTreeMap<String, Sink>>);

impl Uploads {
    /// The reading end of an upload that will come under this token.
    pub(super) fn expect(&self, token: String) -> ChannelReader {
        let (sink, reader) = ChannelReader::channel();
        if let Ok(mut waiting) = self.0.lock() {
            waiting.insert(token, sink);
        }
        reader
    }

    /// The writing end of an upload that an operation waits for.
    pub(super) fn claim(&self, token: &str) -> Option<Sink> {
        self.0.lock().ok()?.remove(token)
    }
}

/// Hands a body on, chunk by chunk; the empty chunk at the end says that it was whole.
pub(super) async fn pump(body: Body, sink: Sink) {
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = match chunk {
            Ok(chunk) if chunk.is_empty() => continue,
            other => other.map_err(io::Error::other),
        };
        let failed = chunk.is_err();
        // A reader that has gone has read enough.
        if sink.send(chunk).await.is_err() || failed {
            return;
        }
    }
    let _gone = sink.send(Ok(Bytes::new())).await;
}
