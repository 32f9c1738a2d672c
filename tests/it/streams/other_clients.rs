//! Clients of other people: the guide's samples in Node and Python, and one that sends whatever OpenAPI allows.

use std::{
    io::{BufRead as _, BufReader},
    path::PathBuf,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::{
    partners::{register, registration},
    support::process::{DataDir, SAMPLE_BLOCKS, Server, repository, run},
};

/// A folder of clients that ops/setup.sh installed.
fn clients() -> PathBuf {
    let folder = repository().join("target/tools/clients");
    assert!(
        folder.is_dir(),
        "{} is missing: run ops/setup.sh --clients",
        folder.display()
    );
    folder
}

#[test]
fn the_samples_of_the_guide_follow_in_node_and_python() {
    let data = DataDir::new();
    let server = data.serve();
    let partner = register(&server, &registration());
    let (url, count) = (
        format!("ws://{}/ws", server.address),
        SAMPLE_BLOCKS.to_string(),
    );
    let script = |name: &str| repository().join("tests/independent").join(name);
    let mut node = Command::new("node");
    let node = node
        .arg(script("guide_stream.mjs"))
        .args([&url, &partner.key, &count])
        .current_dir(clients())
        .stdout(Stdio::piped());
    let mut node = node.spawn().expect("node runs");
    let mut told = BufReader::new(node.stdout.take().expect("stdout is piped"));
    let mut line = String::new();
    for channel in ["blocks", "transactions"] {
        line.clear();
        told.read_line(&mut line).expect("a line");
        assert_eq!(line.trim(), format!("following {channel}"));
    }
    data.ingest_samples();
    line.clear();
    told.read_line(&mut line).expect("a line");
    assert!(node.wait().expect("it ends").success(), "{line}");
    let seen: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(seen["blocks"], SAMPLE_BLOCKS);
    let mut python = Command::new(clients().join("venv/bin/python"));
    let python = python
        .arg(script("guide_stream.py"))
        .args([&url, &partner.key, &count]);
    assert_eq!(run(python).ok().stdout.trim(), count);
}

#[test]
fn no_request_that_the_description_allows_is_answered_with_a_fault_or_against_it() {
    let data = DataDir::with_samples();
    let file = data.file(
        "open.toml",
        "[api]\nopen_access = true\n[sql]\ntimeout = \"5s\"\n",
    );
    let mut command = data.command("serve --listen 127.0.0.1:0");
    let server = Server::start(command.arg("-c").arg(file));
    // What is not reached in time is 503 by contract.
    let settings = data.file(
        "schemathesis.toml",
        "[checks.not_a_server_error]\nexpected-statuses = [\"2xx\", \"3xx\", \"4xx\", 503]\n",
    );
    let mut schemathesis = Command::new(clients().join("venv/bin/schemathesis"));
    let url = format!("http://{}/api/v1/openapi.json", server.address);
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance";
    let asked = schemathesis
        .arg("--config-file")
        .arg(settings)
        .args([
            "run",
            &url,
            "--checks",
            checks,
            "--phases",
            "examples,fuzzing",
        ])
        // A stream has no end.
        .args([
            "--exclude-path-regex",
            "/stream/|/partners/register",
            "--max-examples",
            "15",
            "--seed",
            "7",
        ])
        .args(["--request-timeout", "20"])
        .current_dir(data.path());
    let ended = run(asked);
    assert_eq!(ended.code, Some(0), "{}\n{}", ended.stdout, ended.stderr);
}
