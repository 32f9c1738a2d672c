//! Replays beside a running server: several at once, and servers that end in the middle of one.

use std::{
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};

use crate::support::{
    http::get,
    process::{DataDir, Ended, SAMPLE_BLOCKS, Server},
    rounds, seed,
};

/// Starts a command that goes on beside others.
fn start(data: &DataDir, line: &str) -> Child {
    let mut command = data.command(line);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().expect("cairn starts")
}

fn end(child: Child) -> Ended {
    let output = child.wait_with_output().expect("it is our child");
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// The newest blocks as the server tells them.
fn newest(server: &Server) -> String {
    let answer = get(&server.address, "/api/explorer/blocks?limit=30");
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    assert_eq!(answer.status, 200, "{body}");
    body
}

#[test]
fn two_replays_at_once_beside_a_server_both_end_well_and_readers_notice_nothing() {
    let data = DataDir::with_samples();
    let server = data.serve();
    server.wait_until("/health/ready", |health| health["ready"] == true);
    let before = newest(&server);
    for lines in [
        ["replay --projection blocks", "replay"],
        ["replay --projection tokens", "replay --projection tokens"],
    ] {
        let mut running = lines.map(|line| start(&data, line));
        while running
            .iter_mut()
            .any(|child| child.try_wait().expect("it is our child").is_none())
        {
            assert_eq!(newest(&server), before, "while {lines:?} run");
            thread::sleep(Duration::from_millis(50));
        }
        for ended in running.map(end) {
            let wanted = format!("up to position {SAMPLE_BLOCKS}");
            assert!(ended.ok().stdout.contains(&wanted));
        }
    }
    data.verify();
    assert!(server.terminate().0.success());
}

/// Starts a replay beside a server and, a moment later, ends the server.
fn replay_and_end(data: &DataDir, after: Duration, end_server: impl FnOnce(Server)) {
    let server = data.serve();
    let replay = start(data, "replay");
    thread::sleep(after);
    end_server(server);
    let ended = end(replay);
    eprintln!("after {after:?} the replay ended with {:?}", ended.code);
    match ended.code {
        Some(0) => drop(ended.ok()),
        Some(code) => drop(ended.refused(code, &["cairn: "])),
        None => panic!("it was killed itself: {ended:?}"),
    }
}

fn assert_whole(data: &DataDir) {
    let server = data.serve();
    server.wait_until("/health/ready", |health| health["ready"] == true);
    data.verify();
    assert!(server.terminate().0.success());
    let left = std::fs::read_dir(data.path().join("store"))
        .expect("a store")
        .flatten();
    let left = left.filter(|entry| entry.file_name().to_string_lossy().starts_with("bulk-"));
    assert_eq!(left.count(), 0, "nothing is left of the replay");
}

#[test]
fn a_server_that_is_stopped_or_killed_during_a_replay_starts_again_and_verifies_clean() {
    let mut random = StdRng::seed_from_u64(seed());
    let data = DataDir::with_samples();
    for round in 0..rounds(40) {
        let after = Duration::from_secs(4).mul_f64(random.random());
        replay_and_end(&data, after, |server| {
            if round % 2 == 0 {
                let (status, _) = server.terminate();
                assert!(status.success(), "{status}");
            } else {
                server.kill();
            }
        });
        assert_whole(&data);
    }
}

#[test]
fn a_projection_that_is_named_twice_is_replayed_once() {
    let data = DataDir::with_samples();
    let line = "replay --projection addresses --projection tokens --projection addresses";
    let wanted = format!("folded addresses, tokens anew up to position {SAMPLE_BLOCKS}");
    let server = data.serve();
    assert!(data.cairn(line).ok().stdout.contains(&wanted));
    assert!(server.terminate().0.success());
    assert!(data.cairn(line).ok().stdout.contains(&wanted));
    data.verify();
}
