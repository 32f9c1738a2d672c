//! `/ws`: events over a WebSocket.

mod words;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{
        State,
        ws::{
            CloseFrame, Message, WebSocket, WebSocketUpgrade, rejection::WebSocketUpgradeRejection,
        },
    },
    response::Response,
    routing::get,
};
use cairn_domain::events::Tier;
use futures_util::{FutureExt as _, SinkExt as _};
use metrics::counter;
use serde_json::{Map, Value, json};
use tokio::{sync::watch, time::Instant};

use super::following::{OwnSeat, Seat, filters, stopped};
use crate::{
    access::{Caller, identify},
    app::App,
    error::{ApiError, ErrorCode},
    stream::{self, Filters, Frame, Next, Subscription},
};
use words::{End, Said, broken};

/// Larger messages of clients end the connection.
const MOST_BYTES: usize = 64 << 10;
/// What a connection that waits keeps for reading and for writing.
const READ_BUFFER: usize = 4 << 10;
const WRITE_BUFFER: usize = 8 << 10;

/// A client has so long to say who it is.
const AUTH_DEADLINE: Duration = Duration::from_secs(10);
/// What it asks for before that waits, so much of it.
const QUEUE: usize = 64;
/// So often it is asked whether it is still there, and its key looked at again.
const PING_EVERY: Duration = Duration::from_secs(30);
/// It is gone when nothing was heard for so long.
const SILENCE: Duration = Duration::from_secs(75);
/// It must take what it is told within so long.
const WRITE_PATIENCE: Duration = Duration::from_secs(30);
/// So many messages it may send in the time between two pings.
const MOST_SAID: u32 = 600;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/ws", get(open_socket))
}

async fn open_socket(
    State(app): State<Arc<App>>,
    caller: Caller,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let upgrade = upgrade.map_err(|error| ApiError::parameter("upgrade", error))?;
    let admitted = match &caller {
        // A key may still be shown in a message.
        Caller::Anonymous(_) if caller.require(&app, Tier::Pro).is_err() => None,
        _ => Some(OwnSeat::take(&app, &caller)?),
    };
    let seat = Seat::take(&app)?;
    let upgrade = upgrade
        .max_message_size(MOST_BYTES)
        .max_frame_size(MOST_BYTES)
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER);
    Ok(upgrade.on_upgrade(async move |socket| {
        let stopping = app.feed.stopping();
        let mut connection = Connection::new(app, (caller, admitted), socket);
        let end = connection.serve(stopping).await;
        connection.close(end).await;
        drop(seat);
    }))
}

/// A subscription with the name that the client has for it.
struct Named {
    id: String,
    subscription: Subscription,
}

/// See the module.
struct Connection {
    app: Arc<App>,
    caller: Caller,
    socket: WebSocket,
    /// There is one when it is known that the client may follow.
    admitted: Option<Option<OwnSeat>>,
    queue: Vec<Said>,
    subscriptions: Vec<Named>,
    /// How many there were.
    counted: u64,
    heard: Instant,
    said: u32,
}

impl Connection {
    fn new(
        app: Arc<App>,
        (caller, admitted): (Caller, Option<Option<OwnSeat>>),
        socket: WebSocket,
    ) -> Self {
        Self {
            app,
            caller,
            socket,
            admitted,
            queue: Vec::new(),
            subscriptions: Vec::new(),
            counted: 0,
            heard: Instant::now(),
            said: 0,
        }
    }

    /// Serves the client until one of both has enough.
    async fn serve(&mut self, mut stopping: watch::Receiver<bool>) -> End {
        let opened = Instant::now();
        let mut ticks = tokio::time::interval_at(opened + PING_EVERY, PING_EVERY);
        loop {
            let more = match self.tell().await {
                Ok(more) => more,
                Err(end) => return end,
            };
            let deadline = opened + AUTH_DEADLINE;
            let done = tokio::select! {
                // What is asked comes before what is told.
                biased;
                () = stopped(&mut stopping) => {
                    return End::told(1012, "the server stops; go on from your last cursor");
                }
                heard = self.socket.recv() => match heard {
                    Some(Ok(message)) => self.hear(message).await,
                    Some(Err(error)) => return broken(&error),
                    None => return End::Gone,
                },
                _ = ticks.tick() => self.tick().await,
                () = tokio::time::sleep_until(deadline), if self.admitted.is_none() => {
                    let error = ApiError::new(ErrorCode::Unauthorized, "no key was shown within 10 s");
                    self.refuse(&error).await
                }
                () = changed(&mut self.subscriptions), if !more => Ok(()),
                () = std::future::ready(()), if more => Ok(()),
            };
            if let Err(end) = done {
                return end;
            }
        }
    }

    /// Tells what there is of all subscriptions; says whether there may be more at once.
    async fn tell(&mut self) -> Result<bool, End> {
        let mut more = false;
        let mut lagging = Vec::new();
        for index in 0..self.subscriptions.len() {
            let named = &mut self.subscriptions[index];
            match named.subscription.next().await {
                Ok(Next::Nothing) => {}
                Ok(Next::Frames(frames)) => {
                    more = true;
                    self.write(&frames).await?;
                }
                Ok(Next::Lagged(cursor)) => lagging.push((named.id.clone(), cursor)),
                Err(error) => return Err(End::of(&error.into())),
            }
        }
        for (id, cursor) in lagging {
            counter!("cairn_stream_lagged_total").increment(1);
            self.subscriptions.retain(|named| named.id != id);
            let told = json!({"type": "lagged", "subscription_id": id, "cursor": cursor});
            self.say(&told).await?;
        }
        Ok(more)
    }

    async fn write(&mut self, frames: &[Arc<Frame>]) -> Result<(), End> {
        if frames.is_empty() {
            return Ok(());
        }
        let writing = async {
            for frame in frames {
                self.socket.feed(Message::Text(frame.text())).await?;
            }
            self.socket.flush().await
        };
        let written = tokio::time::timeout(WRITE_PATIENCE, writing).await;
        counter!("cairn_stream_events_total").increment(frames.len() as u64);
        Ok(written.map_err(|_| End::Gone)??)
    }

    async fn say(&mut self, message: &Value) -> Result<(), End> {
        let text = Message::Text(message.to_string().into());
        let sent = tokio::time::timeout(WRITE_PATIENCE, self.socket.send(text)).await;
        Ok(sent.map_err(|_| End::Gone)??)
    }

    async fn complain(&mut self, error: &ApiError) -> Result<(), End> {
        let ApiError {
            code,
            message,
            details,
            ..
        } = error;
        let told =
            json!({"type": "error", "code": code.as_str(), "message": message, "details": details});
        self.say(&told).await
    }

    /// Complains, and ends the connection.
    async fn refuse(&mut self, error: &ApiError) -> Result<(), End> {
        self.complain(error).await?;
        Err(End::of(error))
    }

    async fn hear(&mut self, message: Message) -> Result<(), End> {
        self.heard = Instant::now();
        self.said += 1;
        if self.said > MOST_SAID {
            return Err(End::told(1008, "too many messages"));
        }
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) => return Err(End::told(1003, "messages are texts of JSON")),
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
            Message::Close(_) => return Err(End::Gone),
        };
        match serde_json::from_str(&text) {
            Ok(said) => self.act(said).await,
            Err(error) => {
                let message = format!(
                    "expected an object with the type auth, subscribe, unsubscribe or ping: {error}"
                );
                let error = ApiError::new(ErrorCode::InvalidMessage, message);
                self.complain(&error).await
            }
        }
    }

    async fn act(&mut self, said: Said) -> Result<(), End> {
        match said {
            Said::Ping {} => self.say(&json!({"type": "pong"})).await,
            Said::Pong {} => Ok(()),
            Said::Auth { api_key } => self.authenticate(&api_key).await,
            said if self.admitted.is_none() => {
                if self.queue.len() < QUEUE {
                    self.queue.push(said);
                    return Ok(());
                }
                let error = ApiError::new(ErrorCode::TooMany, "show a key first");
                self.refuse(&error).await
            }
            Said::Subscribe {
                channel,
                filters,
                from_cursor,
            } => {
                let asked = (channel, filters, from_cursor);
                match self.subscribe(asked) {
                    Ok(told) => self.say(&told).await,
                    Err(error) => self.complain(&error).await,
                }
            }
            Said::Unsubscribe {
                subscription_id,
                channel,
            } => match self.unsubscribe(subscription_id, channel) {
                Ok(told) => self.say(&told).await,
                Err(error) => self.complain(&error).await,
            },
        }
    }

    async fn authenticate(&mut self, key: &str) -> Result<(), End> {
        let seated = identify(&self.app, key).and_then(|caller| {
            let seat = OwnSeat::take(&self.app, &caller)?;
            Ok((caller, seat))
        });
        match seated {
            Ok((caller, seat)) => {
                self.caller = caller;
                self.admitted = Some(seat);
            }
            Err(error) => return self.refuse(&error).await,
        }
        self.say(&json!({"type": "auth", "status": "ok"})).await?;
        for said in std::mem::take(&mut self.queue) {
            Box::pin(self.act(said)).await?;
        }
        Ok(())
    }

    fn subscribe(
        &mut self,
        (channel, asked, from): (String, Map<String, Value>, Option<String>),
    ) -> Result<Value, ApiError> {
        let most = self.app.config.streams.subscriptions;
        if self.subscriptions.len() >= most {
            let message = format!("a connection has {most} subscriptions: end one first");
            return Err(ApiError::new(ErrorCode::TooMany, message));
        }
        let found = stream::find(&channel)?;
        let filters = Filters::of(found, &filters(asked)?)?;
        let subscription = Subscription::new(&self.app, found, filters, from.as_deref())?;
        self.counted += 1;
        let id = format!("sub-{}", self.counted);
        let told = json!({
            "type": "subscription",
            "channel": channel,
            "subscription_id": id,
            "status": "confirmed",
            "cursor": subscription.cursor(),
        });
        self.subscriptions.push(Named { id, subscription });
        Ok(told)
    }

    fn unsubscribe(
        &mut self,
        id: Option<String>,
        channel: Option<String>,
    ) -> Result<Value, ApiError> {
        let is_meant = |named: &Named| match (&id, &channel) {
            (Some(id), _) => named.id == *id,
            (None, Some(channel)) => named.subscription.channel.name() == channel,
            (None, None) => false,
        };
        let ended: Vec<_> = self
            .subscriptions
            .extract_if(.., |named| is_meant(named))
            .collect();
        let Some(last) = ended.last() else {
            let message = "there is no such subscription: name its subscription_id, or its channel";
            return Err(ApiError::new(ErrorCode::NotFound, message));
        };
        Ok(json!({
            "type": "subscription",
            "channel": last.subscription.channel.name(),
            "subscription_id": last.id,
            "status": "ended",
        }))
    }

    /// Looks whether the client is still there, and may still follow.
    async fn tick(&mut self) -> Result<(), End> {
        if self.heard.elapsed() > SILENCE {
            return Err(End::told(1001, "nothing was heard for too long"));
        }
        self.said = 0;
        if self.admitted.is_some() {
            let known = self.caller.renewed(&self.app);
            let known = known.and_then(|caller| caller.require(&self.app, Tier::Pro));
            if let Err(error) = known {
                return self.refuse(&error).await;
            }
        }
        let ping = self.socket.send(Message::Ping(Default::default()));
        let sent = tokio::time::timeout(WRITE_PATIENCE, ping).await;
        Ok(sent.map_err(|_| End::Gone)??)
    }

    async fn close(&mut self, end: End) {
        let End::Told { code, reason } = end else {
            return;
        };
        counter!("cairn_stream_closed_total", "code" => code.to_string()).increment(1);
        let mut reason = reason;
        // A control frame has room for so much.
        reason.truncate(reason.floor_char_boundary(120));
        let frame = CloseFrame {
            code,
            reason: reason.into(),
        };
        let closing = async {
            // Whoever is gone hears nothing.
            let _sent = self.socket.send(Message::Close(Some(frame))).await;
            while let Some(Ok(_)) = self.socket.recv().await {}
        };
        let _patience = tokio::time::timeout(Duration::from_secs(2), closing).await;
    }
}

/// Returns when any of them may have something more.
async fn changed(subscriptions: &mut [Named]) {
    if subscriptions.is_empty() {
        return std::future::pending().await;
    }
    let waits = subscriptions
        .iter_mut()
        .map(|named| named.subscription.wait().boxed());
    futures_util::future::select_all(waits).await;
}
