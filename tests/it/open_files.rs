//! Clients take open files, and databases need some.

use std::{
    process::{Child, Command},
    thread,
    time::Duration,
};

use crate::support::{
    http::get,
    process::{DataDir, Server, binary, repository},
};

/// A process of its own, for its own open files. Those that wait for their turn wait at the system,
/// which keeps some systems from letting all of them connect.
const SILENT_CLIENTS: &str =
    "for i in $(seq 700); do exec {c}<>/dev/tcp/${0/:/\\/}; done; exec sleep 60";

fn silent_clients(address: &str) -> Child {
    let clients = Command::new("bash")
        .args(["-c", SILENT_CLIENTS, address])
        .spawn()
        .unwrap();
    thread::sleep(Duration::from_secs(2));
    clients
}

#[test]
fn clients_that_say_nothing_leave_the_databases_their_open_files() {
    let data = DataDir::with_samples();
    let mut command = Command::new("bash");
    command
        .args(["-c", "ulimit -n 600; exec \"$@\"", "limited"])
        .arg(binary())
        .args(["serve", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(data.path())
        .current_dir(repository());
    let server = Server::start(&mut command);
    server.wait_until("/health/ready", |health| health["ready"] == true);
    let log = server.log();
    assert!(log.contains("fewer connections are served"), "{log}");
    let mut clients = silent_clients(&server.address);
    data.cairn("verify").ok();
    clients.kill().unwrap();
    clients.wait().unwrap();
    assert_eq!(get(&server.address, "/health/ready").status, 200);
    let log = server.log();
    assert!(!log.contains("Too many open files"), "{log}");
}
