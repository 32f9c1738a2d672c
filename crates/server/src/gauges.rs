//! Metrics of what only the server sees; the API shows them with its own under `/metrics`.

use std::{sync::Arc, time::Duration};

use cairn_engine::dead_letters::DeadLetters;
use metrics::{counter, gauge};

use crate::{http::stopped, node::Node};

/// How often they are measured.
const EVERY: Duration = Duration::from_secs(5);

/// Counts that this process lost the right to append: `fenced` by another writer, `failed`, or `taken`
/// by the group.
pub(crate) fn count_lost_writer(shard: &str, reason: &'static str) {
    lost_writers(shard, reason).increment(1);
}

/// Makes the counters of a shard seen before anything happens to them.
pub(crate) fn describe_lost_writers(shard: &str) {
    for reason in ["fenced", "failed", "taken"] {
        lost_writers(shard, reason).increment(0);
    }
}

fn lost_writers(shard: &str, reason: &'static str) -> metrics::Counter {
    counter!("cairn_log_writers_lost_total", "shard" => shard.to_owned(), "reason" => reason)
}

/// Measures until the server stops.
pub(crate) fn measure(node: &Arc<Node>) {
    let node = Arc::clone(node);
    tokio::spawn(async move {
        let every = async {
            loop {
                let dir = node.data_dir().to_owned();
                let count = tokio::task::spawn_blocking(move || DeadLetters::new(&dir).list());
                if let Ok(Ok(letters)) = count.await {
                    gauge!("cairn_dead_letters").set(letters.len() as f64);
                }
                show_epochs(&node);
                tokio::time::sleep(EVERY).await;
            }
        };
        tokio::select! {
            () = every => {}
            () = stopped(node.stopping()) => {}
        }
    });
}

fn show_epochs(node: &Node) {
    for shard in &node.shards {
        let Ok(log) = shard.log() else { continue };
        let epoch = log
            .epoch()
            .borrow()
            .as_ref()
            .map_or(0, |record| record.epoch);
        gauge!("cairn_log_epoch", "shard" => shard.name.clone()).set(epoch as f64);
    }
}
