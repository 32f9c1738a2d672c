//! What queries that take all they can get do to others, and to memory.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use super::{Made, SERVER, serve};
use crate::{
    Args,
    process::{post, resident_mib},
    report::Report,
    rest,
};

/// Memory that queries may have, in MiB: what they have by default.
const MEMORY: f64 = 1024.0;

/// More than there is room for.
const GREEDY: [&str; 4] = [
    "SELECT a.hash, b.hash FROM transactions a CROSS JOIN transactions b ORDER BY a.hash, b.hash",
    "SELECT * FROM transactions ORDER BY input, hash",
    "SELECT hash, count(*) FROM transactions GROUP BY hash ORDER BY 2 DESC",
    "SELECT array_agg(input) FROM transactions",
];

pub(super) fn measure(args: &Args, made: &Made, report: &mut Report) -> anyhow::Result<()> {
    let server = serve(args, made, "[sql]\ntimeout = \"5s\"\n")?;
    let directory = tempfile::tempdir_in(&args.scratch)?;
    let heights = (0..500).map(|step| step * made.head / 500);
    let paths: Vec<_> = heights
        .map(|height| format!("/api/explorer/blocks/{height}"))
        .collect();
    let quiet = rest::load(args, SERVER, directory.path(), &paths)?;
    let before = resident_mib(server.0.id())?;
    let (stop, asked, answered) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let busy = std::thread::scope(|scope| {
        for query in GREEDY {
            let (stop, asked, answered) = (&stop, &asked, &answered);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    asked.fetch_add(1, Ordering::Relaxed);
                    match post(SERVER, "/api/v1/sql", "text/plain", query) {
                        Some(_) => drop(answered.fetch_add(1, Ordering::Relaxed)),
                        None => std::thread::sleep(Duration::from_millis(100)),
                    }
                }
            });
        }
        let busy = rest::load(args, SERVER, directory.path(), &paths);
        stop.store(true, Ordering::Relaxed);
        busy
    })?;
    report.beside(
        "(l) block by height beside greedy SQL, p99",
        busy.p99,
        "ms",
        "without it",
        quiet.p99,
    );
    report.beside("(l) the same", busy.rate, "req/s", "without it", quiet.rate);
    report.figure("(l) greedy queries", asked.into_inner() as f64, "asked");
    report.figure("(l) of them answered", answered.into_inner() as f64, "");
    let status = fs::read_to_string(format!("/proc/{}/status", server.0.id()))?;
    report.beside(
        "(l) memory that they took, at most",
        peak_mib(&status) - before,
        "MiB",
        "sql.memory",
        MEMORY,
    );
    Ok(())
}

/// The most memory that a process had.
fn peak_mib(status: &str) -> f64 {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| {
        line.trim()
            .trim_end_matches(" kB")
            .trim()
            .parse::<f64>()
            .ok()
    });
    kib.unwrap_or(f64::NAN) / 1024.0
}
