//! Where an operation runs: in the server that has the data directory, or else here.

use tokio::sync::mpsc;

use crate::{
    config::Data,
    node::{Node, socket_path},
    operations::{Inputs, Message, Output, Request},
    socket,
};

/// Starts an operation; what it says comes out of the channel.
pub(crate) async fn start(
    data: &Data,
    request: Request,
    inputs: Inputs,
) -> anyhow::Result<mpsc::Receiver<Message>> {
    if let Some(server) = socket::connect(&socket_path(&data.dir)).await? {
        return server.perform(&request, inputs).await;
    }
    let node = Node::open(data, request.needs()).await?;
    let (output, messages) = Output::channel();
    tokio::spawn(async move {
        let end = request.perform(&node, inputs, &output).await;
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
