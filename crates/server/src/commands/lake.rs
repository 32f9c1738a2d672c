//! `cairn lake`.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use anyhow::{Context as _, bail};
use cairn_domain::{Position, Stream, events::LakeCut};
use cairn_engine::log::wait_for;
use cairn_lake::{
    Follower, Lake, Manifest,
    iceberg::{CatalogOptions, IcebergTables, TableSnapshot},
};
use clap::Subcommand;
use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::watch;

use super::operate;
use crate::{
    cli::Common,
    config::{Config, units::show_size},
    exit::Exit,
    lake::{lake_shard, place},
    logging,
    node::{Needs, Node, Shard, socket_path},
    operations::{Inputs, Request, Unit},
    render::{ProgressView, print_line},
    socket,
};

/// What `cairn lake` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum LakeCommand {
    /// Which files there are, by dataset, and how far they reach
    Stat {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// The snapshots of the Iceberg tables, oldest first
    Snapshots {
        /// Only those of this table, which is called as its dataset is
        table: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Puts what is final of a chain and in no file yet into files now
    Cut {
        /// The chain
        #[arg(long, value_name = "NAME")]
        chain: String,
    },
    /// Deletes all files and makes them anew from the log
    Rebuild {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// How long a catalog may take to tell of all tables.
const CATALOG_PATIENCE: Duration = Duration::from_secs(20);

/// `cairn lake`.
pub(crate) async fn run(common: &Common, command: LakeCommand) -> anyhow::Result<Exit> {
    match command {
        LakeCommand::Stat { json } => {
            let config = Config::load(&common.flags())?;
            let place = place(&config)?;
            let manifest = Lake::read_manifest(&place).await?;
            let manifest = manifest.with_context(|| {
                format!(
                    "there is no lake at {}: start a server with the role `lake`",
                    place.shown()
                )
            })?;
            logging::install(config.server.log_format, "warn");
            let snapshots = table_snapshots(&config).await.unwrap_or_else(|error| {
                tracing::warn!(error = %format!("{error:#}"), "the Iceberg tables are left out");
                Vec::new()
            });
            // Of each table the last one, which is current.
            let current = snapshots.into_iter();
            let current = current.map(|snapshot| (snapshot.table.clone(), snapshot));
            show(&manifest, &current.collect(), json)?;
        }
        LakeCommand::Snapshots { table, json } => snapshots(common, table.as_deref(), json).await?,
        LakeCommand::Cut { chain } => {
            let stream = Stream::chain(&chain)?.to_string();
            let events = vec![LakeCut {}.into()];
            let request = Request::Append { stream, events };
            let done = operate(common, request, Inputs::default()).await?;
            print_line(&format!("cut at position {}", done["position"]))?;
        }
        LakeCommand::Rebuild { json } => show(&rebuild(common).await?, &BTreeMap::new(), json)?,
    }
    Ok(Exit::Ok)
}

/// The snapshots of all tables; none where no table was made yet.
async fn table_snapshots(config: &Config) -> anyhow::Result<Vec<TableSnapshot>> {
    let Some(options) = &config.iceberg else {
        return Ok(Vec::new());
    };
    if matches!(&options.catalog, CatalogOptions::Sql { path } if !path.exists()) {
        return Ok(Vec::new());
    }
    let asked = async {
        let tables = IcebergTables::open(place(config)?, options).await?;
        anyhow::Ok(tables.snapshots().await?)
    };
    let answered = tokio::time::timeout(CATALOG_PATIENCE, asked).await;
    answered.context("the catalog of the tables does not answer: see [iceberg]")?
}

async fn snapshots(common: &Common, table: Option<&str>, json: bool) -> anyhow::Result<()> {
    let mut snapshots = table_snapshots(&Config::load(&common.flags())?).await?;
    snapshots.retain(|snapshot| table.is_none_or(|table| snapshot.table == table));
    if json {
        return Ok(print_line(&serde_json::to_string(&snapshots)?)?);
    }
    for snapshot in snapshots {
        print_line(&show_snapshot(&snapshot))?;
    }
    Ok(())
}

fn show_snapshot(snapshot: &TableSnapshot) -> String {
    let positions = snapshot.positions.iter();
    let positions: Vec<_> = positions
        .map(|(shard, position)| format!("{shard} up to position {position}"))
        .collect();
    format!(
        "{} snapshot {} of {}: {} files, {} rows; {}",
        snapshot.table,
        snapshot.snapshot,
        Timestamp::from_millisecond(snapshot.made_at).unwrap_or_default(),
        snapshot.files,
        snapshot.rows,
        positions.join(", "),
    )
}

async fn rebuild(common: &Common) -> anyhow::Result<Manifest> {
    let config = Config::load(&common.flags())?;
    logging::install(config.server.log_format, "warn");
    if socket::connect(&socket_path(&config.data.dir))
        .await?
        .is_some()
    {
        bail!(
            "a server runs on {}: stop it, then make the lake anew",
            config.data.dir.display()
        );
    }
    let node = Node::open(&config, Needs::Runner, None).await?;
    let place = place(&config)?;
    let lake = Lake::renew(place, config.lake.options.clone()).await?;
    for shard in &node.shards {
        rebuild_shard(&lake, shard, node.stopping()).await?;
    }
    node.close().await?;
    Ok(Manifest::clone(&lake.manifest()))
}

async fn rebuild_shard(
    lake: &Arc<Lake>,
    shard: &Shard,
    mut stop: watch::Receiver<bool>,
) -> anyhow::Result<()> {
    let log = shard.log()?;
    log.caught_up().await?;
    let target = *log.head().borrow();
    let mut folded = shard.store()?.position();
    while !wait_for(&mut folded, target, Duration::from_millis(200)).await {
        shard.check_fold()?;
    }
    let mut follower = Follower::new(Arc::clone(lake), lake_shard(shard)?).await?;
    let view = std::sync::Mutex::new(ProgressView::new());
    let progress = |at: Position, head: Position| {
        if let Ok(mut view) = view.lock() {
            view.show("making files", at.0, Some(head.0), Unit::Commits);
        }
    };
    follower.catch_up(target, &progress, &mut stop).await?;
    if let Ok(mut view) = view.lock() {
        view.finish();
    }
    Ok(())
}

/// A dataset at a glance.
#[derive(Debug, Default, Serialize)]
struct DatasetStat {
    files: u64,
    rows: u64,
    bytes: u64,
}

fn show(
    manifest: &Manifest,
    tables: &BTreeMap<String, TableSnapshot>,
    json: bool,
) -> anyhow::Result<()> {
    let mut datasets: BTreeMap<&str, DatasetStat> = BTreeMap::new();
    for file in &manifest.files {
        let stat = datasets.entry(&file.dataset).or_default();
        stat.files += 1;
        stat.rows += file.rows;
        stat.bytes += file.bytes;
    }
    if json {
        let stat = serde_json::json!({
            "sequence": manifest.sequence,
            "datasets": datasets,
            "tables": tables,
            "shards": manifest.shards,
        });
        return Ok(print_line(&stat.to_string())?);
    }
    print_line(&format!("publication {}", manifest.sequence))?;
    for (name, stat) in datasets {
        print_line(&format!(
            "{name}: {} files, {} rows, {}",
            stat.files,
            stat.rows,
            show_size(stat.bytes)
        ))?;
    }
    for snapshot in tables.values() {
        print_line(&format!("table {}", show_snapshot(snapshot)))?;
    }
    for (name, shard) in &manifest.shards {
        print_line(&format!(
            "shard {name}: taken in up to position {}",
            shard.position
        ))?;
        for (stream, chain) in &shard.chains {
            let last = chain
                .finalized
                .map_or("nothing".into(), |last| last.block.to_string());
            print_line(&format!("  {stream}: final up to {last}"))?;
            if let Some(failure) = &chain.failure {
                print_line(&format!("  {stream} is not taken in: {failure}"))?;
            }
        }
    }
    Ok(())
}
