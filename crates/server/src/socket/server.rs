//! The server's side of the socket.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Path, State},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::post,
};
use futures_util::stream;
use tokio::sync::mpsc;

use super::{
    RECEIPTS, REQUEST,
    uploads::{Uploads, pump},
};
use crate::{
    node::Node,
    operations::{Inputs, Message, Output, Request, inputs::ChannelReader},
};

struct Admin {
    node: Arc<Node>,
    uploads: Uploads,
}

/// Both requests of an operation come from one process, the second as soon as the first is answered.
const PATIENCE: Duration = Duration::from_secs(30);

/// The routes of the socket.
pub(crate) fn router(node: Arc<Node>) -> Router {
    router_with(node, PATIENCE)
}

/// The same, with how long an upload may take to begin.
pub(super) fn router_with(node: Arc<Node>, patience: Duration) -> Router {
    Router::new()
        .route("/v1/operations", post(perform_operation))
        .route("/v1/receipts/{token}", post(receive_receipts))
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::new(Admin {
            node,
            uploads: Uploads::new(patience),
        }))
}

async fn perform_operation(
    State(admin): State<Arc<Admin>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let request = headers
        .get(REQUEST)
        .map(|value| serde_json::from_slice::<Request>(value.as_bytes()));
    let request = match request {
        Some(Ok(request)) => request,
        Some(Err(error)) => return misunderstood(&error.to_string()),
        None => return misunderstood("it says nothing"),
    };
    let token = headers.get(RECEIPTS).and_then(|token| token.to_str().ok());
    let token = token.map(str::to_owned);
    let receipts = token.clone().map(|token| admin.uploads.expect(token));
    let (sink, blocks) = ChannelReader::channel();
    tokio::spawn(pump(body, sink));
    let inputs = Inputs {
        blocks: Some(Box::new(blocks)),
        receipts: receipts.map(|reader| Box::new(reader) as _),
    };
    let (output, messages) = Output::channel();
    tokio::spawn(async move {
        let end = tokio::select! {
            end = request.perform(&admin.node, inputs, &output) => end,
            never = admin.uploads.watch(token.as_deref(), &output) => match never {},
        };
        if let Some(token) = &token {
            // Receipts that have not begun are not wanted any more.
            drop(admin.uploads.claim(token));
        }
        output.end(end).await;
    });
    (
        [(CONTENT_TYPE, "application/x-ndjson")],
        Body::from_stream(lines(messages)),
    )
        .into_response()
}

fn misunderstood(reason: &str) -> Response {
    let way_out = "use the `cairn` of the same version as the server's";
    (
        StatusCode::BAD_REQUEST,
        format!("the request is not understood ({reason}): {way_out}"),
    )
        .into_response()
}

/// Messages as lines of JSON.
fn lines(
    messages: mpsc::Receiver<Message>,
) -> impl futures_util::Stream<Item = Result<Bytes, Infallible>> {
    stream::unfold(messages, |mut messages| async {
        let message = messages.recv().await?;
        let mut line = serde_json::to_vec(&message).expect("a message becomes JSON");
        line.push(b'\n');
        Some((Ok(line.into()), messages))
    })
}

async fn receive_receipts(
    State(admin): State<Arc<Admin>>,
    Path(token): Path<String>,
    body: Body,
) -> StatusCode {
    match admin.uploads.claim(&token) {
        None => StatusCode::NOT_FOUND,
        Some(sink) => {
            pump(body, sink).await;
            StatusCode::NO_CONTENT
        }
    }
}
