//! `/stream/{channel}`: events as server-sent events.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, Uri, header},
    response::{IntoResponse as _, Response},
    routing::get,
};
use futures_util::{Stream, stream};
use metrics::counter;
use serde_json::json;
use tokio::{sync::watch, time::Instant};
use utoipa::OpenApi;

use super::following::{OwnSeat, Seat};
use crate::{
    access::Caller,
    app::App,
    error::ApiError,
    models::ChainReplaced,
    params::{Params, Segment},
    stream::{self as channels, Filters, Frame, Next, Subscription},
};

/// The header with which a client that lost its connection goes on.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Some proxies would keep events until there are many.
const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A line that says nothing is sent so often, and the key is looked at again.
const SIGN_EVERY: Duration = Duration::from_secs(15);

/// What is no filter among the parameters.
const OTHERS: [&str; 1] = ["from_cursor"];

pub(super) fn router() -> Router<Arc<App>> {
    Router::new().route("/stream/{channel}", get(follow_channel))
}

#[derive(OpenApi)]
#[openapi(paths(follow_channel), components(schemas(ChainReplaced)))]
pub(super) struct Docs;

/// Follows a channel: blocks, transactions, marketplace_offers, marketplace_bids or governance. Each event is a
/// message as on the WebSocket, its `id` a cursor. Other parameters are filters: equality, all of them. A client
/// that is too slow gets the event `lagged`, and the stream ends.
#[utoipa::path(
    get, path = "/stream/{channel}", tag = "streams",
    params(
        ("channel" = String, Path, description = "The channel"),
        ("from_cursor" = Option<String>, Query, description = "Begins behind this cursor, of an event or of a page, or with all that ever happened: `start`; now if left out"),
        ("last-event-id" = Option<String>, Header, description = "The same, as browsers send it when they connect again"),
    ),
    responses(
        (status = 200, description = "Events", content_type = "text/event-stream"),
        (status = "default", response = super::docs::Failure),
    ),
)]
async fn follow_channel(
    State(app): State<Arc<App>>,
    caller: Caller,
    Segment(channel): Segment,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let own = OwnSeat::take(&app, &caller)?;
    let seat = Seat::take(&app)?;
    let channel = channels::find(&channel)?;
    let params = Params::of(&uri);
    let filters = params.all().filter(|(name, _)| !OTHERS.contains(name));
    let filters = filters.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let filters = Filters::of(channel, &filters.collect())?;
    let last = headers.get(&LAST_EVENT_ID).map(|id| id.to_str());
    let last = last.transpose();
    let last = last.map_err(|_| ApiError::parameter("last-event-id", "it is no cursor"))?;
    let from = last
        .filter(|id| !id.is_empty())
        .or(params.text("from_cursor"));
    let subscription = Subscription::new(&app, channel, filters, from)?;
    let following = Following {
        stopping: app.feed.stopping(),
        app,
        caller,
        subscription,
        ready: VecDeque::new(),
        sign: Instant::now() + SIGN_EVERY,
        has_ended: false,
        _seats: (seat, own),
    };
    let mut response = Body::from_stream(following.events()).into_response();
    let headers = response.headers_mut();
    let media = HeaderValue::from_static("text/event-stream");
    headers.insert(header::CONTENT_TYPE, media);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(UNBUFFERED, HeaderValue::from_static("no"));
    Ok(response)
}

/// One who follows.
struct Following {
    app: Arc<App>,
    caller: Caller,
    subscription: Subscription,
    stopping: watch::Receiver<bool>,
    ready: VecDeque<Arc<Frame>>,
    /// When something is said next, if nothing happens.
    sign: Instant,
    has_ended: bool,
    _seats: (Seat, Option<OwnSeat>),
}

impl Following {
    fn events(self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        stream::unfold(self, async |mut following| {
            let bytes = following.next().await?;
            Some((Ok(bytes), following))
        })
    }

    /// What is said next; none at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.has_ended || *self.stopping.borrow() {
                return None;
            }
            if let Some(frame) = self.ready.pop_front() {
                counter!("cairn_stream_events_total").increment(1);
                self.sign = Instant::now() + SIGN_EVERY;
                return Some(frame.lines());
            }
            match self.subscription.next().await {
                Ok(Next::Frames(frames)) => self.ready.extend(frames),
                Ok(Next::Lagged(cursor)) => {
                    counter!("cairn_stream_lagged_total").increment(1);
                    let told = json!({"type": "lagged", "cursor": cursor});
                    return Some(self.end("lagged", &told));
                }
                Err(error) => return Some(self.fail(&error.into())),
                Ok(Next::Nothing) => {
                    tokio::select! {
                        () = self.subscription.wait() => {}
                        _ = self.stopping.changed() => {}
                        () = tokio::time::sleep_until(self.sign) => return Some(self.say_nothing()),
                    }
                }
            }
        }
    }

    /// Shows that the connection is alive, if the caller may still follow.
    fn say_nothing(&mut self) -> Bytes {
        self.sign = Instant::now() + SIGN_EVERY;
        match self.caller.renewed(&self.app) {
            Ok(_) => Bytes::from_static(b":\n\n"),
            Err(error) => self.fail(&error),
        }
    }

    fn fail(&mut self, error: &ApiError) -> Bytes {
        let told = json!({"type": "error", "code": error.code.as_str(), "message": error.message});
        self.end("error", &told)
    }

    fn end(&mut self, event: &str, told: &serde_json::Value) -> Bytes {
        self.has_ended = true;
        format!("event: {event}\ndata: {told}\n\n").into()
    }
}
