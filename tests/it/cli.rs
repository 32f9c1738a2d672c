//! Commands, as people and scripts use them.

use std::process::{Command, Stdio};

use cairn_domain::{BlockRef, Stream};
use cairn_engine::store::{Store, StoreOptions};
use serde_json::Value;

use crate::support::process::{DataDir, SAMPLE_BLOCKS, cairn, run};

/// The events of a log, a JSON object a line.
fn lines(text: &str) -> Vec<Value> {
    let parse =
        |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(parse).collect()
}

#[test]
fn every_command_has_help_that_says_what_it_does() {
    let commands = [
        "",
        "demo",
        "serve",
        "ingest",
        "log",
        "log stat",
        "log tail",
        "log cat",
        "log verify",
        "replay",
        "verify",
        "dead-letter",
        "dead-letter list",
        "dead-letter retry",
        "config",
        "config check",
        "config default",
        "schemas",
    ];
    for command in commands {
        let ended = run(&mut cairn(command.split_whitespace().chain(["--help"]))).ok();
        let (first, _) = ended.stdout.split_once('\n').expect("several lines");
        assert!(first.len() > 10, "{command}: {ended:#?}");
        assert!(
            ended.stdout.contains("Usage: cairn"),
            "{command}: {ended:#?}"
        );
    }
    let top = run(&mut cairn(["--help"])).ok().stdout;
    assert!(top.contains("Exit codes:"), "{top}");
    run(&mut cairn(["--version"])).ok();
    run(&mut cairn(["nonsense"])).refused(2, &["nonsense"]);
}

#[test]
fn the_default_configuration_is_accepted_and_a_wrong_one_is_refused_with_all_its_errors() {
    let data = DataDir::new();
    let default = run(&mut cairn(["config", "default"])).ok().stdout;
    let check = |name: &str, text: &str| {
        let path = data.file(name, text);
        run(cairn(["config", "check", "-c"]).arg(path))
    };
    let ended = check("default.toml", &default).ok();
    assert!(
        ended.stdout.contains("the configuration is valid"),
        "{ended:#?}"
    );
    let uncommented: String = default
        .lines()
        .skip_while(|line| !line.starts_with("# [[source]]"))
        .map(|line| line.trim_start_matches("# ").to_owned() + "\n")
        .collect();
    check("sources.toml", &uncommented).ok();
    let wrong = "[server]\nlisten = \"nowhere\"\nlitsen = 1\n[[source]]\nkind = \"evm-rpc\"\n";
    let parts = ["wrong.toml", "server.listen", "litsen", "name", "url"];
    check("wrong.toml", wrong).refused(2, &parts);
}

#[test]
fn the_log_can_be_looked_at() {
    let data = DataDir::new();
    data.cairn("log stat")
        .refused(1, &["there is no log", "--data-dir"]);
    data.ingest_samples();
    let stat = data.cairn("log stat --json").ok().json();
    assert_eq!(
        (&stat["head"], &stat["epochs"]),
        (&SAMPLE_BLOCKS.into(), &1.into())
    );
    let tail = lines(&data.cairn("log tail -n 2").ok().stdout);
    assert_eq!(tail.first().expect("lines")["position"], SAMPLE_BLOCKS - 1);
    assert_eq!(tail.last().expect("lines")["position"], SAMPLE_BLOCKS);
    let cat = lines(&data.cairn("log cat --from 1001 --to 1001").ok().stdout);
    assert_eq!(cat[0]["event"]["block"]["height"], 1000);
    let named = |name: &str| cat.iter().filter(|line| line["name"] == name).count();
    assert_eq!(
        (named("transaction_included"), named("transaction_executed")),
        (31, 31)
    );
    let whole = data.cairn("log verify --json").ok().json();
    assert_eq!(
        (&whole["commits"], &whole["problems"]),
        (&SAMPLE_BLOCKS.into(), &Value::Array(vec![]))
    );
}

/// The digests of all tables.
fn digests(data: &DataDir) -> Vec<Value> {
    let report = data.cairn("verify --json").ok().json();
    let tables = report["tables"].as_array().expect("tables").iter();
    tables.map(|table| table["stored"].clone()).collect()
}

#[test]
fn a_replay_gives_the_same_store_and_so_does_a_store_that_was_deleted() {
    let data = DataDir::with_samples();
    let before = digests(&data);
    assert!(before.len() > 10, "{before:?}");
    let ended = data.cairn("replay --projection tokens").ok();
    assert!(
        ended
            .stdout
            .contains("folded tokens anew up to position 2063"),
        "{ended:#?}"
    );
    assert_eq!(digests(&data), before);
    data.cairn("replay").ok();
    assert_eq!(digests(&data), before);
    std::fs::remove_dir_all(data.path().join("store")).expect("the store is disposable");
    data.cairn("replay").ok();
    assert_eq!(digests(&data), before);
    data.cairn("replay --projection nonsense")
        .refused(2, &["nonsense", "tokens"]);
}

#[test]
fn verify_names_the_position_of_damage_and_replay_mends_it() {
    let data = DataDir::with_samples();
    let stream = Stream::chain("sample").expect("a valid name");
    {
        let store =
            Store::open(&data.path().join("store"), StoreOptions::default()).expect("the store");
        let view = store.view(None).expect("the latest");
        let hash = view
            .canonical(&stream, 1000)
            .expect("readable")
            .expect("block 1000")
            .hash;
        store
            .damage_block(&stream, BlockRef { height: 1000, hash })
            .expect("damage");
    }
    let ended = data.cairn("verify");
    assert_eq!(ended.code, Some(3), "{ended:#?}");
    assert!(ended.stdout.contains("position 1001"), "{ended:#?}");
    assert!(ended.stdout.contains("cairn replay"), "{ended:#?}");
    let json = data.cairn("verify --json");
    assert_eq!(json.code, Some(3), "{json:#?}");
    let tables = json.json()["tables"].as_array().expect("tables").clone();
    let odd: Vec<_> = tables
        .iter()
        .filter(|table| !table["first_difference"].is_null())
        .collect();
    assert_eq!(odd.len(), 1, "{odd:#?}");
    assert_eq!(
        (&odd[0]["stored"]["table"], &odd[0]["first_difference"]),
        (&"blocks".into(), &1001.into())
    );
    data.cairn("replay --projection blocks").ok();
    data.verify();
}

#[test]
fn the_files_in_schemas_are_what_the_code_gives() {
    run(&mut cairn(["schemas", "--check"])).ok();
}

#[test]
fn commands_say_the_same_beside_a_running_server() {
    let data = DataDir::with_samples();
    let commands = [
        "log cat --from 2060",
        "log tail -n 3",
        "log verify --json",
        "verify --json",
        "dead-letter list",
    ];
    let alone: Vec<_> = commands
        .iter()
        .map(|line| data.cairn(line).ok().stdout)
        .collect();
    let server = data.serve();
    for (line, alone) in commands.iter().zip(&alone) {
        assert_eq!(data.cairn(line).ok().stdout, *alone, "{line}");
    }
    let again = data.ingest_samples().json();
    assert_eq!(
        (&again["blocks"], &again["duplicates"]),
        (&0.into(), &SAMPLE_BLOCKS.into())
    );
    data.cairn("ingest samples/nothing.jsonl --chain sample")
        .refused(1, &["samples/nothing.jsonl"]);
    let bad = data.file("bad.jsonl", "nonsense\n");
    run(data.command("ingest --chain other").arg(bad)).refused(1, &["bad.jsonl", "line 1"]);
    data.cairn("replay").ok();
    data.verify();
    assert!(server.terminate().0.success());
}

#[test]
fn a_reader_that_has_read_enough_ends_a_command_quietly() {
    let data = DataDir::with_samples();
    let mut command = data.command("log cat");
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("cairn starts");
    let head = Command::new("head")
        .arg("-n1")
        .stdin(child.stdout.take().expect("piped"))
        .output();
    assert_eq!(
        lines(&String::from_utf8(head.expect("head runs").stdout).expect("text")).len(),
        1
    );
    let ended = child.wait_with_output().expect("it ends");
    assert!(
        ended.status.success() && ended.stderr.is_empty(),
        "{ended:?}"
    );
}
