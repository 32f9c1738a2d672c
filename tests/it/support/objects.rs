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
    child: Option<Child>,
    pub(crate) port: u16,
    /// The address of a lake in it.
    pub(crate) url: String,
    /// What else it is to be told, but for where it listens.
    secrets: &'static [(&'static str, &'static str)],
    endpoint: fn(u16) -> (&'static str, String),
}

/// The account of Azurite, and its key, which everybody knows.
const ACCOUNT: &str = "devstoreaccount1";
const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Makes a container, signed by the account's key.
const MAKE_CONTAINER: &str = r#"
const [port, account, key, container] = process.argv.slice(1);
const date = new Date().toUTCString();
const headers = `x-ms-date:${date}\nx-ms-version:2021-08-06\n`;
const signed = `PUT${"\n".repeat(12)}${headers}/${account}/${account}/${container}\nrestype:container`;
const hmac = require("crypto").createHmac("sha256", Buffer.from(key, "base64")).update(signed).digest("base64");
require("http").request(`http://127.0.0.1:${port}/${account}/${container}?restype=container`, {
  method: "PUT",
  headers: { "x-ms-date": date, "x-ms-version": "2021-08-06", authorization: `SharedKey ${account}:${hmac}` },
}, (answer) => process.exit(answer.statusCode === 201 ? 0 : 1)).end();
"#;

impl Drop for ObjectServer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended already.
            let _ended = child.kill();
            let _reaped = child.wait();
        }
    }
}

impl ObjectServer {
    /// S3, of moto.
    pub(crate) fn s3() -> Self {
        let port = free_port();
        let mut command = program("moto_server");
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        let server = Self::start(
            command,
            Self {
                child: None,
                port,
                url: format!("s3://{BUCKET}/lakes/main"),
                secrets: &[
                    ("AWS_ACCESS_KEY_ID", "key"),
                    ("AWS_SECRET_ACCESS_KEY", "hidden"),
                ],
                endpoint: |port| {
                    (
                        "CAIRN_LAKE__STORAGE__AWS_ENDPOINT",
                        format!("http://127.0.0.1:{port}"),
                    )
                },
            },
        );
        let address = format!("127.0.0.1:{port}");
        let no_body = [("content-length", "0")];
        let made = request(&address, "PUT", &format!("/{BUCKET}"), &no_body);
        assert_eq!(made.status, 200, "the bucket was not made");
        server
    }

    /// Azure, of Azurite.
    pub(crate) fn azure() -> Self {
        let port = free_port();
        let main =
            repository().join("target/tools/azurite/node_modules/azurite/dist/src/blob/main.js");
        assert!(
            main.is_file(),
            "{} is missing: run ops/setup.sh --lake",
            main.display()
        );
        let mut command = Command::new("node");
        command
            .arg(main)
            .args(["--inMemoryPersistence", "--silent", "--skipApiVersionCheck"]);
        command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()]);
        let server = Self::start(
            command,
            Self {
                child: None,
                port,
                url: format!("az://{BUCKET}/lakes/main"),
                secrets: &[
                    ("CAIRN_LAKE__STORAGE__AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT),
                    ("AZURE_STORAGE_ACCOUNT_KEY", ACCOUNT_KEY),
                ],
                endpoint: |port| {
                    (
                        "CAIRN_LAKE__STORAGE__AZURE_STORAGE_ENDPOINT",
                        format!("http://127.0.0.1:{port}/{ACCOUNT}"),
                    )
                },
            },
        );
        let mut make = Command::new("node");
        make.args([
            "-e",
            MAKE_CONTAINER,
            &port.to_string(),
            ACCOUNT,
            ACCOUNT_KEY,
            BUCKET,
        ]);
        assert!(
            make.status().expect("node runs").success(),
            "the container was not made"
        );
        server
    }

    fn start(mut command: Command, mut server: Self) -> Self {
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        server.child = Some(child.unwrap_or_else(|error| panic!("{command:?}: {error}")));
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", server.port)).is_err() {
            assert!(started.elapsed() < PATIENCE, "{command:?} does not listen");
            thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// What a server needs to know to keep its lake here, by a port that leads here.
    pub(crate) fn settings(&self, port: u16) -> Vec<(&'static str, String)> {
        let secrets = self
            .secrets
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        let own = [
            ("CAIRN_LAKE__URL", self.url.clone()),
            ("CAIRN_LAKE__STORAGE__ALLOW_HTTP", "true".into()),
            (self.endpoint)(port),
        ];
        own.into_iter().chain(secrets).collect()
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
