//! Bytes that come through the socket for an operation to read.

use std::{collections::BTreeMap, convert::Infallible, io, sync::Mutex, time::Duration};

use axum::body::{Body, BodyDataStream, Bytes};
use futures_util::StreamExt as _;
use tokio::sync::mpsc;

use crate::operations::{Output, inputs::ChannelReader};

/// Where chunks of a body go.
pub(super) type Sink = mpsc::Sender<io::Result<Bytes>>;

/// Uploads that an operation waits for, by token.
pub(super) struct Uploads {
    waiting: Mutex<BTreeMap<String, Sink>>,
    patience: Duration,
}

impl Uploads {
    /// Each upload must begin within `patience`.
    pub(super) fn new(patience: Duration) -> Self {
        Self {
            waiting: Mutex::default(),
            patience,
        }
    }

    /// The reading end of an upload that will come under this token.
    pub(super) fn expect(&self, token: String) -> ChannelReader {
        let (sink, reader) = ChannelReader::channel();
        if let Ok(mut waiting) = self.waiting.lock() {
            waiting.insert(token, sink);
        }
        reader
    }

    /// The writing end of an upload that an operation waits for.
    pub(super) fn claim(&self, token: &str) -> Option<Sink> {
        self.waiting.lock().ok()?.remove(token)
    }

    /// Gives an upload up that has not begun in time, or to whose operation nobody listens any more:
    /// its reader gets an error, so that the operation ends. Never returns.
    pub(super) async fn watch(&self, token: Option<&str>, output: &Output) -> Infallible {
        if let Some(token) = token {
            // Either way it is time to look whether the upload has begun.
            let _late = tokio::time::timeout(self.patience, output.closed()).await;
            if let Some(sink) = self.claim(token) {
                let reason = "the receipts did not come; was the command interrupted?";
                // A reader that has gone needs no reason.
                let _gone = sink.try_send(Err(io::Error::new(io::ErrorKind::TimedOut, reason)));
            }
        }
        std::future::pending().await
    }
}

/// How long what nobody reads is still taken in.
const LINGER: Duration = Duration::from_secs(10);

/// Throws away what still comes: a connection that closes while the other side sends takes the answer
/// with it.
pub(super) async fn drain(chunks: BodyDataStream) {
    let rest = chunks.for_each(|_| std::future::ready(()));
    let _late = tokio::time::timeout(LINGER, rest).await;
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
        if failed {
            let _gone = sink.send(chunk).await;
            return;
        }
        // A reader that has gone has read enough.
        if sink.send(chunk).await.is_err() {
            return drain(chunks).await;
        }
    }
    let _gone = sink.send(Ok(Bytes::new())).await;
}
