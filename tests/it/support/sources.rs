//! The text of the repository.

use std::{fs, path::Path, process::Command};

use super::process::repository;

/// A Rust file.
pub(crate) struct Source {
    /// From the top of the repository.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// Its lines without comments, numbered from 1.
    pub(crate) fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.text.lines().enumerate();
        lines.map(|(index, line)| (index + 1, line.split("//").next().unwrap_or_default()))
    }
}

/// Files that git has or would take; all there are where this is no checkout.
pub(crate) fn tracked_files() -> Vec<String> {
    let mut git = Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(repository());
    match git.output() {
        Ok(output) if output.status.success() => {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.lines().map(str::to_owned).collect()
        }
        _ => {
            let mut found = Vec::new();
            walk(&repository(), "", &mut found);
            found
        }
    }
}

fn walk(top: &Path, below: &str, found: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(top.join(below)) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if below.is_empty() {
            name.clone()
        } else {
            format!("{below}/{name}")
        };
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => {
                if !["target", "node_modules", ".git", "data"].contains(&name.as_str()) {
                    walk(top, &path, found);
                }
            }
            _ => found.push(path),
        }
    }
}

/// All Rust files.
pub(crate) fn read_sources() -> Vec<Source> {
    let paths = tracked_files()
        .into_iter()
        .filter(|path| path.ends_with(".rs"));
    let read = |path: String| {
        let text = fs::read_to_string(repository().join(&path)).ok()?;
        Some(Source { path, text })
    };
    let sources: Vec<_> = paths.filter_map(read).collect();
    assert!(
        sources.len() > 50,
        "only {} Rust files were found",
        sources.len()
    );
    sources
}

/// The functions of a file with the number of their lines, in the layout that rustfmt gives.
pub(crate) fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<_> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else {
            continue;
        };
        let indent = &line[..line.len() - line.trim_start().len()];
        let end = lines[start..]
            .iter()
            .position(|line| ends_function(line, indent));
        found.push((name, end.map_or(1, |end| end + 1)));
    }
    found
}

/// The name, if a line begins a function.
fn function_name(line: &str) -> Option<String> {
    let (before, behind) = line.trim_start().split_once("fn ")?;
    let known = [
        "pub",
        "pub(crate)",
        "pub(super)",
        "async",
        "const",
        "unsafe",
        "extern",
        "\"C\"",
    ];
    if !before.split_whitespace().all(|word| known.contains(&word)) {
        return None;
    }
    let name: String = behind
        .chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect();
    (!name.is_empty()).then_some(name)
}

fn ends_function(line: &str, indent: &str) -> bool {
    let Some(rest) = line.strip_prefix(indent) else {
        return false;
    };
    let declared = rest.ends_with(';') && !rest.starts_with(' ');
    rest == "}" || declared || (rest.contains("fn ") && rest.ends_with('}'))
}

#[test]
fn lengths_of_functions_are_counted_from_name_to_brace() {
    let text = "fn one() {}\nimpl X {\n    pub(crate) async fn two(\n        a: u8,\n    ) -> u8 {\n        a\n    }\n}\ntrait T {\n    fn three(\n        &self,\n    );\n}\n";
    let counted = functions(text);
    let expected =
        [("one", 1), ("two", 5), ("three", 3)].map(|(name, lines)| (name.to_owned(), lines));
    assert_eq!(counted, expected);
}
