//! (e), (f) Start-up time, memory and disk on large stores; (d) runs on the first of them.

use std::{path::Path, sync::Arc, time::Duration};

use cairn_engine::{
    log::{EmbeddedLog, EmbeddedOptions, Log},
    runner::rebuild_offline,
    store::{Store, StoreOptions},
};

use crate::{
    Args,
    chain::Recording,
    fold::fill,
    process::{Guarded, disk_bytes, resident_mib, start, wait_until},
    report::{Report, median},
    rest,
};

const SERVER: &str = "127.0.0.1:18747";

pub(crate) async fn measure(
    args: &Args,
    with_rest: bool,
    report: &mut Report,
) -> anyhow::Result<()> {
    let recording = Recording::load(&args.data)?;
    for (index, size) in args.sizes.iter().enumerate() {
        let data = args.scratch.join(format!("store-{size}"));
        let made = data.join("made");
        if !made.exists() {
            make(&data, &recording, *size).await?;
            std::fs::write(&made, "")?;
        }
        let million = *size as f64 / 1e6;
        report.figure(
            format!("(e) bytes on disk a transaction at {million} M"),
            disk_bytes(&data) as f64 / *size as f64,
            "bytes",
        );
        let mut times = Vec::new();
        for run in 0..args.runs {
            let (server, time) = serve(args, &data, &[])?;
            times.push(time);
            if run + 1 == args.runs {
                match with_rest && index == 0 {
                    true => rest::measure(args, SERVER, false, report)?,
                    // What it takes at work counts, not what it takes at rest.
                    false => rest::exercise(args, SERVER)?,
                }
                report.figure(
                    format!("(e) resident memory of serve at {million} M"),
                    resident_mib(server.0.id())?,
                    "MiB",
                );
            }
        }
        if with_rest && index == 0 {
            let config = args.scratch.join("cold.toml");
            std::fs::write(&config, "[api]\ncache = \"0B\"\n")?;
            let _server = serve(args, &data, &["-c", &config.to_string_lossy()])?;
            rest::measure(args, SERVER, true, report)?;
        }
        report.figure(
            format!("(f) start to ready at {million} M"),
            median(times) * 1000.0,
            "ms",
        );
    }
    Ok(())
}

/// A server on a data directory, and how long it took until it was ready, in seconds.
fn serve(args: &Args, data: &Path, more: &[&str]) -> anyhow::Result<(Guarded, f64)> {
    let data = data.to_string_lossy();
    let basic = ["serve", "--data-dir", &data, "--listen", SERVER];
    let server = start(&args.cairn, &[&basic, more].concat())?;
    let patience = Duration::from_secs(60);
    let time = wait_until(SERVER, "/health/ready", patience, |_| true)?;
    Ok((server, time))
}

/// A data directory as a server leaves it.
async fn make(data: &Path, recording: &Recording, size: u64) -> anyhow::Result<()> {
    if data.exists() {
        std::fs::remove_dir_all(data)?;
    }
    std::fs::create_dir_all(data)?;
    let log = EmbeddedLog::open(&data.join("log"), EmbeddedOptions::default())?;
    fill(&log, recording, size).await?;
    let log: Arc<dyn Log> = Arc::new(log);
    let store = Store::open(&data.join("store"), StoreOptions::default())?;
    rebuild_offline(&log, &store, &[], &|_, _| ()).await?;
    store.flush()?;
    Ok(())
}
