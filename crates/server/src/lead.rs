//! Who writes: one node of those that could, for each shard. It takes the log over, runs the sources,
//! and gives both up when another one has taken over.

use std::{convert::Infallible, sync::Arc, time::Duration};

use cairn_engine::{
    health::{Phase, Reporter},
    log::{Claim, Condition, Leadership, Log, LogError, Writer},
    store::Store,
};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    config::{Config, LogKind, Source},
    forward, gauges,
    http::stopped,
    node::{Node, Shard, claim, kafka_options},
    sources,
};

/// How often the condition of a log is shown.
const SHOW_EVERY: Duration = Duration::from_millis(500);
/// Before a log that could not be taken over is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// What leads the shards of a server.
pub(crate) struct Leaders {
    tasks: JoinSet<()>,
    /// Dropping it leaves the group, so that another node takes over at once.
    membership: Option<Leadership>,
}

impl Leaders {
    /// Starts to lead, or to stand by, in every shard. `address` is where other nodes reach this one.
    pub(crate) fn start(
        node: &Arc<Node>,
        config: &Config,
        address: String,
    ) -> anyhow::Result<Self> {
        let mut tasks = JoinSet::new();
        let shared = config.log.kind == LogKind::Kafka;
        let membership = match shared {
            true => {
                let options = kafka_options(config, 0, None);
                Some(Leadership::join(&options, &config.log.kafka.group)?)
            }
            false => None,
        };
        for (index, shard) in node.shards.iter().enumerate() {
            gauges::describe_lost_writers(&shard.name);
            let own = |source: &&Source| source.shard == index;
            let lead = Lead {
                reporter: shared.then(|| shard.health.reporter("leader")),
                shard: Arc::clone(shard),
                sources: config.sources.iter().filter(own).cloned().collect(),
                claim: claim(&config.data, shared.then(|| address.clone())),
            };
            let partition = u32::try_from(index).unwrap_or(u32::MAX);
            let assigned = membership.as_ref().map(Leadership::assigned);
            tasks.spawn(lead.run(partition, assigned));
        }
        Ok(Self { tasks, membership })
    }

    /// Stops all sources and gives the right to append up.
    pub(crate) async fn stop(mut self) {
        self.tasks.shutdown().await;
        let membership = self.membership.take();
        // Leaving takes a moment in which the brokers hear of it.
        let _left = tokio::task::spawn_blocking(move || drop(membership)).await;
    }
}

/// What leads one shard.
struct Lead {
    shard: Arc<Shard>,
    sources: Vec<Source>,
    claim: Claim,
    /// None for a log that no other process can write.
    reporter: Option<Reporter>,
}

type Assigned = watch::Receiver<std::collections::BTreeSet<u32>>;

impl Lead {
    async fn run(self, partition: u32, mut assigned: Option<Assigned>) {
        let stopping = self.shard.stopping();
        tokio::select! {
            () = stopped(stopping) => {}
            () = async {
                loop {
                    self.turn(partition, assigned.as_mut()).await;
                }
            } => {}
        }
        self.shard.lead(None);
    }

    /// Waits for its turn, leads, and returns when that is over.
    async fn turn(&self, partition: u32, assigned: Option<&mut Assigned>) {
        let mut assigned = assigned;
        if let Some(assigned) = assigned.as_deref_mut() {
            tokio::select! {
                given = wait_assigned(assigned, partition, true) => if given.is_err() {
                    return std::future::pending().await;
                },
                never = self.stand_by() => match never {},
            }
        }
        let writer = match self.take_over().await {
            Ok(writer) => writer,
            Err(error) => {
                self.explain(&error);
                return tokio::time::sleep(PAUSE).await;
            }
        };
        let lost = self.lead(writer.as_ref(), async {
            match assigned {
                // A group that is gone takes nothing away: what counts is the epoch.
                Some(assigned) => match wait_assigned(assigned, partition, false).await {
                    Ok(()) => {}
                    Err(()) => std::future::pending().await,
                },
                None => std::future::pending().await,
            }
        });
        let (reason, why) = lost.await;
        self.shard.lead(None);
        gauges::count_lost_writer(&self.shard.name, reason);
        tracing::warn!(
            shard = self.shard.name,
            why,
            "this node does not write any more"
        );
        self.explain_text(Phase::Waiting, why);
    }

    /// The writer that opening took already, or a new one.
    async fn take_over(&self) -> Result<Arc<dyn Writer>, LogError> {
        if let Some(writer) = self.shard.writer() {
            return Ok(writer);
        }
        let log = self.shard.log().map_err(|_| LogError::Closed)?;
        let writer = log.take_over(self.claim.clone()).await?;
        tracing::info!(
            shard = self.shard.name,
            epoch = writer.epoch(),
            "this node writes"
        );
        self.shard.lead(Some(Arc::clone(&writer)));
        Ok(writer)
    }

    /// Runs the sources until the right to append is gone; says why, in a word and for people.
    async fn lead(
        &self,
        writer: &dyn Writer,
        taken: impl Future<Output = ()>,
    ) -> (&'static str, String) {
        self.explain_text(
            Phase::Following,
            format!("writes the log in epoch {}", writer.epoch()),
        );
        let mut running = match sources::start(&self.shard, &self.sources) {
            Ok(running) => running,
            Err(error) => return ("failed", format!("{error:#}")),
        };
        let why = tokio::select! {
            error = writer.lost() => match error {
                LogError::Fenced { .. } => ("fenced", error.to_string()),
                _ => ("failed", error.to_string()),
            },
            () = taken => ("taken", "the group gave the shard to another node".to_owned()),
        };
        running.shutdown().await;
        for source in &self.sources {
            let reporter = self.shard.health.reporter(sources::component(source));
            reporter.explain(Phase::Starting, "this node does not write the log");
        }
        why
    }

    /// Shows who writes meanwhile. Never returns.
    async fn stand_by(&self) -> Infallible {
        let mut epochs = self.shard.log().ok().map(|log| log.epoch());
        loop {
            let leader = epochs
                .as_mut()
                .and_then(|epochs| epochs.borrow_and_update().clone());
            let detail = match leader {
                Some(epoch) => format!(
                    "stands by; {} at {} writes in epoch {}",
                    epoch.writer,
                    epoch.address.as_deref().unwrap_or("an unknown address"),
                    epoch.epoch
                ),
                None => "stands by; nobody has written yet".into(),
            };
            self.explain_text(Phase::Following, detail);
            let changed = match &mut epochs {
                Some(epochs) => epochs.changed().await.is_ok(),
                None => false,
            };
            if !changed {
                std::future::pending().await
            }
        }
    }

    fn explain(&self, error: &LogError) {
        tracing::warn!(shard = self.shard.name, %error, "the log cannot be taken over");
        let phase = match error {
            LogError::Unavailable(_) | LogError::Fenced { .. } => Phase::Waiting,
            _ => Phase::Failed,
        };
        self.explain_text(phase, error.to_string());
    }

    fn explain_text(&self, phase: Phase, text: impl Into<String>) {
        if let Some(reporter) = &self.reporter {
            reporter.explain(phase, text);
        }
    }
}

/// Waits until the group has given a partition, or taken it. Fails when the group is gone.
async fn wait_assigned(assigned: &mut Assigned, partition: u32, given: bool) -> Result<(), ()> {
    let changed = assigned
        .wait_for(|own| own.contains(&partition) == given)
        .await;
    changed.map(|_| ()).map_err(|_| ())
}

/// Takes the logs of a command's node over, unless another node that answers writes them.
pub(crate) async fn lead_unless_led(node: &Node, config: &Config) -> anyhow::Result<()> {
    for shard in &node.shards {
        if let Some(leader) = forward::leader(shard).await {
            tracing::info!(leader, "another node writes the log");
            continue;
        }
        let claim = claim(&config.data, None);
        shard.lead(Some(shard.log()?.take_over(claim).await?));
    }
    Ok(())
}

/// Shows how a log is that other machines hold, for as long as the server runs.
pub(crate) fn show_condition(shard: &Arc<Shard>) -> anyhow::Result<()> {
    let (log, store) = (Arc::clone(shard.log()?), Arc::clone(shard.store()?));
    if log.is_local() {
        return Ok(());
    }
    let reporter = shard.health.reporter("log");
    let stopping = shard.stopping();
    tokio::spawn(async move {
        tokio::select! {
            () = stopped(stopping) => {}
            () = async {
                join(log.as_ref(), &store, &reporter).await;
                show(log.as_ref(), &reporter).await;
            } => {}
        }
    });
    Ok(())
}

/// A node has joined when it has folded what there was when it came: until then it is starting. Where
/// the brokers do not answer it serves what it has.
async fn join(log: &dyn Log, store: &Store, reporter: &Reporter) {
    let end = async {
        while let Err(error) = log.caught_up().await {
            tracing::debug!(%error, "a node joins");
            tokio::time::sleep(SHOW_EVERY).await;
        }
        let head = *log.head().borrow();
        let mut position = store.position();
        // The store outlives this.
        drop(position.wait_for(|position| *position >= head).await);
    };
    let away = async {
        while let Condition::Well { lag } = log.condition() {
            let head = log.head().borrow().0;
            reporter.at(head, head + lag);
            reporter.explain(
                Phase::Starting,
                "reading what there was when this node started",
            );
            tokio::time::sleep(SHOW_EVERY).await;
        }
    };
    tokio::select! {
        () = end => {}
        () = away => {}
    }
}

async fn show(log: &dyn Log, reporter: &Reporter) {
    loop {
        let head = log.head().borrow().0;
        match log.condition() {
            Condition::Well { lag } => {
                reporter.at(head, head + lag);
                reporter.phase(match lag {
                    0 => Phase::Following,
                    _ => Phase::CatchingUp,
                });
            }
            Condition::Waiting { lag, reason } => {
                reporter.at(head, head + lag);
                reporter.explain(Phase::Waiting, reason);
            }
            Condition::Broken(reason) => reporter.explain(Phase::Failed, reason),
        }
        tokio::time::sleep(SHOW_EVERY).await;
    }
}
