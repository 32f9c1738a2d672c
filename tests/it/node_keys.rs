//! Addresses of nodes hold keys, and nobody else is told them.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{
    http::{get, request},
    process::DataDir,
};

#[test]
fn the_key_of_a_node_that_is_down_is_neither_in_health_nor_in_the_log() {
    let data = DataDir::new();
    let config = data.file(
        "cairn.toml",
        "[[source]]\nname = \"eth\"\nkind = \"evm-rpc\"\nurl = \"http://127.0.0.1:1/v3/KEY\"\n\
         ws = \"ws://127.0.0.1:1/v3/KEY\"\n",
    );
    let mut command = data.command("serve --listen 127.0.0.1:0 --config");
    let server = crate::support::process::Server::start(command.arg(config));
    let waits = |health: &Value| health.to_string().contains("does not answer properly");
    let health = server.wait_until("/health/ready", waits);
    assert!(!health.to_string().contains("KEY"), "{health}");
    let path = "/api/v1/explorer/address/0x0000000000000000000000000000000000000001";
    let answer = get(&server.address, path);
    assert!(!String::from_utf8_lossy(&answer.body).contains("KEY"));
    let metrics = request(&server.address, "GET", "/metrics", &[]);
    assert!(!String::from_utf8_lossy(&metrics.body).contains("KEY"));
    let started = Instant::now();
    let log = loop {
        let log = server.log();
        if log.contains("waiting for the node") && log.contains("no subscription of new heads") {
            break log;
        }
        assert!(started.elapsed() < Duration::from_secs(20), "{log}");
        thread::sleep(Duration::from_millis(20));
    };
    assert!(!log.contains("KEY"), "{log}");
}
