use std::{
    io::{BufRead as _, BufReader, Cursor, Read},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use super::*;
use crate::{
    config::{Config, Flags},
    forward::Peers,
    node::{Needs, Node, socket_path},
    operations::{Inputs, Message, Operation, Request},
    transport,
};

struct Served {
    config: Config,
    node: Arc<Node>,
    _file: SocketFile,
    _directory: TempDir,
}

async fn serve() -> Served {
    serve_with(Duration::from_secs(60)).await
}

/// A server that waits so long for receipts to begin.
async fn serve_with(patience: Duration) -> Served {
    let directory = tempfile::tempdir().unwrap();
    let flags = Flags {
        data_dir: Some(directory.path().join("data")),
        ..Flags::default()
    };
    let config = Config::read(None, [], &flags).unwrap();
    let node = Arc::new(Node::open(&config, Needs::Writer, None).await.unwrap());
    let (file, listener) = SocketFile::bind(&socket_path(&config.data.dir))
        .await
        .unwrap();
    let peers = Peers::of_command(&config).unwrap();
    let routes = server::routes(Arc::clone(&node), peers, patience, false);
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Served {
        config,
        node,
        _file: file,
        _directory: directory,
    }
}

impl Served {
    async fn ask(&self, request: Request, inputs: Inputs) -> (Vec<Message>, Message) {
        let mut messages = transport::start(&self.config, operation(request), inputs)
            .await
            .unwrap();
        let mut said = Vec::new();
        while let Some(message) = messages.recv().await {
            match message {
                Message::Done(_) | Message::Failed { .. } => return (said, message),
                other => said.push(other),
            }
        }
        panic!("it ended without a word");
    }

    async fn result(&self, request: Request, inputs: Inputs) -> Value {
        match self.ask(request, inputs).await {
            (_, Message::Done(value)) => value,
            (_, other) => panic!("{other:?}"),
        }
    }
}

/// The first lines of a file of `samples/`.
fn sample(name: &str, lines: usize) -> Box<dyn Read + Send> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../samples")
        .join(name);
    let reader = BufReader::new(zstd::Decoder::new(File::open(path).unwrap()).unwrap());
    let lines: Vec<_> = reader
        .lines()
        .take(lines)
        .map(|line| line.unwrap() + "\n")
        .collect();
    Box::new(Cursor::new(lines.concat()))
}

fn operation(request: Request) -> Operation {
    Operation {
        shard: None,
        request,
    }
}

fn ingest(chain: &str) -> Request {
    let (chain, name) = (chain.to_owned(), "blocks".to_owned());
    Request::Ingest {
        chain,
        is_final: true,
        name,
        size: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_and_receipts_stream_through_the_socket_and_come_out_of_the_log() {
    let served = serve().await;
    let inputs = Inputs {
        blocks: Some(sample("blocks.jsonl.zst", 40)),
        receipts: Some(sample("receipts.jsonl.zst", 40)),
    };
    let report = served.result(ingest("eth"), inputs).await;
    assert_eq!(report["blocks"], 40);
    let stat = served.result(Request::LogStat, Inputs::default()).await;
    assert_eq!(stat["head"], report["position"]);
    let cat = Request::LogCat {
        from: 1,
        to: Some(2),
    };
    let (lines, _) = served.ask(cat, Inputs::default()).await;
    assert!(matches!(&lines[0], Message::Line(line) if line["name"] == "block_appended"));
    let verified = served.result(Request::Verify, Inputs::default()).await;
    assert_eq!(verified["position"], report["position"]);
    let rebuilt = served
        .result(
            Request::Replay {
                projections: vec![],
            },
            Inputs::default(),
        )
        .await;
    assert_eq!(rebuilt["position"], report["position"]);
    served.node.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_has_one_writer_at_a_time() {
    let served = serve().await;
    let _source = served.node.shards[0].claim_chain("eth").unwrap();
    let inputs = Inputs {
        blocks: Some(sample("blocks.jsonl.zst", 1)),
        receipts: None,
    };
    let (_, end) = served.ask(ingest("eth"), inputs).await;
    assert!(
        matches!(&end, Message::Failed { message, .. } if message.contains("another --chain")),
        "{end:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_arrives_while_the_upload_is_still_sent() {
    let served = serve().await;
    let _source = served.node.shards[0].claim_chain("eth").unwrap();
    for round in 0..20 {
        let inputs = Inputs {
            blocks: Some(Box::new(io::repeat(b'x').take(64 << 20))),
            receipts: None,
        };
        let (_, end) = served.ask(ingest("eth"), inputs).await;
        assert!(
            matches!(&end, Message::Failed { message, .. } if message.contains("another --chain")),
            "round {round}: {end:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_off_is_an_error_and_the_server_goes_on() {
    struct Breaks(Box<dyn Read + Send>);
    impl Read for Breaks {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            match self.0.read(out)? {
                0 => Err(io::Error::other("the disk is gone")),
                length => Ok(length),
            }
        }
    }
    let served = serve().await;
    let blocks = Breaks(sample("blocks.jsonl.zst", 3));
    let inputs = Inputs {
        blocks: Some(Box::new(blocks)),
        receipts: None,
    };
    // It shows at once or in the answer, as the server is faster or slower than the disk.
    match transport::start(&served.config, operation(ingest("eth")), inputs).await {
        Err(error) => assert!(
            format!("{error:#}").contains("the disk is gone"),
            "{error:#}"
        ),
        Ok(mut messages) => {
            let end = messages.recv().await;
            assert!(matches!(end, Some(Message::Failed { .. })), "{end:?}");
        }
    }
    served.result(Request::LogStat, Inputs::default()).await;
}

impl Served {
    async fn connect(&self) -> UnixStream {
        let path = socket_path(&self.config.data.dir);
        UnixStream::connect(&path).await.unwrap()
    }

    /// Sends the first of the two requests of an ingest with receipts, and waits until the ingest
    /// has its chain.
    async fn half_an_ingest(&self) -> UnixStream {
        let mut stream = self.connect().await;
        let mut blocks = String::new();
        let mut lines = sample("blocks.jsonl.zst", 3);
        lines.read_to_string(&mut blocks).unwrap();
        let request = serde_json::to_string(&operation(ingest("eth"))).unwrap();
        let length = blocks.len();
        let text = format!(
            "POST /v1/operations HTTP/1.1\r\nhost: cairn\r\n{REQUEST}: {request}\r\n{RECEIPTS}: token\r\ncontent-length: {length}\r\n\r\n{blocks}"
        );
        stream.write_all(text.as_bytes()).await.unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
        while self.node.shards[0].claim_chain("eth").is_some() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stream
    }

    async fn chain_is_given_back(&self) {
        let given_back = async {
            while self.node.shards[0].claim_chain("eth").is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(20), given_back).await;
        assert!(in_time.is_ok(), "the chain is still claimed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_whose_command_ends_between_its_two_requests_gives_its_chain_back() {
    let served = serve().await;
    drop(served.half_an_ingest().await);
    served.chain_is_given_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ingest_whose_receipts_never_begin_fails_and_says_so() {
    let served = serve_with(Duration::from_millis(300)).await;
    let mut stream = served.half_an_ingest().await;
    served.chain_is_given_back().await;
    let mut answer = vec![0; 64 << 10];
    let length = stream.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]);
    assert!(answer.contains("the receipts did not come"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn receipts_of_an_ingest_that_has_ended_are_not_waited_for_any_more() {
    let served = serve().await;
    let _source = served.node.shards[0].claim_chain("eth").unwrap();
    let mut stream = served.half_an_ingest().await;
    let mut answer = String::new();
    while !answer.contains("another --chain") {
        let mut part = vec![0; 64 << 10];
        let length = stream.read(&mut part).await.unwrap();
        assert!(length > 0, "{answer}");
        answer.push_str(&String::from_utf8_lossy(&part[..length]));
    }
    let mut late = served.connect().await;
    let text = "POST /v1/receipts/token HTTP/1.1\r\nhost: cairn\r\ncontent-length: 0\r\n\r\n";
    late.write_all(text.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    late.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 404");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_given_up_when_the_server_stops_and_the_live_rows_stay() {
    let served = serve().await;
    let inputs = Inputs {
        blocks: Some(sample("blocks.jsonl.zst", 40)),
        receipts: None,
    };
    served.result(ingest("eth"), inputs).await;
    let before = served.node.shards[0].store().unwrap().states();
    served.node.begin_stop();
    let replay = Request::Replay {
        projections: vec![],
    };
    let (_, end) = served.ask(replay, Inputs::default()).await;
    assert!(
        matches!(&end, Message::Failed { message, .. } if message.contains("given up")),
        "{end:?}"
    );
    served.node.close().await.unwrap();
    assert_eq!(served.node.shards[0].store().unwrap().states(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tail_follows_what_is_appended_and_ends_with_the_server() {
    let served = serve().await;
    let tail = Request::LogTail {
        commits: 0,
        follow: true,
    };
    let mut messages = transport::start(&served.config, operation(tail), Inputs::default())
        .await
        .unwrap();
    let inputs = Inputs {
        blocks: Some(sample("blocks.jsonl.zst", 2)),
        receipts: None,
    };
    served.result(ingest("eth"), inputs).await;
    let first = messages.recv().await.unwrap();
    assert!(
        matches!(&first, Message::Line(line) if line["stream"] == "chain/eth"),
        "{first:?}"
    );
    served.node.begin_stop();
    while let Some(message) = messages.recv().await {
        if matches!(message, Message::Done(_)) {
            return;
        }
    }
    panic!("it never ended");
}
