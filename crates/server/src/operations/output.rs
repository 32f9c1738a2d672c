//! Where an operation says what it has to say.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::Value;
use tokio::sync::mpsc;

use super::message::{Message, Unit};

/// Progress is said at most so often.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// The sending end of an operation's messages.
#[derive(Clone)]
pub(crate) struct Output {
    messages: mpsc::Sender<Message>,
    last_progress: Arc<Mutex<Option<Instant>>>,
}

/// Nobody listens any more, so there is no use in going on.
#[derive(Debug)]
pub(crate) struct NobodyListens;

impl std::fmt::Display for NobodyListens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("nobody listens any more")
    }
}

impl std::error::Error for NobodyListens {}

/// Does something that nobody needs when nobody listens any more: then it ends where it waits.
pub(super) async fn while_heard<T>(
    output: &Output,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::select! {
        done = work => done,
        () = output.closed() => Err(NobodyListens.into()),
    }
}

impl Output {
    /// An output and what comes out of it.
    pub(crate) fn channel() -> (Self, mpsc::Receiver<Message>) {
        let (messages, receiver) = mpsc::channel(256);
        (
            Self {
                messages,
                last_progress: Arc::default(),
            },
            receiver,
        )
    }

    /// Says a line of output; waits while the reader is slower.
    pub(crate) async fn line(&self, line: Value) -> Result<(), NobodyListens> {
        self.messages
            .send(Message::Line(line))
            .await
            .map_err(|_| NobodyListens)
    }

    /// Waits until nobody listens any more.
    pub(crate) async fn closed(&self) {
        self.messages.closed().await;
    }

    /// Says the last message.
    pub(crate) async fn end(&self, message: Message) {
        // Who has gone away does not want to know.
        let _gone = self.messages.send(message).await;
    }

    /// Says how far it is, unless it did so a moment ago or nobody keeps up.
    pub(crate) fn progress(&self, doing: &str, at: u64, total: Option<u64>, unit: Unit) {
        let Ok(mut last) = self.last_progress.lock() else {
            return;
        };
        let finished = total == Some(at);
        if !finished && last.is_some_and(|last| last.elapsed() < PROGRESS_EVERY) {
            return;
        }
        *last = Some(Instant::now());
        let message = Message::Progress {
            doing: doing.to_owned(),
            at,
            total,
            unit,
        };
        let _only_progress = self.messages.try_send(message);
    }
}
