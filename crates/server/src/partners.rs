//! Takes what requests want of partners to the node that writes the log, and what was counted of them.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use cairn_api::{App, NewKey, PartnerCommand, PartnerDesk, Profile};
use cairn_domain::{
    events::{ApiUsed, UsageCount},
    projections::partners::{PartnerRow, stream},
};
use cairn_engine::clock::now_millis;
use serde_json::Value;

use crate::{
    forward::Peers,
    http::stopped,
    node::Node,
    operations::{Inputs, Message, Operation, Output, Request, partners},
};

/// How often what was counted becomes an event: a node that is killed forgets so much.
const COUNT_EVERY: Duration = Duration::from_secs(10);
/// So many counts are in one event.
const COUNTS: usize = 1000;

const MILLIS_OF_A_MINUTE: u64 = 60_000;

/// See the module.
pub(crate) struct Desk {
    node: Arc<Node>,
    peers: Peers,
}

impl Desk {
    /// Of this node.
    pub(crate) fn new(node: &Arc<Node>, peers: &Peers) -> Arc<Self> {
        Arc::new(Self {
            node: Arc::clone(node),
            peers: peers.clone(),
        })
    }

    async fn operate(&self, request: Request) -> Result<Value, String> {
        let operation = Operation {
            shard: Some(self.node.shards[0].name.clone()),
            request,
        };
        let (output, _messages) = Output::channel();
        let done = operation.perform(&self.node, &self.peers, Inputs::default(), &output);
        match done.await {
            Message::Failed { message, .. } => Err(message),
            Message::Done(result) => Ok(result),
            Message::Progress { .. } | Message::Line(_) => Ok(Value::Null),
        }
    }

    /// Appends what was counted; what cannot be appended now is counted on.
    pub(crate) async fn count(&self, app: &App) {
        let mut counts = app.take_usage();
        while !counts.is_empty() {
            let rest = counts.split_off(counts.len().min(COUNTS));
            if let Err(reason) = self.append(counts.clone()).await {
                tracing::warn!(reason, "usage of partners has to wait");
                app.put_usage_back([counts, rest].concat());
                return;
            }
            counts = rest;
        }
    }

    async fn append(&self, counts: Vec<UsageCount>) -> Result<(), String> {
        let used = ApiUsed {
            minute: now_millis() / MILLIS_OF_A_MINUTE,
            counts,
        };
        let request = Request::Append {
            stream: stream().as_str().to_owned(),
            events: vec![used.into()],
        };
        self.operate(request).await.map(drop)
    }

    /// Keys of profiles that are erased are destroyed on each node that has them, whichever took the command, and
    /// when it died before it was done.
    fn destroy_erased(&self) {
        if let Err(error) = partners::destroy_erased(&self.node, &self.node.shards[0]) {
            let error = format!("{error:#}");
            tracing::warn!(error, "the keys of erased profiles stay for now");
        }
    }

    /// Appends what was counted, from time to time, until the server stops.
    pub(crate) async fn keep_counting(self: Arc<Self>, app: Arc<App>) {
        let counting = async {
            loop {
                self.destroy_erased();
                tokio::time::sleep(COUNT_EVERY).await;
                self.count(&app).await;
            }
        };
        tokio::select! {
            () = counting => {}
            () = stopped(self.node.stopping()) => {}
        }
    }
}

#[async_trait]
impl PartnerDesk for Desk {
    async fn perform(&self, command: PartnerCommand) -> Result<Option<NewKey>, String> {
        let mut done = self.operate(Request::Partner(command)).await?;
        serde_json::from_value(done["key"].take()).map_err(|error| error.to_string())
    }

    fn profile(&self, id: &str, row: &PartnerRow) -> Option<Profile> {
        partners::profile(&self.node, id, row).unwrap_or_else(|error| {
            tracing::error!(id, error = format!("{error:#}"), "a profile cannot be read");
            None
        })
    }
}
