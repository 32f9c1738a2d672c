//! Server-sent events.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
};

use serde_json::{Value, json};

use super::PATIENCE;
use crate::{
    partners::{Partner, refused, register, registration},
    support::{
        http::get,
        process::{DataDir, SAMPLE_BLOCKS, Server},
    },
};

/// A client of server-sent events.
struct Sse(BufReader<TcpStream>);

impl Sse {
    fn open(server: &Server, partner: &Partner, path: &str, last: Option<&str>) -> Self {
        let mut stream = TcpStream::connect(&server.address).expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let last = last
            .map(|id| format!("last-event-id: {id}\r\n"))
            .unwrap_or_default();
        let head = format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\naccept-encoding: gzip\r\nx-api-key: {}\r\n{last}\r\n",
            partner.key
        );
        stream.write_all(head.as_bytes()).expect("it goes out");
        Self(BufReader::new(stream))
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line");
        line.trim_end().to_owned()
    }

    /// The id and the message of the next event.
    fn event(&mut self) -> (String, Value) {
        let mut id = String::new();
        loop {
            let line = self.line();
            if let Some(value) = line.strip_prefix("id: ") {
                value.clone_into(&mut id);
            }
            if let Some(value) = line.strip_prefix("data: ") {
                return (id, serde_json::from_str(value).expect("JSON"));
            }
        }
    }
}

#[test]
fn server_sent_events_go_on_from_the_last_id() {
    let data = DataDir::new();
    let server = data.serve();
    let partner = register(&server, &registration());
    let mut events = Sse::open(
        &server,
        &partner,
        "/api/v1/stream/blocks?chain=sample",
        None,
    );
    assert!(events.line().contains("200 OK"));
    data.ingest_samples();
    let told: Vec<_> = (0..SAMPLE_BLOCKS).map(|_| events.event()).collect();
    drop(events);
    let (id, event) = &told[99];
    assert_eq!(
        (id.as_str(), &event["event"]),
        (
            event["cursor"].as_str().expect("a cursor"),
            &json!("block.created")
        )
    );
    let mut again = Sse::open(&server, &partner, "/api/v1/stream/blocks", Some(id));
    for expected in &told[100..] {
        assert_eq!(again.event(), *expected);
    }
    let mut other = Sse::open(
        &server,
        &partner,
        "/api/v1/stream/blocks?chain=other",
        Some(id),
    );
    let (status, _) = server.terminate();
    assert!(status.success());
    let mut rest = String::new();
    while !other.line().is_empty() {}
    let _end = std::io::Read::read_to_string(&mut other.0, &mut rest);
    assert!(!rest.contains("block.created"), "{rest}");
}

#[test]
fn a_stream_that_cannot_be_is_refused() {
    let data = DataDir::new();
    let server = data.serve();
    let partner = register(&server, &registration());
    let ask = |path: &str| partner.get(&server, path);
    for (path, status, code) in [
        ("/api/v1/stream/weather", 404, "unknown_channel"),
        ("/api/v1/stream/blocks?colour=red", 400, "unknown_filter"),
        (
            "/api/v1/stream/blocks?from_cursor=AAAA",
            400,
            "invalid_cursor",
        ),
    ] {
        refused(&ask(path), status, code);
    }
    let nobody = get(&server.address, "/api/v1/stream/blocks");
    refused(&nobody, 403, "pro_tier_required");
    let plain = ask("/ws");
    refused(&plain, 400, "invalid_parameter");
}
