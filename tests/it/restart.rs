//! Starting and stopping a server.

use std::time::{Duration, Instant};

use crate::support::{
    http::get,
    process::{DataDir, SAMPLE_BLOCKS},
};

#[test]
fn a_server_is_ready_soon_and_stops_when_it_is_asked() {
    let data = DataDir::with_samples();
    for _ in 0..2 {
        let started = Instant::now();
        let server = data.serve();
        server.wait_until("/health/ready", |health| health["ready"] == true);
        let took = started.elapsed();
        eprintln!(
            "start to ready took {took:?}, to the first answer {:?}",
            server.took
        );
        assert!(
            took < Duration::from_secs(10),
            "start to ready took {took:?}"
        );
        let (status, took) = server.terminate();
        eprintln!("stopping took {took:?}");
        assert_eq!(status.code(), Some(0));
        assert!(took < Duration::from_secs(10), "stopping took {took:?}");
        assert!(
            !data.path().join("cairn.sock").exists(),
            "the socket is left behind"
        );
    }
    data.verify();
}

#[test]
fn the_log_says_ready_when_the_server_does_and_not_before() {
    let data = DataDir::with_samples();
    for _ in 0..2 {
        // It listens at once and has everything to fold.
        std::fs::remove_dir_all(data.path().join("store")).expect("a store");
        let server = data.serve();
        let started = Instant::now();
        while !server.log().contains("\"message\":\"ready\"") {
            assert!(
                started.elapsed() < Duration::from_secs(60),
                "{}",
                server.log()
            );
            std::thread::sleep(Duration::from_millis(1));
        }
        let answer = get(&server.address, "/health/ready");
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        assert_eq!(answer.status, 200, "{body}");
    }
}

#[test]
fn an_empty_server_is_ready_and_says_that_there_is_no_chain() {
    let data = DataDir::new();
    let server = data.serve();
    server.wait_until("/health/ready", |health| health["ready"] == true);
    let answer = get(&server.address, "/api/explorer/blocks");
    let body = String::from_utf8_lossy(&answer.body).into_owned();
    assert!(
        (400..500).contains(&answer.status) || answer.status == 503,
        "{} {body}",
        answer.status
    );
    assert!(body.contains("chain"), "{body}");
    assert!(server.terminate().0.success());
}

#[test]
fn cursors_go_on_behind_a_restart_and_a_replay() {
    let data = DataDir::with_samples();
    let page = |path: &str| {
        let server = data.serve();
        let answer = get(&server.address, path);
        let body = String::from_utf8(answer.body).expect("text");
        assert_eq!(answer.status, 200, "{path}: {body}");
        assert!(server.terminate().0.success());
        serde_json::from_str::<serde_json::Value>(&body).expect("JSON")
    };
    for list in ["/api/explorer/blocks", "/api/explorer/transactions"] {
        let first = page(&format!("{list}?limit=40"));
        let cursor = first["next_cursor"]
            .as_str()
            .expect("more than a page")
            .to_owned();
        let path = format!("{list}?limit=40&cursor={cursor}");
        let second = page(&path);
        assert_eq!(page(&path), second, "after a restart");
        data.cairn("replay").ok();
        assert_eq!(page(&path), second, "after a replay");
        let offset = page(&format!("{list}?limit=40&offset=40"));
        let rows = list.rsplit('/').next().expect("the list's name");
        assert_eq!(
            second[rows], offset[rows],
            "the cursor goes on where the page ended"
        );
        assert_eq!(second["total"], first["total"]);
    }
    assert_eq!(page("/api/explorer/blocks?limit=1")["total"], SAMPLE_BLOCKS);
}

#[test]
fn a_server_that_was_killed_starts_again_over_the_socket_that_it_left() {
    let data = DataDir::with_samples();
    data.serve().kill();
    assert!(
        data.path().join("cairn.sock").exists(),
        "a killed server leaves its socket"
    );
    assert_eq!(
        data.head(),
        SAMPLE_BLOCKS,
        "commands open the directory themselves"
    );
    let server = data.serve();
    assert_eq!(
        data.head(),
        SAMPLE_BLOCKS,
        "commands go through the new socket"
    );
    assert!(server.terminate().0.success());
}
