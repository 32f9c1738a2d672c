//! `cairn schemas`.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use cairn_domain::{Event, commit::RawRecord};
use clap::Args;

use crate::{
    exit::{Exit, Failure},
    render::print_line,
    schemas::{SchemaFile, generate, golden_kind},
};

/// What `cairn schemas` takes.
#[derive(Debug, Args)]
pub(crate) struct SchemasArgs {
    /// Write nothing; fail if the files differ from what the code gives
    #[arg(long)]
    check: bool,
    /// Where the files are
    #[arg(long, value_name = "DIR", default_value = "schemas")]
    dir: PathBuf,
}

/// `cairn schemas`.
pub(crate) fn schemas(args: &SchemasArgs) -> anyhow::Result<Exit> {
    let files = generate();
    let mut problems = read_goldens(&args.dir)?;
    for file in &files {
        problems.extend(compare(&args.dir, file, args.check)?);
    }
    for problem in &problems {
        eprintln!("{problem}");
    }
    if !problems.is_empty() {
        return Ok(Exit::Differs);
    }
    let verb = if args.check {
        "agree with the code"
    } else {
        "are up to date"
    };
    print_line(&format!(
        "{} files in {} {verb}",
        files.len(),
        args.dir.display()
    ))?;
    Ok(Exit::Ok)
}

/// Says what is wrong with a file; writes it if that is allowed.
fn compare(dir: &Path, file: &SchemaFile, check: bool) -> anyhow::Result<Option<String>> {
    let path = dir.join(&file.path);
    let shown = path.display();
    match fs::read(&path) {
        Ok(found) if found == file.bytes => Ok(None),
        Ok(_) if file.frozen => Ok(Some(format!(
            "{shown} is frozen, but the code gives something else: give the changed event a new version"
        ))),
        Ok(_) if check => Ok(Some(format!(
            "{shown} differs from the code: run `cairn schemas`"
        ))),
        Err(_) if check => Ok(Some(format!("{shown} is missing: run `cairn schemas`"))),
        Ok(_) | Err(_) => {
            let write = path
                .parent()
                .map_or(Ok(()), fs::create_dir_all)
                .and_then(|()| fs::write(&path, &file.bytes));
            write.with_context(|| format!("cannot write {shown}"))?;
            Ok(None)
        }
    }
}

/// Every body that was ever golden must still be readable.
fn read_goldens(dir: &Path) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    let Ok(entries) = fs::read_dir(dir.join("golden")) else {
        return Ok(problems);
    };
    for entry in entries {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if !name.ends_with(".bin") {
            continue;
        }
        let Some((def, version)) = golden_kind(name) else {
            problems.push(format!(
                "{} belongs to no event: a kind is never taken away",
                path.display()
            ));
            continue;
        };
        let body = fs::read(&path).map_err(|error| {
            Failure::new(
                Exit::Failed,
                format!("cannot read {}: {error}", path.display()),
            )
        })?;
        let record = RawRecord {
            kind: def.kind,
            version,
            codec: Event::CODEC,
            body: &body,
        };
        if let Err(error) = Event::decode(record) {
            problems.push(format!(
                "{} cannot be read any more: {error}",
                path.display()
            ));
        }
    }
    Ok(problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(dir: &Path, check: bool) -> Exit {
        schemas(&SchemasArgs {
            check,
            dir: dir.to_owned(),
        })
        .unwrap()
    }

    #[test]
    fn what_was_written_passes_the_check_and_a_changed_file_does_not() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(run(dir.path(), true), Exit::Differs);
        assert_eq!(run(dir.path(), false), Exit::Ok);
        assert_eq!(run(dir.path(), true), Exit::Ok);
        fs::write(dir.path().join("tables.md"), "old").unwrap();
        assert_eq!(run(dir.path(), true), Exit::Differs);
        assert_eq!(run(dir.path(), false), Exit::Ok);
        assert_eq!(run(dir.path(), true), Exit::Ok);
    }

    #[test]
    fn a_golden_file_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(run(dir.path(), false), Exit::Ok);
        let golden = dir.path().join("golden/block_appended.v1.json");
        fs::write(&golden, "{}").unwrap();
        assert_eq!(run(dir.path(), false), Exit::Differs);
        assert_eq!(fs::read_to_string(&golden).unwrap(), "{}");
    }
}
