//! What a bad place to write to gets: a newer version's directory, somebody else's, a full disk.

use std::{fs, path::Path, process::Command};

use crate::support::disk::SmallDisk;
use crate::support::process::{
    DataDir, Ended, SAMPLE_BLOCKS, SAMPLES, binary, cairn, repository, run,
};

fn ingest_into(directory: &Path) -> Ended {
    run(cairn(SAMPLES.split(' ')).arg("--data-dir").arg(directory))
}

fn head(directory: &Path) -> u64 {
    let stat = run(cairn(["log", "stat", "--json", "--data-dir"]).arg(directory))
        .ok()
        .json();
    stat["head"].as_u64().expect("a head")
}

#[test]
fn a_directory_of_a_newer_version_is_refused_and_left_alone() {
    for part in ["log", "store"] {
        let data = DataDir::with_samples();
        let format = data.path().join(part).join("FORMAT");
        let own = fs::read_to_string(&format).expect("a format file");
        fs::write(&format, format!("cairn {part} 99\n")).expect("it can be written");
        let parts = [
            part,
            "cairn",
            "99",
            "use the version of cairn that wrote it",
        ];
        data.cairn(SAMPLES).refused(1, &parts);
        data.cairn("verify").refused(1, &parts);
        data.cairn("serve --listen 127.0.0.1:0").refused(1, &parts);
        assert_eq!(
            fs::read_to_string(&format).expect("it is there"),
            format!("cairn {part} 99\n")
        );
        fs::write(&format, own).expect("it can be written");
        assert_eq!(data.head(), SAMPLE_BLOCKS);
        data.verify();
    }
}

#[test]
fn a_directory_that_holds_something_else_is_refused() {
    let data = DataDir::new();
    fs::create_dir_all(data.path().join("log")).expect("a directory");
    fs::write(data.path().join("log/thesis.txt"), "important").expect("a file");
    data.cairn(SAMPLES)
        .refused(1, &["log", "not empty", "use another directory"]);
    let kept = fs::read_to_string(data.path().join("log/thesis.txt"));
    assert_eq!(kept.expect("it is still there"), "important");
    let path = data.file("a-file", "");
    ingest_into(&path).refused(1, &["a-file", "--data-dir"]);
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    let data = DataDir::with_samples();
    let server = data.serve();
    let mut second = data.command("serve --listen 127.0.0.1:0");
    run(&mut second).refused(4, &["is in use by another process", "stop it"]);
    let third = DataDir::new();
    let taken = format!("serve --listen {}", server.address);
    third.cairn(&taken).refused(
        4,
        &[&server.address, "in use by another process", "--listen"],
    );
    server.wait_until("/api/explorer/blocks?limit=1", |list| {
        list["total"] == SAMPLE_BLOCKS
    });
    assert!(server.terminate().0.success());
}

#[test]
fn a_full_disk_is_an_error_and_what_was_appended_stays() {
    for megabytes in [16, 20, 26] {
        let data = DataDir::new();
        let place = data.file("x", "").with_file_name("disk");
        let Some(disk) = SmallDisk::mount(place, megabytes) else {
            eprintln!(
                "SKIPPED: this user may not mount a small disk; a limit on files is tried instead"
            );
            return;
        };
        let directory = disk.path().join("data");
        ingest_into(&directory).refused(1, &["No space left on device", "free space"]);
        assert!(
            disk.resize("remount,size", 1024),
            "the disk cannot be made larger"
        );
        let kept = head(&directory);
        eprintln!("{kept} of {SAMPLE_BLOCKS} blocks were appended in {megabytes} MiB");
        run(cairn(["log", "verify", "--data-dir"]).arg(&directory)).ok();
        let report = ingest_into(&directory).ok().json();
        assert_eq!(report["duplicates"], kept, "{report}");
        assert_eq!(head(&directory), SAMPLE_BLOCKS);
        run(cairn(["verify", "--data-dir"]).arg(&directory)).ok();
    }
}

#[test]
fn a_limit_on_the_size_of_files_is_an_error_and_what_was_appended_stays() {
    let data = DataDir::new();
    let script = "trap '' XFSZ; ulimit -f 5000; exec \"$@\"";
    let mut command = Command::new("bash");
    command
        .args(["-c", script, "limited"])
        .arg(binary())
        .args(SAMPLES.split(' '));
    command
        .arg("--data-dir")
        .arg(data.path())
        .current_dir(repository());
    run(&mut command).refused(1, &["free space"]);
    let kept = data.head();
    eprintln!("{kept} of {SAMPLE_BLOCKS} blocks were appended within the limit");
    assert!(kept < SAMPLE_BLOCKS, "the limit was not felt");
    data.cairn("log verify").ok();
    data.ingest_samples();
    assert_eq!(data.head(), SAMPLE_BLOCKS);
    data.verify();
}
