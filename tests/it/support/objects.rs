//! Object stores: servers of other people's, in memory, for as long as a test runs.

use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{http::request, process::repository};

/// The bucket that there is at the start.
const BUCKET: &str = "cairn";

/// Before a server is given up that does not listen.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server of a kind of object store; killed when dropped.
pub(crate) struct ObjectServer {
    child: Child,
    pub(crate) port: u16,
    /// The address of a lake in it.
    pub(crate) url: String,
}

impl Drop for ObjectServer {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl ObjectServer {
    /// S3, of moto.
    pub(crate) fn s3() -> Self {
        let port = free_port();
        let mut command = program("moto_server");
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let server = Self::start(command, port, format!("s3://{BUCKET}/lakes/main"));
        let address = format!("127.0.0.1:{port}");
        let no_body = [("content-length", "0")];
        let made = request(&address, "PUT", &format!("/{BUCKET}"), &no_body);
        assert_eq!(made.status, 200, "the bucket was not made");
        server
    }

    fn start(mut command: Command, port: u16, url: String) -> Self {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let server = Self { child, port, url };
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < PATIENCE, "{command:?} does not listen");
            thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// What a server needs to know to keep its lake here, by a port that leads here.
    pub(crate) fn settings(&self, port: u16) -> Vec<(&'static str, String)> {
        vec![
            ("CAIRN_LAKE__URL", self.url.clone()),
            (
                "CAIRN_LAKE__STORAGE__AWS_ENDPOINT",
                format!("http://127.0.0.1:{port}"),
            ),
            ("CAIRN_LAKE__STORAGE__ALLOW_HTTP", "true".into()),
            ("AWS_ACCESS_KEY_ID", "key".into()),
            ("AWS_SECRET_ACCESS_KEY", "hidden".into()),
        ]
    }
}

/// A program of the readers of lakes.
fn program(name: &str) -> Command {
    let program = repository().join("target/tools/lake-venv/bin").join(name);
    assert!(
        program.is_file(),
        "{} is missing: run ops/setup.sh --lake",
        program.display()
    );
    Command::new(program)
}

/// A port on loopback that nothing listens on.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("it has an address").port()
}
