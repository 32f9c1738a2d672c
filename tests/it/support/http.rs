//! A client as plain as can be: what is asked goes out as written, what comes back is shown as it is.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

/// What came back.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// By name in lower case; of several with one name the last.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

/// Asks for a path.
pub(crate) fn get(address: &str, path: &str) -> Answer {
    request(address, "GET", path, &[])
}

/// Sends a body.
pub(crate) fn post(address: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let length = body.len().to_string();
    let headers = [headers, &[("content-length", &length)]].concat();
    exchange(address, "POST", path, &headers, body)
}

/// Asks with a method and headers; the request has no body, whatever the headers say.
pub(crate) fn request(address: &str, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    exchange(address, method, path, headers, "")
}

fn exchange(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Answer {
    let bytes = bytes_of(address, method, path, headers, body);
    parse(&bytes, method == "HEAD").unwrap_or_else(|| {
        panic!(
            "{method} {path}: no answer: {}",
            String::from_utf8_lossy(&bytes)
        )
    })
}

/// All that came back, whole or not.
pub(crate) fn bytes_of(
    address: &str,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n");
    for (name, value) in headers {
        text.push_str(&format!("{name}: {value}\r\n"));
    }
    text.push_str("\r\n");
    text.push_str(body);
    let mut stream =
        TcpStream::connect(address).unwrap_or_else(|error| panic!("{address}: {error}"));
    let patience = Some(Duration::from_secs(60));
    stream
        .set_read_timeout(patience)
        .expect("a timeout that is not zero");
    stream
        .write_all(text.as_bytes())
        .expect("the request goes out");
    let mut bytes = Vec::new();
    // A server that refuses early may reset the connection behind its answer.
    let _end = stream.read_to_end(&mut bytes);
    bytes
}

fn parse(bytes: &[u8], bare: bool) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let header = |line: &str| {
        line.split_once(':')
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
    };
    let headers: BTreeMap<_, _> = lines.filter_map(header).collect();
    let body = &bytes[end + 4..];
    let chunked = headers
        .get("transfer-encoding")
        .is_some_and(|value| value == "chunked");
    let body = match (bare, chunked) {
        (true, _) => Vec::new(),
        (false, true) => join_chunks(body)?,
        (false, false) => body.to_vec(),
    };
    Some(Answer {
        status,
        headers,
        body,
    })
}

fn join_chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&rest[..end]).ok()?, 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        rest = &rest[end + 2..];
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}
