//! The server's side of the socket.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Path, Request as HttpRequest, State},
    http::{
        HeaderMap, HeaderValue, StatusCode,
        header::{AUTHORIZATION, CONTENT_TYPE},
    },
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::post,
};
use futures_util::stream;
use tokio::sync::mpsc;

use super::{
    PEER_PREFIX, RECEIPTS, REQUEST,
    uploads::{Uploads, drain, pump},
};
use crate::{
    forward::Peers,
    node::Node,
    operations::{Inputs, Message, Operation, Output, inputs::ChannelReader},
};

struct Admin {
    node: Arc<Node>,
    peers: Peers,
    uploads: Uploads,
    /// Whether it is other nodes that ask.
    from_peers: bool,
}

/// Both requests of an operation come from one process, the second as soon as the first is answered.
const PATIENCE: Duration = Duration::from_secs(30);

/// The routes of the socket.
pub(crate) fn router(node: Arc<Node>, peers: Peers) -> Router {
    routes(node, peers, PATIENCE, false)
}

/// The routes for other nodes, who must prove that they have the operator key.
pub(crate) fn peer_router(node: Arc<Node>, peers: Peers) -> Router {
    let known = peers.clone();
    let check = middleware::from_fn(move |request: HttpRequest, next: Next| {
        let proved = proves(&known, &request);
        async move {
            match proved {
                true => next.run(request).await,
                false => refused(),
            }
        }
    });
    Router::new().nest(
        PEER_PREFIX,
        routes(node, peers, PATIENCE, true).layer(check),
    )
}

fn proves(peers: &Peers, request: &HttpRequest) -> bool {
    let headers = request.headers();
    let proof = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let what = headers.get(REQUEST).map_or(&b""[..], HeaderValue::as_bytes);
    let path = request.uri().path();
    let path = path.strip_prefix(PEER_PREFIX).unwrap_or(path);
    peers.proves(proof.unwrap_or_default(), path, what)
}

fn refused() -> Response {
    let message = "the request does not prove the operator key: give all nodes the same `[server] operator_key`, and clocks that agree";
    (StatusCode::UNAUTHORIZED, message).into_response()
}

/// The routes, with how long an upload may take to begin.
pub(super) fn routes(
    node: Arc<Node>,
    peers: Peers,
    patience: Duration,
    from_peers: bool,
) -> Router {
    Router::new()
        .route("/v1/operations", post(perform_operation))
        .route("/v1/receipts/{token}", post(receive_receipts))
        .route("/v1/leads/{shard}", post(says_whether_it_leads))
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::new(Admin {
            node,
            peers,
            uploads: Uploads::new(patience),
            from_peers,
        }))
}

async fn says_whether_it_leads(
    State(admin): State<Arc<Admin>>,
    Path(shard): Path<String>,
) -> StatusCode {
    let shard = admin.node.shard(Some(&shard), None).ok();
    match shard.is_some_and(|shard| shard.writer().is_some()) {
        true => StatusCode::NO_CONTENT,
        false => StatusCode::MISDIRECTED_REQUEST,
    }
}

/// What another node may ask of this one, if it may: only what the writer of a log does, and only of
/// the writer.
fn refuse_peer(admin: &Admin, operation: &Operation) -> Option<Response> {
    let shard = admin.node.shard(operation.shard.as_deref(), None).ok();
    let writes = shard.is_some_and(|shard| shard.writer().is_some());
    let message = match (operation.request.appends(), writes) {
        (true, true) => return None,
        (true, false) => "the node that was asked does not write that shard any more: try again",
        (false, _) => "ask the node that has the data: use its own socket",
    };
    Some((StatusCode::MISDIRECTED_REQUEST, message).into_response())
}

/// What is asked, if it is understood and may be asked.
fn allowed(admin: &Admin, headers: &HeaderMap) -> Result<Operation, Box<Response>> {
    let Some(asked) = headers.get(REQUEST) else {
        return Err(Box::new(misunderstood("it says nothing")));
    };
    let operation = serde_json::from_slice(asked.as_bytes())
        .map_err(|error| Box::new(misunderstood(&error.to_string())))?;
    let refusal = admin.from_peers.then(|| refuse_peer(admin, &operation));
    refusal
        .flatten()
        .map_or(Ok(operation), |refusal| Err(Box::new(refusal)))
}

async fn perform_operation(
    State(admin): State<Arc<Admin>>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let operation = match allowed(&admin, &headers) {
        Ok(operation) => operation,
        Err(refusal) => {
            tokio::spawn(drain(body.into_data_stream()));
            return *refusal;
        }
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
            end = operation.perform(&admin.node, &admin.peers, inputs, &output) => end,
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
