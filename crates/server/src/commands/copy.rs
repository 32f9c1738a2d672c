//! `cairn log copy`.

use std::sync::Mutex;

use anyhow::{bail, ensure};
use cairn_domain::Position;
use cairn_engine::log::{self, Copying, KafkaLog, Log, LogId};
use clap::Args;
use std::sync::Arc;

use crate::{
    cli::Common,
    config::{Config, LogKind},
    exit::Exit,
    logging,
    node::{kafka_options, open_embedded, open_log, shard_dir, socket_path},
    operations::Unit,
    render::{ProgressView, print_line},
    socket,
};

/// What `cairn log copy` takes.
#[derive(Debug, Args)]
pub(crate) struct CopyArgs {
    /// The log that there is; it is sealed, so that nothing is appended behind the copy
    #[arg(long, value_name = "KIND", value_parser = kind)]
    from: LogKind,
    /// The log that is to be; it opens when the copy is complete and was compared
    #[arg(long, value_name = "KIND", value_parser = kind)]
    to: LogKind,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn kind(text: &str) -> Result<LogKind, String> {
    [LogKind::Embedded, LogKind::Kafka]
        .into_iter()
        .find(|kind| kind.name() == text)
        .ok_or_else(|| "it is neither `embedded` nor `kafka`".into())
}

/// `cairn log copy`.
pub(crate) async fn copy(common: &Common, args: CopyArgs) -> anyhow::Result<Exit> {
    let config = Config::load(&common.flags())?;
    logging::install(config.server.log_format, "warn");
    ensure!(
        args.from != args.to,
        "--from and --to are the same: name two kinds"
    );
    if socket::connect(&socket_path(&config.data.dir))
        .await?
        .is_some()
    {
        bail!(
            "a server runs on {}: stop it, and all others that write the log, then copy",
            config.data.dir.display()
        );
    }
    let names = config.log.shards.iter().enumerate();
    let chosen: Vec<usize> = names
        .filter(|(_, name)| common.shard().is_none_or(|shard| shard == *name))
        .map(|(index, _)| index)
        .collect();
    ensure!(
        !chosen.is_empty(),
        "there is no such shard in `[log] shards`"
    );
    for index in chosen {
        copy_shard(&config, &args, index).await?;
    }
    let next = format!(
        "now set `[log] kind = \"{}\"` on every node; stores and cursors stay valid",
        args.to.name()
    );
    if !args.json {
        print_line(&next)?;
    }
    Ok(Exit::Ok)
}

async fn copy_shard(config: &Config, args: &CopyArgs, index: usize) -> anyhow::Result<()> {
    let name = &config.log.shards[index];
    let source = open_source(config, args.from, index).await?;
    let target = open_target(config, args.to, index, source.id()).await?;
    let to = match args.to {
        LogKind::Embedded => shard_dir(config, index).join("log").display().to_string(),
        LogKind::Kafka => format!("topic {} partition {index}", config.log.kafka.topic),
    };
    let view = Mutex::new(ProgressView::new());
    let progress = |what: Copying, at: Position, head: Position| {
        let doing = match what {
            Copying::Copying => "copying",
            Copying::Comparing => "comparing",
        };
        if let Ok(mut view) = view.lock() {
            view.show(doing, at.0, Some(head.0), Unit::Commits);
        }
    };
    let writer = format!("cairn log copy (process {})", std::process::id());
    let report = log::copy(source.as_ref(), target.as_ref(), &writer, &to, &progress).await?;
    if let Ok(mut view) = view.lock() {
        view.finish();
    }
    // Databases are closed off the async threads.
    tokio::task::spawn_blocking(move || drop((source, target))).await?;
    match args.json {
        true => print_line(&serde_json::to_string(&report)?)?,
        false => print_line(&format!(
            "shard {name}: {} commits copied, {} were there; both end at position {}, digest {}",
            report.copied, report.found, report.head, report.digest
        ))?,
    }
    Ok(())
}

async fn open_source(config: &Config, kind: LogKind, index: usize) -> anyhow::Result<Arc<dyn Log>> {
    let mut from = config.clone();
    from.log.kind = kind;
    open_log(&from, index, false).await
}

async fn open_target(
    config: &Config,
    kind: LogKind,
    index: usize,
    original: LogId,
) -> anyhow::Result<Arc<dyn Log>> {
    match kind {
        LogKind::Embedded => open_embedded(&shard_dir(config, index), Some(original), true).await,
        LogKind::Kafka => {
            let options = kafka_options(config, index, Some(original));
            Ok(Arc::new(KafkaLog::open(options).await?))
        }
    }
}
