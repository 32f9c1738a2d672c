//! The lake of a node: a follower for each shard, and the clock that cuts.

use std::{sync::Arc, thread::JoinHandle, time::Duration};

use anyhow::Context as _;
use cairn_api::LakeArgs;
use cairn_domain::events::LakeCut;
use cairn_engine::health::{Phase, Reporter};
use cairn_lake::{
    Follower, Lake, LakeError, LakeShard, Place,
    iceberg::{IcebergOptions, IcebergTables},
    sql::{SqlEngine, SqlOptions},
};
use tokio::{runtime::Handle, sync::watch};

use crate::{
    allocator,
    config::Config,
    forward::Peers,
    http::stopped,
    node::{Node, Shard},
    operations::{Inputs, Message, Operation, Output, Request},
};

/// Before a follower that failed begins again.
const PAUSE: Duration = Duration::from_secs(5);

/// An export may take so long at least, and so many queries for them run at a time.
const SHORTEST_EXPORT: Duration = Duration::from_secs(60);
const EXPORTS: usize = 4;

/// Where the lake of a configuration is.
pub(crate) fn place(config: &Config) -> anyhow::Result<Place> {
    let lake = &config.lake;
    Ok(match &lake.bucket {
        Some(bucket) => Place::bucket(bucket, &lake.dir)?,
        None => Place::directory(&lake.dir)?,
    })
}

/// A shard as a lake sees it.
pub(crate) fn lake_shard(shard: &Shard) -> anyhow::Result<LakeShard> {
    Ok(LakeShard {
        name: shard.name.clone(),
        log: Arc::clone(shard.log()?),
        store: Arc::clone(shard.store()?),
    })
}

/// A lake with what answers queries over it.
fn engine(node: &Node, config: &Config, lake: Arc<Lake>) -> anyhow::Result<LakeArgs> {
    let shards = node.shards.iter().map(|shard| lake_shard(shard));
    let shards: Vec<_> = shards.collect::<Result<_, _>>()?;
    // Memory is that of queries, and disk a share of theirs.
    let long = SqlOptions {
        max_rows: usize::MAX,
        // Files that are replaced meanwhile have to stay as long.
        timeout: config.lake.options.keep_replaced.max(SHORTEST_EXPORT),
        concurrency: EXPORTS,
        spill_dir: config.data.dir.join("export-spill"),
        spill_bytes: config.sql.spill_bytes / 2,
        ..config.sql.clone()
    };
    let queries = SqlOptions {
        spill_bytes: config.sql.spill_bytes - long.spill_bytes,
        ..config.sql.clone()
    };
    let sql = SqlEngine::new(Arc::clone(&lake), shards, queries)?;
    Ok(LakeArgs {
        exports: Arc::new(sql.beside(long)?),
        sql: Arc::new(sql),
        lake,
    })
}

/// Opens the lake of a node for a command, as it is.
pub(crate) async fn open_as_it_is(node: &Node, config: &Config) -> anyhow::Result<()> {
    let lake = Lake::open(place(config)?, config.lake.options.clone()).await?;
    for shard in &node.shards {
        // It reads the events again that are in no file.
        shard.log()?.caught_up().await?;
        Follower::new(Arc::clone(&lake), lake_shard(shard)?).await?;
    }
    node.set_lake(engine(node, config, lake)?);
    Ok(())
}

/// Runs what keeps files or tables; where it panics, its health says so.
fn run(runtime: &Handle, work: impl Future<Output = ()>, reporter: &Reporter) {
    let run = std::panic::AssertUnwindSafe(|| runtime.block_on(work));
    if std::panic::catch_unwind(run).is_err() {
        let reason =
            "it panicked; the log on stderr says where. Start again; if it repeats, report it";
        reporter.explain(Phase::Failed, reason);
    }
}

/// What keeps the files of a running server.
pub(crate) struct LakeKeeper {
    /// What requests read.
    pub(crate) args: LakeArgs,
    threads: Vec<JoinHandle<()>>,
}

impl LakeKeeper {
    /// Starts to keep files.
    pub(crate) async fn start(
        node: &Arc<Node>,
        peers: &Peers,
        config: &Config,
    ) -> anyhow::Result<Self> {
        let lake = Lake::open(place(config)?, config.lake.options.clone()).await?;
        let mut threads = Vec::new();
        for shard in &node.shards {
            let (keeper, reporter) = (Arc::clone(&lake), shard.health.reporter("lake"));
            let (lake_shard, stop) = (lake_shard(shard)?, node.stopping());
            // Columns take all of a thread for a while, which must not be one that answers requests.
            let keeping = move |runtime: &Handle| {
                let kept = keep(keeper, lake_shard, reporter.clone(), stop);
                run(runtime, kept, &reporter);
            };
            threads.push(thread("cairn-lake", keeping)?);
        }
        if let Some(every) = config.lake.cut_interval {
            tokio::spawn(cut(
                Arc::clone(&lake),
                Arc::clone(node),
                peers.clone(),
                every,
            ));
        }
        if let Some(options) = &config.iceberg {
            let reporter = node.shards[0].health.reporter("iceberg");
            let (lake, options, stop) = (Arc::clone(&lake), options.clone(), node.stopping());
            let publishing = move |runtime: &Handle| {
                let published = publish_tables(lake, options, reporter.clone(), stop);
                run(runtime, published, &reporter);
            };
            threads.push(thread("cairn-iceberg", publishing)?);
        }
        let args = engine(node, config, lake)?;
        let (sql, limit) = (Arc::clone(&args.sql), config.sql.memory_bytes);
        // It has stores open, too.
        threads.push(allocator::watch(sql, limit, node.stopping())?);
        node.set_lake(args.clone());
        Ok(Self { args, threads })
    }

    /// Waits until nothing writes files any more. The node must have been told to stop.
    pub(crate) async fn stop(self) {
        let joined = tokio::task::spawn_blocking(move || {
            for thread in self.threads {
                // What it failed with is in the health already.
                let _joined = thread.join();
            }
        });
        // It returns nothing and is only waited for.
        let _ended = joined.await;
    }
}

/// Starts a thread that waits for the runtime's work.
fn thread(
    name: &str,
    work: impl FnOnce(&Handle) + Send + 'static,
) -> anyhow::Result<JoinHandle<()>> {
    let runtime = Handle::current();
    std::thread::Builder::new()
        .name(name.into())
        .spawn(move || work(&runtime))
        .with_context(|| format!("no thread can be started for {name}"))
}

/// Follows the log of a shard until it is time to stop; what fails is begun again.
async fn keep(lake: Arc<Lake>, shard: LakeShard, reporter: Reporter, stop: watch::Receiver<bool>) {
    while !*stop.borrow() {
        let followed = async {
            let follower = Follower::new(Arc::clone(&lake), shard.clone()).await?;
            follower.follow(&reporter, stop.clone()).await
        };
        if let Err(error) = followed.await {
            tracing::error!(shard = shard.name, %error, "the lake does not go on; it begins again soon");
            reporter.explain(Phase::Failed, error.to_string());
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                () = stopped(stop.clone()) => {}
            }
        }
    }
}

/// Brings the Iceberg tables to what the manifest says, whenever it changes.
async fn publish_tables(
    lake: Arc<Lake>,
    options: IcebergOptions,
    reporter: Reporter,
    stop: watch::Receiver<bool>,
) {
    let publishing = async {
        let mut manifests = lake.watch();
        let mut opened = None;
        loop {
            let manifest = Arc::clone(&manifests.borrow_and_update());
            let published = async {
                let tables = match opened.take() {
                    Some(tables) => tables,
                    None => IcebergTables::open(lake.place().clone(), &options).await?,
                };
                tables.publish(&manifest).await?;
                Ok::<_, LakeError>(tables)
            };
            match published.await {
                Ok(tables) => {
                    opened = Some(tables);
                    reporter.at(manifest.sequence, manifest.sequence);
                    reporter.phase(Phase::Following);
                    // Each publication is a snapshot, and reads those before it.
                    tokio::time::sleep(PAUSE).await;
                    if manifests.changed().await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "the Iceberg tables are behind the files");
                    reporter.explain(Phase::Waiting, error.to_string());
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = publishing => {}
        () = stopped(stop) => {}
    }
}

/// Has what is final and in no file put into files, every so often.
async fn cut(lake: Arc<Lake>, node: Arc<Node>, peers: Peers, every: Duration) {
    let cutting = async {
        loop {
            tokio::time::sleep(every).await;
            for shard in &node.shards {
                let (_, tail) = lake.tail(&shard.name);
                for stream in tail.unpublished {
                    cut_stream(&node, &peers, &shard.name, stream).await;
                }
            }
        }
    };
    tokio::select! {
        () = cutting => {}
        () = stopped(node.stopping()) => {}
    }
}

async fn cut_stream(node: &Node, peers: &Peers, shard: &str, stream: String) {
    let operation = Operation {
        shard: Some(shard.to_owned()),
        request: Request::Append {
            stream: stream.clone(),
            events: vec![LakeCut {}.into()],
        },
    };
    let (output, _messages) = Output::channel();
    let inputs = Inputs::default();
    match operation.perform(node, peers, inputs, &output).await {
        Message::Failed { message, .. } => {
            tracing::warn!(stream, message, "a cut of the lake has to wait");
        }
        _ => tracing::debug!(stream, "a cut of the lake"),
    }
}
