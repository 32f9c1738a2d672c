//! Who writes: one node of those that could, for each shard. It takes the log over, runs the sources,
//! and gives both up when another one has taken over.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use cairn_engine::{
    health::{Phase, Reporter},
    log::{Claim, KafkaOptions, Leadership, LogError, Writer},
};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    config::{Config, LogKind, Source},
    forward, gauges,
    http::stopped,
    node::{Node, Shard, claim, kafka_options},
    sources,
};

/// Before a log that could not be taken over, or was lost, is tried again.
const PAUSE: Duration = Duration::from_secs(2);

/// What leads the shards of a server.
pub(crate) struct Leaders {
    tasks: JoinSet<()>,
    membership: Membership,
}

/// The place of a server in the group of writers, once it has one. Dropping it leaves the group, so
/// that another node takes over at once.
type Membership = Arc<Mutex<Option<Leadership>>>;

impl Leaders {
    /// Starts to lead, or to stand by, in every shard. `address` is where other nodes reach this one.
    pub(crate) fn start(node: &Node, config: &Config, address: &str) -> Self {
        let mut tasks = JoinSet::new();
        let membership = Membership::default();
        let shared = config.log.kind == LogKind::Kafka;
        let (assign, assigned) = watch::channel(BTreeSet::new());
        if shared {
            let options = kafka_options(config, 0, None);
            let group = config.log.kafka.group.clone();
            let (shards, own) = (node.shards.clone(), Arc::clone(&membership));
            tasks.spawn(join_group(shards, options, group, own, assign));
        }
        for (index, shard) in node.shards.iter().enumerate() {
            gauges::describe_lost_writers(&shard.name);
            let own = |source: &&Source| source.shard == index;
            let lead = Lead {
                reporter: shared.then(|| shard.health.reporter("leader")),
                shard: Arc::clone(shard),
                sources: config.sources.iter().filter(own).cloned().collect(),
                claim: claim(&config.data, shared.then(|| address.to_owned())),
                said: Mutex::default(),
            };
            let partition = u32::try_from(index).unwrap_or(u32::MAX);
            tasks.spawn(lead.run(partition, shared.then(|| assigned.clone())));
        }
        Self { tasks, membership }
    }

    /// Stops all sources and gives the right to append up.
    pub(crate) async fn stop(mut self) {
        self.tasks.shutdown().await;
        let membership = self.membership.lock().ok().and_then(|mut own| own.take());
        // Leaving takes a moment in which the brokers hear of it.
        let _left = tokio::task::spawn_blocking(move || drop(membership)).await;
    }
}

/// Joins the group of writers when this node could take over at once: it has folded what there was.
/// Hands on what the group gives and takes. Never returns.
async fn join_group(
    shards: Vec<Arc<Shard>>,
    options: KafkaOptions,
    group: String,
    membership: Membership,
    assign: watch::Sender<BTreeSet<u32>>,
) {
    for shard in &shards {
        shard.joined().await;
    }
    let mut own = match Leadership::join(&options, &group) {
        Ok(leadership) => {
            let assigned = leadership.assigned();
            if let Ok(mut membership) = membership.lock() {
                *membership = Some(leadership);
            }
            assigned
        }
        Err(error) => {
            tracing::error!(%error, "this node cannot stand by to write");
            return std::future::pending().await;
        }
    };
    loop {
        assign.send_replace(own.borrow_and_update().clone());
        if own.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// What leads one shard.
struct Lead {
    shard: Arc<Shard>,
    sources: Vec<Source>,
    claim: Claim,
    /// None for a log that no other process can write.
    reporter: Option<Reporter>,
    /// Why the log could not be taken over the last time: what repeats is said once.
    said: Mutex<String>,
}

type Assigned = watch::Receiver<BTreeSet<u32>>;

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
                () = wait_assigned(assigned, partition, true) => {}
                never = self.stand_by() => match never {},
            }
        }
        let mut taken = pin!(async {
            match assigned {
                Some(assigned) => wait_assigned(assigned, partition, false).await,
                None => std::future::pending().await,
            }
        });
        let writer = tokio::select! {
            biased;
            () = &mut taken => return,
            writer = self.take_over() => writer,
        };
        match writer {
            Ok(writer) => {
                let (reason, why) = self.lead(writer.as_ref(), taken).await;
                self.resign(reason, why);
            }
            Err(error) => self.explain(&error),
        }
        // Whoever took over has time to be known to the group, and two groups do not race.
        tokio::time::sleep(PAUSE).await;
    }

    fn resign(&self, reason: &'static str, why: String) {
        self.shard.lead(None);
        gauges::count_lost_writer(&self.shard.name, reason);
        let shard = &self.shard.name;
        tracing::warn!(shard, why, "this node does not write any more");
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
            () = taken => ("taken", "the group of writers took the shard back".to_owned()),
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
                    "stands by; the last to take over was {} at {}, in epoch {}",
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
        let text = error.to_string();
        let repeated = self
            .said
            .lock()
            .is_ok_and(|mut said| std::mem::replace(&mut *said, text.clone()) == text);
        if !repeated {
            tracing::warn!(shard = self.shard.name, %error, "the log cannot be taken over");
        }
        let phase = match error {
            LogError::Unavailable(_) | LogError::Fenced { .. } => Phase::Waiting,
            _ => Phase::Failed,
        };
        self.explain_text(phase, text);
    }

    fn explain_text(&self, phase: Phase, text: impl Into<String>) {
        if let Some(reporter) = &self.reporter {
            reporter.explain(phase, text);
        }
    }
}

/// Waits until the group has given a partition, or taken it. A group that is gone does neither.
async fn wait_assigned(assigned: &mut Assigned, partition: u32, given: bool) {
    let is_there = |own: &BTreeSet<u32>| own.contains(&partition) == given;
    if assigned.wait_for(is_there).await.is_err() {
        std::future::pending().await
    }
}

/// Takes the log of a command's shard over, unless another node that answers writes it.
pub(crate) async fn lead_unless_led(shard: &Shard, config: &Config) -> anyhow::Result<()> {
    if shard.writer().is_some() {
        return Ok(());
    }
    if let Some(leader) = forward::leader(shard).await {
        tracing::info!(leader, "another node writes the log");
        return Ok(());
    }
    let claim = claim(&config.data, None);
    shard.lead(Some(shard.log()?.take_over(claim).await?));
    Ok(())
}
