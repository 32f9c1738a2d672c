//! Serving HTTP: a task for each connection, bounded in number and in how long a client may take to
//! say what it wants and to take what it is told.

use std::{net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{ConnectInfo, Request},
    serve::Listener,
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::{JoinHandle, JoinSet},
};
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt as _;

/// What clients may take of the server.
#[derive(Debug, Clone)]
pub(crate) struct HttpLimits {
    /// How long the head of a request may take, from the moment when the server waits for it.
    pub(crate) header_timeout: Duration,
    /// How long a client may take nothing of its answer. As long as it takes some, it may go on.
    pub(crate) write_timeout: Duration,
    /// How many connections are served at a time.
    pub(crate) max_connections: usize,
}

/// Serves until `stop` turns true, then ends the requests that run. Aborting the task cuts them off.
pub(crate) fn serve(
    mut listener: TcpListener,
    router: Router,
    limits: &HttpLimits,
    stop: watch::Receiver<bool>,
) -> JoinHandle<()> {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout);
    let write_timeout = limits.write_timeout;
    let turns = Arc::new(Semaphore::new(limits.max_connections));
    tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let accepted = async {
                let turn = Arc::clone(&turns).acquire_owned().await;
                (Listener::accept(&mut listener).await, turn)
            };
            let ((stream, peer), turn) = tokio::select! {
                accepted = accepted => accepted,
                // What has ended is forgotten.
                Some(_) = connections.join_next() => continue,
                () = stopped(stop.clone()) => break,
            };
            // Without it small answers wait for the client's acknowledgement; it is no more than speed.
            let _slower = stream.set_nodelay(true);
            let mut stream = TimeoutStream::new(stream);
            stream.set_write_timeout(Some(write_timeout));
            let serving =
                serve_connection(http.clone(), stream, peer, router.clone(), stop.clone());
            connections.spawn(async move {
                serving.await;
                drop(turn);
            });
        }
        drop(listener);
        while connections.join_next().await.is_some() {}
    })
}

async fn serve_connection(
    http: http1::Builder,
    stream: TimeoutStream<TcpStream>,
    peer: SocketAddr,
    router: Router,
    stop: watch::Receiver<bool>,
) {
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        router.clone().oneshot(request)
    });
    let connection = http.serve_connection(TokioIo::new(Box::pin(stream)), service);
    let mut connection = pin!(connection.with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection broke off");
    }
}

/// Waits until it is time to stop.
pub(crate) async fn stopped(mut stop: watch::Receiver<bool>) {
    // A closed channel means that the server is gone: stop, too.
    let _closed = stop.wait_for(|stop| *stop).await;
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    struct Served {
        address: SocketAddr,
        stop: watch::Sender<bool>,
        task: JoinHandle<()>,
    }

    async fn served(header_timeout: Duration, max_connections: usize) -> Served {
        served_with(HttpLimits {
            header_timeout,
            write_timeout: Duration::from_secs(30),
            max_connections,
        })
        .await
    }

    /// Longer than what the kernel keeps for a client that does not read.
    const LONG: usize = 32 << 20;

    async fn served_with(limits: HttpLimits) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let slow = || async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            "slow"
        };
        let long = || async { vec![b'x'; LONG] };
        let peer = |ConnectInfo(peer): ConnectInfo<SocketAddr>| async move { peer.to_string() };
        let router = Router::new()
            .route("/peer", get(peer))
            .route("/slow", get(slow))
            .route("/long", get(long));
        let (stop, stopped) = watch::channel(false);
        let task = serve(listener, router, &limits, stopped);
        Served {
            address,
            stop,
            task,
        }
    }

    async fn send(address: SocketAddr, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(text.as_bytes()).await.unwrap();
        stream
    }

    async fn rest(mut stream: TcpStream) -> String {
        let mut text = String::new();
        // A connection that is cut off has no more to say.
        let _cut = stream.read_to_string(&mut text).await;
        text
    }

    fn ask(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    }

    #[tokio::test]
    async fn a_head_that_does_not_come_to_its_end_is_cut_off() {
        let served = served(Duration::from_millis(200), 10).await;
        for said in ["", "GET /peer HTTP/1.1\r\nhost: x\r\nx-slow: "] {
            let started = Instant::now();
            let stream = send(served.address, said).await;
            let text = tokio::time::timeout(Duration::from_secs(10), rest(stream)).await;
            let text = text.unwrap_or_else(|_| panic!("`{said}` is waited for without an end"));
            assert!(!text.contains("200 OK"), "{text}");
            assert!(started.elapsed() >= Duration::from_millis(150));
        }
        let stream = send(served.address, &ask("/slow")).await;
        let text = rest(stream).await;
        assert!(text.ends_with("slow"), "an answer may take longer: {text}");
    }

    #[tokio::test]
    async fn connections_beyond_the_bound_wait_for_their_turn() {
        let served = served(Duration::from_secs(30), 1).await;
        let held = send(served.address, "GET ").await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        let second = send(served.address, &ask("/peer")).await;
        let second = tokio::spawn(rest(second));
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!second.is_finished());
        drop(held);
        let text = second.await.unwrap();
        assert!(text.contains("127.0.0.1:"), "{text}");
    }

    fn impatient() -> HttpLimits {
        HttpLimits {
            header_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(1),
            max_connections: 1,
        }
    }

    #[tokio::test]
    async fn a_client_that_never_reads_its_answer_gives_its_turn_back() {
        let served = served_with(impatient()).await;
        let _silent = send(served.address, &ask("/long")).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let second = send(served.address, &ask("/peer")).await;
        let text = tokio::time::timeout(Duration::from_secs(10), rest(second)).await;
        let text = text.expect("the first still has the only turn");
        assert!(text.contains("127.0.0.1:"), "{text}");
    }

    #[tokio::test]
    async fn a_client_that_reads_slowly_gets_its_answer_to_the_end() {
        let served = served_with(impatient()).await;
        let mut stream = send(served.address, &ask("/long")).await;
        let started = Instant::now();
        let (mut read, mut part) = (0, vec![0; 1 << 20]);
        loop {
            match stream.read(&mut part).await.unwrap() {
                0 => break,
                length => read += length,
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert!(read > LONG, "{read} bytes");
        assert!(started.elapsed() > Duration::from_secs(1));
    }

    #[tokio::test]
    async fn a_request_that_runs_is_answered_when_the_server_stops_and_idle_ones_are_closed() {
        let served = served(Duration::from_secs(30), 10).await;
        let idle = TcpStream::connect(served.address).await.unwrap();
        let running = send(served.address, &ask("/slow")).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        served.stop.send_replace(true);
        assert!(rest(running).await.ends_with("slow"));
        assert_eq!(rest(idle).await, "");
        tokio::time::timeout(Duration::from_secs(10), served.task)
            .await
            .expect("it ends")
            .unwrap();
        assert!(TcpStream::connect(served.address).await.is_err());
    }
}
