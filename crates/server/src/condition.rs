//! How a log is that other machines hold, as the component `log` of its shard.

use std::{sync::Arc, time::Duration};

use cairn_engine::{
    health::{Phase, Reporter},
    log::{Condition, Log},
    store::Store,
};

use crate::{http::stopped, node::Shard};

/// How often it is shown, and a log that does not answer asked.
const EVERY: Duration = Duration::from_millis(500);

/// Shows it for as long as the server runs, and says when the shard has joined.
pub(crate) fn show_condition(shard: &Arc<Shard>) -> anyhow::Result<()> {
    let (log, store) = (Arc::clone(shard.log()?), Arc::clone(shard.store()?));
    if log.is_local() {
        return Ok(());
    }
    let reporter = shard.health.reporter("log");
    let shard = Arc::clone(shard);
    tokio::spawn(async move {
        let join = async {
            join(log.as_ref(), &store).await;
            shard.set_joined();
            std::future::pending().await
        };
        tokio::select! {
            () = stopped(shard.stopping()) => {}
            () = join => {}
            () = show(&shard, log.as_ref(), &reporter) => {}
        }
    });
    Ok(())
}

/// Returns when all that there was when the node came is folded.
async fn join(log: &dyn Log, store: &Store) {
    while let Err(error) = log.caught_up().await {
        tracing::debug!(%error, "a node waits to join");
        tokio::time::sleep(EVERY).await;
    }
    let head = *log.head().borrow();
    let mut position = store.position();
    // The store outlives this.
    drop(position.wait_for(|position| *position >= head).await);
}

async fn show(shard: &Shard, log: &dyn Log, reporter: &Reporter) {
    loop {
        let head = log.head().borrow().0;
        match log.condition() {
            Condition::Well { lag } => {
                reporter.at(head, head + lag);
                let closed = log
                    .epoch()
                    .borrow()
                    .as_ref()
                    .and_then(|epoch| epoch.closed.clone());
                match (shard.has_joined(), lag, closed) {
                    (false, ..) => {
                        let detail = "reading what there was when this node started";
                        reporter.explain(Phase::Starting, detail);
                    }
                    (true, 0, None) => reporter.phase(Phase::Following),
                    (true, 0, Some(reason)) => {
                        reporter.explain(
                            Phase::Waiting,
                            format!("nothing is appended to it: {reason}"),
                        );
                    }
                    (true, ..) => reporter.phase(Phase::CatchingUp),
                }
            }
            Condition::Waiting { lag, reason } => {
                reporter.at(head, head + lag);
                reporter.explain(Phase::Waiting, reason);
            }
            Condition::Broken(reason) => reporter.explain(Phase::Failed, reason),
        }
        tokio::time::sleep(EVERY).await;
    }
}
