//! Where an operation runs: in the server that has the data directory, or else here.

use std::sync::Arc;

use cairn_engine::{
    dead_letters::{DeadLetter, DeadLetters},
    log::LogError,
};
use tokio::sync::mpsc;

use crate::{
    config::{Config, LogKind},
    forward::Peers,
    lake, lead,
    node::{Needs, Node, Shard, socket_path},
    operations::{Inputs, Message, Operation, Output, Request},
    socket,
};

/// Starts an operation; what it says comes out of the channel.
pub(crate) async fn start(
    config: &Config,
    operation: Operation,
    inputs: Inputs,
) -> anyhow::Result<mpsc::Receiver<Message>> {
    if let Some(server) = socket::connect(&socket_path(&config.data.dir)).await? {
        return server.perform(&operation, inputs).await;
    }
    let needs = operation.request.needs();
    let shared = config.log.kind == LogKind::Kafka;
    // Who writes a log that others share is a question of its own.
    let opened = if shared {
        needs.min(Needs::Runner)
    } else {
        needs
    };
    let node = Node::open(config, opened, operation.shard.as_deref()).await?;
    let peers = Peers::of_command(config)?;
    if shared && needs >= Needs::Log {
        read_to_the_end(&node).await?;
    }
    if shared && needs == Needs::Writer {
        for shard in written(&node, &operation)? {
            lead::lead_unless_led(shard, config).await?;
        }
    }
    if operation.request.reads_lake() {
        lake::open_as_it_is(&node, config).await?;
    }
    let (output, messages) = Output::channel();
    tokio::spawn(async move {
        let end = operation.perform(&node, &peers, inputs, &output).await;
        // The last word comes when everything is on disk.
        let end = match (node.close().await, end) {
            (Err(error), Message::Done(_)) => Message::end(Err(error)),
            (_, end) => end,
        };
        drop(node);
        output.end(end).await;
    });
    Ok(messages)
}

/// The shards that an operation appends to.
fn written<'a>(node: &'a Node, operation: &Operation) -> anyhow::Result<Vec<&'a Arc<Shard>>> {
    match &operation.request {
        Request::DeadLetterRetry { .. } => {
            let letters = DeadLetters::new(node.data_dir()).list()?;
            let shard = |letter: &DeadLetter| node.shard(None, Some(&letter.chain));
            letters.iter().map(shard).collect()
        }
        request => Ok(vec![
            node.shard(operation.shard.as_deref(), request.chain())?,
        ]),
    }
}

/// What a command says of a log is of where that ends now, as far as the brokers answer.
async fn read_to_the_end(node: &Node) -> Result<(), LogError> {
    for shard in &node.shards {
        let Ok(log) = shard.log() else { continue };
        match log.caught_up().await {
            Err(error) if error.is_passing() => tracing::warn!(%error, "the log may have more"),
            read => read?,
        }
    }
    Ok(())
}
