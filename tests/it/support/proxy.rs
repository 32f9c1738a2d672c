//! A network that can be cut: connections through it stay open, but nothing moves until it is mended.

use super::kafka::Cluster;
use std::{io, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

/// Forwards connections, each port to another one, for as long as it lives.
pub(crate) struct Network {
    open: Arc<watch::Sender<bool>>,
    _tasks: JoinSet<()>,
}

impl Network {
    /// Forwards each first port to its second, on loopback.
    pub(crate) async fn new(ports: &[(u16, u16)]) -> Self {
        let open = Arc::new(watch::Sender::new(true));
        let mut tasks = JoinSet::new();
        for (from, to) in ports {
            let listener = TcpListener::bind(("127.0.0.1", *from)).await;
            let listener = listener.unwrap_or_else(|error| panic!("port {from}: {error}"));
            tasks.spawn(accept(listener, *to, open.subscribe()));
        }
        Self {
            open,
            _tasks: tasks,
        }
    }

    /// From now on nothing comes through.
    pub(crate) fn cut(&self) {
        self.open.send_replace(false);
    }

    /// What was held up comes through, late.
    pub(crate) fn mend(&self) {
        self.open.send_replace(true);
    }
}

/// A network in front of three brokers, and how they are reached through it.
pub(crate) async fn proxied(cluster: &Cluster) -> (Network, String) {
    let ports: Vec<_> = (1..=3)
        .map(|node| (cluster.port(node, "PROXY"), cluster.port(node, "PROXIED")))
        .collect();
    let brokers: Vec<_> = ports
        .iter()
        .map(|(from, _)| format!("127.0.0.1:{from}"))
        .collect();
    (Network::new(&ports).await, brokers.join(","))
}

async fn accept(listener: TcpListener, to: u16, open: watch::Receiver<bool>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let open = open.clone();
        connections.spawn(async move {
            // Either end may hang up.
            let _ended = forward(stream, to, open).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn forward(near: TcpStream, to: u16, open: watch::Receiver<bool>) -> io::Result<()> {
    wait_until_open(&mut open.clone()).await;
    let far = TcpStream::connect(("127.0.0.1", to)).await?;
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::select! {
        ended = copy(near_read, far_write, open.clone()) => ended,
        ended = copy(far_read, near_write, open) => ended,
    }
}

async fn copy(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut open: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let length = from.read(&mut buffer).await?;
        if length == 0 {
            return Ok(());
        }
        wait_until_open(&mut open).await;
        to.write_all(&buffer[..length]).await?;
    }
}

async fn wait_until_open(open: &mut watch::Receiver<bool>) {
    // Where the network is gone, so is everything that uses it.
    drop(open.wait_for(|open| *open).await);
}

/// Long enough for whatever a fault must have an effect on.
pub(crate) async fn moment() {
    tokio::time::sleep(Duration::from_secs(1)).await;
}
