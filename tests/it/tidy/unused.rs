//! What a manifest names is used.

use std::fs;

use super::{assert_none, crates, dependencies};
use crate::support::{process::repository, sources::read_sources};

#[test]
fn every_dependency_is_used_by_its_crate() {
    let sources = read_sources();
    let mut problems = Vec::new();
    for (name, path) in crates() {
        let below = path.strip_prefix(repository()).expect("in the repository");
        let own = format!("{}/", below.display());
        let own: Vec<_> = sources
            .iter()
            .filter(|source| source.path.starts_with(&own))
            .collect();
        for dependency in dependencies(&path, true) {
            let word = format!("{}::", dependency.replace('-', "_"));
            let used = own
                .iter()
                .any(|source| source.code().any(|(_, line)| line.contains(&word)));
            if !used {
                problems.push(format!("{name} names {dependency} and does not use it"));
            }
        }
    }
    assert_none(problems);
}

#[test]
fn every_dependency_of_the_workspace_is_named_by_a_crate() {
    let text = fs::read_to_string(repository().join("Cargo.toml")).expect("a manifest");
    let manifest: toml::Table = text.parse().expect("TOML");
    let offered = manifest["workspace"]["dependencies"]
        .as_table()
        .expect("a table");
    let named: Vec<_> = crates()
        .values()
        .flat_map(|path| dependencies(path, true))
        .collect();
    let unused = offered.keys().filter(|name| !named.contains(name));
    assert_none(
        unused
            .map(|name| format!("no crate names {name}"))
            .collect(),
    );
}
