//! The rules of the house that a program can check: who may use whom, how long things may be, what
//! may not be in the tree.

mod unused;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use cairn_domain::{Event, projections::ALL};

use crate::support::{
    process::repository,
    sources::{Source, functions, read_sources, tracked_files},
};

/// Which crates of the workspace a crate may depend on. Tests and benches may use all.
const MAY_USE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("engine", &["cairn-domain"]),
    ("lake", &["cairn-domain", "cairn-engine"]),
    ("api", &["cairn-domain", "cairn-engine", "cairn-lake"]),
    (
        "server",
        &["cairn-domain", "cairn-engine", "cairn-lake", "cairn-api"],
    ),
];

/// Where a library from outside may be used, by the start of its name.
const ONLY_IN: &[(&str, &[&str])] = &[
    // The benches measure beside plain librdkafka and RocksDB.
    ("rdkafka", &["engine", "benches"]),
    ("rocksdb", &["engine", "benches"]),
    ("arrow-schema", &["domain", "lake"]),
    ("arrow", &["lake", "tests"]),
    ("parquet", &["lake", "tests"]),
    ("datafusion", &["lake"]),
    ("iceberg", &["lake"]),
    ("axum", &["api", "server"]),
    ("anyhow", &["server", "tests", "benches"]),
];

/// Longest file and function, in lines.
const FILE_LINES: usize = 400;
const FUNCTION_LINES: usize = 60;

/// What is longer, with the reason.
const LONGER: &[(&str, &str)] = &[
    (
        "tests/it/sources_file.rs: fn cases",
        "a table, one line a case",
    ),
    (
        "tests/it/sources_rpc/sessions.rs: fn recorded_live_sessions_end_on_the_right_branch",
        "one walk over five recordings with what each must end on",
    ),
];

/// Where each crate is.
fn crates() -> BTreeMap<String, PathBuf> {
    let top = repository();
    let inside = fs::read_dir(top.join("crates"))
        .expect("crates")
        .map(|entry| entry.expect("an entry").path());
    let all = inside.chain(["tests", "benches"].map(|name| top.join(name)));
    let named = all.map(|path| {
        (
            path.file_name().unwrap_or_default().display().to_string(),
            path,
        )
    });
    named
        .filter(|(_, path)| path.join("Cargo.toml").is_file())
        .collect()
}

/// The names of a crate's dependencies, those for tests included if `tests`.
fn dependencies(path: &Path, tests: bool) -> Vec<String> {
    let text = fs::read_to_string(path.join("Cargo.toml")).expect("a manifest");
    let manifest: toml::Table = text.parse().expect("TOML");
    let sections = ["dependencies", "build-dependencies", "dev-dependencies"];
    let sections = sections.iter().take(if tests { 3 } else { 2 });
    let tables = sections.filter_map(|section| manifest.get(*section)?.as_table());
    tables.flat_map(|table| table.keys().cloned()).collect()
}

#[track_caller]
fn assert_none(problems: Vec<String>) {
    assert!(
        problems.is_empty(),
        "{} problems:\n{}",
        problems.len(),
        problems.join("\n")
    );
}

#[test]
fn crates_use_only_the_crates_that_the_design_allows() {
    let mut problems = Vec::new();
    for (name, path) in crates() {
        let own = |dependency: &String| dependency.starts_with("cairn-");
        let allowed = MAY_USE
            .iter()
            .find(|(user, _)| *user == name)
            .map(|(_, allowed)| *allowed);
        let Some(allowed) = allowed else {
            if !["tests", "benches"].contains(&name.as_str()) {
                problems.push(format!("crate {name} is not in the design"));
            }
            continue;
        };
        for used in dependencies(&path, true).iter().filter(|name| own(name)) {
            if !allowed.contains(&used.as_str()) {
                problems.push(format!("{name} may not use {used}"));
            }
        }
    }
    assert_none(problems);
}

#[test]
fn libraries_are_used_only_where_the_design_allows() {
    let mut problems = Vec::new();
    for (name, path) in crates() {
        for used in dependencies(&path, true) {
            let rule = ONLY_IN.iter().find(|(start, _)| used.starts_with(start));
            if let Some((_, allowed)) = rule
                && !allowed.contains(&name.as_str())
            {
                problems.push(format!("{name} may not use {used}, only {allowed:?} may"));
            }
        }
    }
    assert_none(problems);
}

#[test]
fn the_domain_is_pure() {
    let path = &crates()["domain"];
    let outside = [
        "tokio",
        "async-trait",
        "futures",
        "rand",
        "reqwest",
        "tracing",
        "metrics",
        "jiff",
        "chrono",
    ];
    let used = dependencies(path, false);
    let impure = used
        .iter()
        .filter(|name| outside.iter().any(|start| name.starts_with(start)));
    let mut problems: Vec<_> = impure
        .map(|name| format!("domain depends on {name}"))
        .collect();
    let forbidden = [
        "SystemTime",
        "Instant",
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "std::thread",
        "async fn",
        "HashMap",
        "HashSet",
        "thread_rng",
        "println!",
        "tokio",
    ];
    for source in domain_sources() {
        for (number, line) in source.code() {
            let found = forbidden.iter().filter(|word| line.contains(**word));
            problems.extend(found.map(|word| format!("{}:{number}: {word}", source.path)));
        }
    }
    assert_none(problems);
}

fn domain_sources() -> Vec<Source> {
    read_sources()
        .into_iter()
        .filter(|source| source.path.starts_with("crates/domain/src"))
        .collect()
}

#[test]
fn stored_types_are_plain() {
    let mut problems = Vec::new();
    for source in domain_sources() {
        for (number, line) in source
            .code()
            .filter(|(_, line)| line.trim_start().starts_with("#[serde("))
        {
            let parts = line.split(['(', ')', ',', '=', ' ']);
            let lossy = [
                "flatten",
                "skip",
                "tag",
                "untagged",
                "skip_serializing_if",
                "skip_serializing",
            ];
            for part in parts.filter(|part| lossy.contains(part)) {
                problems.push(format!(
                    "{}:{number}: serde {part} loses data in the record codec",
                    source.path
                ));
            }
        }
    }
    assert_none(problems);
}

#[test]
fn modules_are_named_for_what_they_hold() {
    let vague = ["utils", "util", "common", "helpers", "helper", "misc"];
    let parts = |path: &str| {
        path.trim_end_matches(".rs")
            .split('/')
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let bad = |name: &String| vague.contains(&name.as_str()) || name.ends_with("_v2");
    let paths = read_sources().into_iter().map(|source| source.path);
    assert_none(paths.filter(|path| parts(path).iter().any(bad)).collect());
}

#[test]
fn files_and_functions_are_short() {
    let mut problems = Vec::new();
    let mut allowed: Vec<_> = LONGER.iter().map(|(name, _)| *name).collect();
    let mut complain = |name: String, lines: usize, most: usize| {
        if let Some(index) = allowed.iter().position(|allowed| *allowed == name) {
            allowed.remove(index);
        } else {
            problems.push(format!("{name}: {lines} lines; at most {most}"));
        }
    };
    for source in read_sources() {
        let lines = source.text.lines().count();
        if lines > FILE_LINES {
            complain(source.path.clone(), lines, FILE_LINES);
        }
        for (name, lines) in functions(&source.text)
            .into_iter()
            .filter(|(_, lines)| *lines > FUNCTION_LINES)
        {
            complain(format!("{}: fn {name}", source.path), lines, FUNCTION_LINES);
        }
    }
    problems.extend(
        allowed
            .iter()
            .map(|name| format!("{name} is short again: take it off the list")),
    );
    assert_none(problems);
}

#[test]
fn every_exception_from_a_lint_says_why() {
    let mut problems = Vec::new();
    for source in read_sources() {
        let attributes = ["#[allow", "#![allow", "#[expect", "#![expect"];
        for (start, _) in attributes
            .iter()
            .flat_map(|attribute| source.text.match_indices(attribute))
        {
            let line_start = source.text[..start].rfind('\n').map_or(0, |at| at + 1);
            let end = source.text[start..]
                .find(']')
                .map_or(source.text.len(), |end| start + end);
            let is_attribute = source.text[line_start..start].trim().is_empty();
            if is_attribute && !source.text[start..end].contains("reason") {
                let line = source.text[..start].lines().count() + 1;
                problems.push(format!(
                    "{}:{line}: {}",
                    source.path,
                    &source.text[start..end]
                ));
            }
        }
    }
    assert_none(problems);
}

#[test]
fn nothing_is_left_to_do_in_comments() {
    let words = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("X", "XX"),
    ];
    let mut problems = Vec::new();
    for source in read_sources() {
        for (number, line) in source.text.lines().enumerate() {
            if words.iter().any(|word| line.contains(word)) {
                problems.push(format!("{}:{}: {}", source.path, number + 1, line.trim()));
            }
        }
    }
    assert_none(problems);
}

#[test]
fn no_file_names_a_registry_host_or_a_place_on_one_machine() {
    let places = [
        concat!("/wo", "rk/"),
        concat!("/ho", "me/"),
        concat!("/ro", "ot/"),
        concat!("/Us", "ers/"),
        concat!("index.crates", ".io"),
        concat!("static.crates", ".io"),
        concat!("registry.np", "mjs.org"),
        concat!("pythonho", "sted.org"),
        concat!("proxy.go", "lang.org"),
    ];
    let mut problems = Vec::new();
    for path in tracked_files() {
        let Ok(text) = fs::read_to_string(repository().join(&path)) else {
            continue;
        };
        for (number, line) in text.lines().enumerate() {
            let found = places.iter().filter(|place| line.contains(**place));
            problems.extend(found.map(|place| format!("{path}:{}: {place}", number + 1)));
        }
    }
    assert_none(problems);
}

#[test]
fn everything_that_is_registered_has_docs_and_a_name_of_its_own() {
    let mut names = Vec::new();
    for def in Event::DEFS {
        let schema = (def.schema)();
        let doc = schema
            .get("description")
            .and_then(|doc| doc.as_str())
            .unwrap_or_default();
        assert!(doc.trim().len() > 10, "event {} has no docs", def.name);
        names.push(format!("event {}", def.name));
        names.push(format!("event kind {}", def.kind));
    }
    for projection in ALL {
        assert!(
            projection.doc().trim().len() > 10,
            "projection {} has no docs",
            projection.name()
        );
        names.push(format!("projection {}", projection.name()));
        for table in projection.tables() {
            assert!(
                table.doc.trim().len() > 10,
                "table {} has no docs",
                table.name
            );
            names.push(format!("table {}", table.name));
        }
    }
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(
        names.len(),
        count,
        "a name stands for two things: {names:?}"
    );
}

#[test]
fn tests_are_claims() {
    let mut problems = Vec::new();
    for source in read_sources() {
        let named = functions(&source.text)
            .into_iter()
            .filter(|(name, _)| name.starts_with("test_"));
        problems.extend(named.map(|(name, _)| format!("{}: fn {name}", source.path)));
    }
    assert_none(problems);
}
