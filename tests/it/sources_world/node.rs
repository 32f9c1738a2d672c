//! A node made of a closure, over plain HTTP.

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What a made-up node does with a request.
pub(crate) enum Reply {
    /// A body of JSON.
    Json(String),
    /// Any status, headers (each with its line end) and body.
    Raw(u16, &'static str, String),
    /// A body that never ends.
    Endless,
}

/// A node made of a closure from the request's body to the reply. It ends with its task.
pub(crate) struct FakeNode {
    pub(crate) url: String,
    task: JoinHandle<()>,
}

impl Drop for FakeNode {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeNode {
    pub(crate) async fn new(answer: impl Fn(Value) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = Arc::new(answer);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = Arc::clone(&answer);
                // A source that hangs up is no failure of the test.
                tokio::spawn(async move { serve(stream, &*answer).await.unwrap_or_default() });
            }
        });
        Self { url, task }
    }

    /// A node that answers each call of a request, batches included, with a result or an error.
    pub(crate) async fn answering(
        call: impl Fn(&str, &Value) -> Result<Value, Value> + Send + Sync + 'static,
    ) -> Self {
        Self::new(move |request| Reply::Json(answer_all(&request, &call))).await
    }
}

pub(crate) fn answer_all(
    request: &Value,
    call: &impl Fn(&str, &Value) -> Result<Value, Value>,
) -> String {
    let one = |request: &Value| match call(request["method"].as_str().unwrap(), &request["params"])
    {
        Ok(result) => json!({"jsonrpc": "2.0", "id": request["id"], "result": result}),
        Err(error) => json!({"jsonrpc": "2.0", "id": request["id"], "error": error}),
    };
    match request {
        Value::Array(requests) => Value::from(requests.iter().map(one).collect::<Vec<_>>()),
        request => one(request),
    }
    .to_string()
}

async fn serve(
    mut stream: TcpStream,
    answer: &(impl Fn(Value) -> Reply + Sync),
) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let Some(body) = request_body(&mut stream, &mut buffer).await? else {
            return Ok(());
        };
        let (status, headers, body) = match answer(serde_json::from_slice(&body)?) {
            Reply::Json(body) => (200, "", body),
            Reply::Raw(status, headers, body) => (status, headers, body),
            Reply::Endless => {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n")
                    .await?;
                loop {
                    stream.write_all(&[b'['; 65536]).await?;
                }
            }
        };
        let head = format!(
            "HTTP/1.1 {status} X\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
    }
}

async fn request_body(
    stream: &mut TcpStream,
    buffer: &mut Vec<u8>,
) -> std::io::Result<Option<Vec<u8>>> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(0);
    while buffer.len() < end + length {
        if stream.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    let rest = buffer.split_off(end + length);
    let body = std::mem::replace(buffer, rest).split_off(end);
    Ok(Some(body))
}
