//! The conformance cases of the partner dialect (`tests/cases/partner/`), against a real server.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::support::{
    http::{Answer, request},
    matching::mismatches,
    process::{DataDir, SAMPLE_BLOCKS, repository, run, shared_data, unpack},
};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    request: Request,
    expect: Expect,
    #[serde(default)]
    capture: BTreeMap<String, String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[serde(default = "get")]
    method: String,
    path: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expect {
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, Value>,
    json: Option<Value>,
    #[serde(default)]
    text: Vec<String>,
}

fn get() -> String {
    "GET".into()
}

/// What earlier cases of the file captured.
type Captured = BTreeMap<String, String>;

fn fill(text: &str, captured: &Captured) -> String {
    let each = |text: String, (name, value): (&String, &String)| {
        text.replace(&format!("${{{name}}}"), value)
    };
    captured.iter().fold(text.to_owned(), each)
}

/// The same with every text inside.
fn fill_all(value: &Value, captured: &Captured) -> Value {
    match value {
        Value::String(text) => Value::String(fill(text, captured)),
        Value::Array(items) => items.iter().map(|item| fill_all(item, captured)).collect(),
        Value::Object(fields) => {
            let field =
                |(name, value): (&String, &Value)| (name.clone(), fill_all(value, captured));
            fields.iter().map(field).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// Asks, and says everything that is not as expected.
fn check(address: &str, case: &Case, captured: &mut Captured) -> Vec<String> {
    let path = fill(&case.request.path, captured);
    let headers: Vec<_> = case
        .request
        .headers
        .iter()
        .map(|(n, v)| (n.as_str(), fill(v, captured)))
        .collect();
    let headers: Vec<_> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()))
        .collect();
    let answer = request(address, &case.request.method, &path, &headers);
    let json: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let mut wrong = compare(&answer, &json, &case.expect, captured);
    for (name, place) in &case.capture {
        match find(&answer, &json, place) {
            Some(value) => drop(captured.insert(name.clone(), value)),
            None => wrong.push(format!("there is no {place} to be captured")),
        }
    }
    if !wrong.is_empty() {
        wrong.insert(0, format!("{} {path} {headers:?}", case.request.method));
    }
    wrong
}

fn compare(answer: &Answer, json: &Value, expect: &Expect, captured: &Captured) -> Vec<String> {
    let mut wrong = Vec::new();
    let body = String::from_utf8_lossy(&answer.body);
    if answer.status != expect.status {
        let start: String = body.chars().take(300).collect();
        wrong.push(format!(
            "status: expected {}, got {}: {start}",
            expect.status, answer.status
        ));
    }
    for (name, value) in &expect.headers {
        let got = answer
            .headers
            .get(name)
            .map(|value| Value::String(value.clone()));
        let place = format!("header {name}");
        mismatches(&place, &fill_all(value, captured), got.as_ref(), &mut wrong);
    }
    if let Some(expected) = &expect.json {
        mismatches("$", &fill_all(expected, captured), Some(json), &mut wrong);
    }
    let missing = expect
        .text
        .iter()
        .filter(|text| !body.contains(text.as_str()));
    wrong.extend(missing.map(|text| format!("the body lacks `{text}`")));
    wrong
}

/// The text at a place of the answer: a path of names with dots, or `header:name`.
fn find(answer: &Answer, json: &Value, place: &str) -> Option<String> {
    if let Some(name) = place.strip_prefix("header:") {
        return answer.headers.get(name).cloned();
    }
    let pointer = format!("/{}", place.replace('.', "/"));
    json.pointer(&pointer).map(|value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    })
}

fn files(folder: &str) -> Vec<PathBuf> {
    let folder = repository().join("tests/cases").join(folder);
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let mut paths: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|e| e == "yaml"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folder:?} holds no cases");
    paths
}

/// Runs every case of a folder and fails with all that is not as expected.
fn run_cases(folder: &str, address: &str) {
    let (mut count, mut failed) = (0, Vec::new());
    for path in files(folder) {
        let text = std::fs::read_to_string(&path).expect("a readable file");
        let cases: Vec<Case> =
            serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
        let mut captured = Captured::new();
        for case in &cases {
            let wrong = check(address, case, &mut captured);
            if !wrong.is_empty() {
                let file = path.file_name().unwrap_or_default().display();
                failed.push(format!(
                    "{folder}/{file}: {}\n    {}",
                    case.name,
                    wrong.join("\n    ")
                ));
            }
        }
        count += cases.len();
    }
    eprintln!("{folder}: {count} cases");
    assert!(
        failed.is_empty(),
        "{} of {count} cases failed:\n{}",
        failed.len(),
        failed.join("\n")
    );
}

#[test]
fn the_partner_dialect_answers_as_its_cases_say() {
    let Some(folder) = shared_data("evm-mainnet-17686110-17686132") else {
        return;
    };
    let data = DataDir::new();
    let (blocks, receipts) = (
        unpack(&folder.join("blocks.jsonl.zst")),
        unpack(&folder.join("receipts.jsonl.zst")),
    );
    for (part, finality) in [(0..10, "--final"), (10..23, "--json")] {
        let blocks = data.file("blocks.jsonl", blocks[part.clone()].concat());
        let receipts = data.file("receipts.jsonl", receipts[part].concat());
        let mut command = data.command("ingest --chain mainnet");
        run(command
            .arg(finality)
            .arg(blocks)
            .arg("--receipts")
            .arg(receipts))
        .ok();
    }
    let server = data.serve();
    server.wait_until("/health/ready", |health| health["ready"] == true);
    run_cases("partner", &server.address);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[test]
fn the_partner_dialect_answers_of_the_samples_as_its_cases_say() {
    let data = DataDir::with_samples();
    assert_eq!(data.head(), SAMPLE_BLOCKS);
    let server = data.serve();
    run_cases("partner-samples", &server.address);
}
