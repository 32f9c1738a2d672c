//! The command's side of the socket.

use std::{
    fmt,
    io::{self, Read as _},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, bail};
use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::stream;
use http_body_util::{BodyExt as _, StreamBody, combinators::UnsyncBoxBody};
use hyper::{
    Method, Request as HttpRequest, Response, StatusCode,
    body::{Frame, Incoming},
    client::conn::http1::{self, SendRequest},
    header::{AUTHORIZATION, HOST},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    sync::mpsc,
};

use super::{CHUNK_BYTES, PEER_PREFIX, RECEIPTS, REQUEST, short_path};
use crate::{
    forward::Peers,
    operations::{Inputs, Message, Operation, inputs::Input},
};

/// How long another node may take to accept a connection.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);

type Upload = UnsyncBoxBody<Bytes, io::Error>;

/// Where a running server takes operations.
#[derive(Clone)]
pub(crate) enum Place {
    /// Its socket in the data directory.
    Socket(PathBuf),
    /// Another node, which wants the key of the deployment proved.
    Peer {
        /// Host and port.
        authority: String,
        /// What proves it.
        peers: Peers,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "the socket {}", path.display()),
            Self::Peer { authority, .. } => write!(f, "the node at {authority}"),
        }
    }
}

/// A connection to a running server.
pub(crate) struct Connection {
    place: Place,
    sender: SendRequest<Upload>,
}

/// Connects to the server of a data directory: none when no server runs there.
pub(crate) async fn connect(path: &Path) -> anyhow::Result<Option<Connection>> {
    connect_to(Place::Socket(path.to_owned())).await
}

/// Connects to a server: none when no server answers there.
pub(crate) async fn connect_to(place: Place) -> anyhow::Result<Option<Connection>> {
    match open(&place).await {
        Ok(sender) => Ok(Some(Connection { place, sender })),
        Err(error) => match error.downcast_ref::<io::Error>().map(io::Error::kind) {
            // Where the data directory is no directory, opening it says so, with the way out.
            Some(
                io::ErrorKind::NotFound
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::NotADirectory,
            ) => Ok(None),
            Some(_) | None => Err(error.context(format!("cannot use {place}"))),
        },
    }
}

async fn open(place: &Place) -> anyhow::Result<SendRequest<Upload>> {
    match place {
        Place::Socket(path) => start(UnixStream::connect(&short_path(path)?.path).await?).await,
        Place::Peer { authority, .. } => {
            let connect = tokio::time::timeout(CONNECT_PATIENCE, TcpStream::connect(authority));
            let connected = connect.await;
            start(connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??).await
        }
    }
}

async fn start(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> anyhow::Result<SendRequest<Upload>> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // The connection ends with the sender; what goes wrong shows in the answer.
    tokio::spawn(connection);
    Ok(sender)
}

/// A request under the path of the place, with what the place wants to see. `what` is what is asked.
fn post(place: &Place, path: &str, what: &[u8]) -> hyper::http::request::Builder {
    let request = HttpRequest::builder().method(Method::POST);
    match place {
        Place::Socket(_) => request.uri(path).header(HOST, "cairn"),
        Place::Peer { authority, peers } => request
            .uri(format!("{PEER_PREFIX}{path}"))
            .header(HOST, authority)
            .header(AUTHORIZATION, peers.sign(path, what)),
    }
}

/// Whether another node says that it writes a shard.
pub(crate) async fn leads(place: &Place, shard: &str) -> anyhow::Result<bool> {
    let mut sender = open(place).await?;
    let http = post(place, &format!("/v1/leads/{shard}"), b"").body(upload(None))?;
    let asked = tokio::time::timeout(CONNECT_PATIENCE, sender.send_request(http));
    let answer = asked.await.context("it took too long")??;
    match answer.status() {
        StatusCode::NO_CONTENT => Ok(true),
        StatusCode::MISDIRECTED_REQUEST => Ok(false),
        _ => {
            let text = answer.into_body().collect().await?.to_bytes();
            bail!("{}", String::from_utf8_lossy(&text));
        }
    }
}

impl Connection {
    /// Asks the server to do something; its messages come out of the channel.
    pub(crate) async fn perform(
        mut self,
        operation: &Operation,
        inputs: Inputs,
    ) -> anyhow::Result<mpsc::Receiver<Message>> {
        let request = serde_json::to_vec(operation)?;
        let mut http = post(&self.place, "/v1/operations", &request).header(REQUEST, request);
        let receipts = inputs.receipts.map(|input| (token(), input));
        if let Some((token, _)) = &receipts {
            http = http.header(RECEIPTS, token);
        }
        let answer = self
            .sender
            .send_request(http.body(upload(inputs.blocks))?)
            .await;
        let answer =
            answer.context("the exchange with the server broke off; its log may say more")?;
        if answer.status() != StatusCode::OK {
            let text = answer.into_body().collect().await?.to_bytes();
            bail!("{}", String::from_utf8_lossy(&text));
        }
        if let Some((token, input)) = receipts {
            tokio::spawn(send_receipts(self.place, token, input));
        }
        let (messages, receiver) = mpsc::channel(256);
        tokio::spawn(receive(answer, messages, self.sender));
        Ok(receiver)
    }
}

/// A name for the receipts of this process.
fn token() -> String {
    format!("{}-{:?}", std::process::id(), std::time::Instant::now())
        .replace(|c: char| !c.is_ascii_alphanumeric(), "-")
}

async fn send_receipts(place: Place, token: String, input: Input) -> anyhow::Result<()> {
    let mut sender = open(&place).await?;
    let path = format!("/v1/receipts/{token}");
    let http = post(&place, &path, b"").body(upload(Some(input)))?;
    sender.send_request(http).await?;
    Ok(())
}

/// A body that reads an input on a thread that may block.
fn upload(input: Option<Input>) -> Upload {
    let (chunks, receiver) = mpsc::channel::<io::Result<Bytes>>(4);
    if let Some(mut input) = input {
        tokio::task::spawn_blocking(move || {
            loop {
                let mut chunk = vec![0; CHUNK_BYTES];
                let read = input.read(&mut chunk);
                let ended = !matches!(read, Ok(length) if length > 0);
                let chunk = read.map(|length| Bytes::from(chunk).slice(..length));
                let is_end = matches!(&chunk, Ok(chunk) if chunk.is_empty());
                if is_end || chunks.blocking_send(chunk).is_err() || ended {
                    return;
                }
            }
        });
    }
    let frames = stream::unfold(receiver, |mut receiver| async {
        let chunk = receiver.recv().await?;
        Some((chunk.map(Frame::data), receiver))
    });
    StreamBody::new(frames).boxed_unsync()
}

/// Reads the messages of an answer; a server that goes away half-way is a failure like any other.
async fn receive(
    answer: Response<Incoming>,
    messages: mpsc::Sender<Message>,
    _sender: SendRequest<Upload>,
) {
    let mut body = answer.into_body();
    let mut buffer = BytesMut::new();
    while let Some(Ok(frame)) = body.frame().await {
        buffer.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
        while let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
            let line = buffer.split_to(end);
            buffer.advance(1);
            let message =
                serde_json::from_slice(&line).unwrap_or_else(|error| failed(&error.to_string()));
            if messages.send(message).await.is_err() {
                return;
            }
        }
    }
    // Nobody reads on behind the last message; for a reader in the middle this is the end.
    let _ended = messages.send(failed("it closed the connection")).await;
}

fn failed(reason: &str) -> Message {
    Message::Failed {
        exit: crate::exit::Exit::Failed,
        message: format!("the server did not finish ({reason}); see its log and try again"),
    }
}
