//! The sections but `[[source]]`: what they hold and what is valid.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use axum::http::HeaderName;
use cairn_api::Proxies;
use cairn_domain::Stream;
use ipnet::IpNet;

use super::{
    Config,
    endpoint::Endpoint,
    iceberg::read_iceberg,
    lake::read_lake,
    layers::{Origin, Value},
    log::{LogKind, read_log},
    partners::{read_limits, read_partners, read_streams},
    reader::{Reader, list, number, one_of, parsed, switch, words},
    secret::Secret,
    source::read_sources,
    sql::read_sql,
    units::{parse_duration, parse_size, show_size},
};
use crate::http::HttpLimits;

/// `[server]`.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    /// Where the HTTP API listens.
    pub(crate) listen: SocketAddr,
    /// How clients reach it, if that differs.
    pub(crate) public_url: Option<String>,
    /// What this process does.
    pub(crate) roles: Roles,
    /// How other nodes of the deployment reach it, if that differs from where it listens.
    pub(crate) advertise: Option<String>,
    /// The key of operators and of other nodes; empty: made at the first start.
    pub(crate) operator_key: Secret,
    /// Whose word on clients' addresses is taken.
    pub(crate) proxies: Proxies,
    /// How long running requests may take at the end.
    pub(crate) shutdown_grace: Duration,
    /// What clients may take of it.
    pub(crate) http: HttpLimits,
    /// The form of the log on stderr.
    pub(crate) log_format: LogFormat,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Roles {
    /// Follows sources and appends, or stands by to do so.
    pub(crate) ingest: bool,
    /// Serves reads.
    pub(crate) query: bool,
    /// Keeps final rows as Parquet files, and serves them and SQL.
    pub(crate) lake: bool,
}

/// The form of the log on stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    /// Lines for people.
    Text,
    /// A JSON object a line.
    Json,
}

/// `[data]`.
#[derive(Debug, Clone)]
pub(crate) struct Data {
    /// Where everything lives.
    pub(crate) dir: PathBuf,
    /// How far back reads may go; none means all the way.
    pub(crate) history: Option<Duration>,
    /// Memory for blocks of files, in bytes.
    pub(crate) cache_bytes: usize,
    /// Memory for rows that are not in files yet, in bytes.
    pub(crate) write_buffer_bytes: usize,
    /// Memory that a rebuild or a verification may take besides, in bytes.
    pub(crate) rebuild_bytes: usize,
}

/// `[api]`.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    /// The chain of requests that name none.
    pub(crate) default_chain: Option<String>,
    /// Whether everybody may do what otherwise needs a key.
    pub(crate) open_access: bool,
    /// Memory for final transactions that are ready as JSON, in bytes.
    pub(crate) cache_bytes: usize,
    /// The dialects that are served.
    pub(crate) dialects: Vec<&'static str>,
}

/// Every section is read before any is given up, so that all problems come out at once.
pub(super) fn read_config(reader: &mut Reader<'_>) -> Option<Config> {
    let server = read_server(reader);
    let data = read_data(reader);
    let log = read_log(reader);
    let dir = data.as_ref().map(|data| data.dir.as_path());
    let lake = read_lake(reader, dir);
    let iceberg = read_iceberg(reader, lake.as_ref().map(|lake| lake.dir.as_path()));
    let sql = read_sql(reader, dir);
    let flight_listen = reader.take("flight.listen", parsed(optional_address));
    let api = read_api(reader);
    let limits = read_limits(reader);
    let streams = read_streams(reader);
    let partners = read_partners(reader);
    let shards = log.as_ref().map(|log| log.shards.clone());
    let sources = read_sources(reader, &shards.unwrap_or_default());
    if let (Some(server), Some(log)) = (&server, &log) {
        check_together(reader, server, log.kind);
    }
    Some(Config {
        server: server?,
        data: data?,
        log: log?,
        lake: lake?,
        iceberg: iceberg?,
        sql: sql?,
        flight_listen: flight_listen?,
        api: api?,
        limits: limits?,
        streams: streams?,
        partners: partners?,
        sources: sources?,
    })
}

/// What each is right alone and wrong together.
fn check_together(reader: &mut Reader<'_>, server: &Server, log: LogKind) {
    let everywhere = server.listen.ip().is_unspecified() && server.advertise.is_none();
    let (key, reason) = match log {
        LogKind::Embedded if !server.roles.ingest => (
            "server.roles",
            "an embedded log has one process, which must write it: add `ingest`, or share the log in Kafka with [log] kind",
        ),
        LogKind::Kafka if server.roles.ingest && everywhere => (
            "server.advertise",
            "it listens everywhere, and other nodes must know one address of it: write a URL such as \"http://node-1:8080\"",
        ),
        LogKind::Embedded | LogKind::Kafka => return,
    };
    reader.complain(Origin::Default, key, reason.into());
}

fn read_server(reader: &mut Reader<'_>) -> Option<Server> {
    let listen = reader.take("server.listen", parsed(socket_address));
    let public_url = reader.take("server.public_url", parsed(public_url));
    let roles = reader.take("server.roles", roles);
    let advertise = reader.take("server.advertise", parsed(peer_url));
    let operator_key = reader.take("server.operator_key", parsed(operator_key));
    let trusted = reader.take("server.trusted_proxies", networks);
    let header = reader.take("server.forwarded_header", parsed(header_name));
    let shutdown_grace = reader.take("server.shutdown_grace", parsed(parse_duration));
    let header_timeout = reader.take("server.header_timeout", parsed(some_time));
    let write_timeout = reader.take("server.write_timeout", parsed(some_time));
    let max_connections = reader.take("server.max_connections", max_connections);
    let formats = [
        ("auto", LogFormat::Auto),
        ("text", LogFormat::Text),
        ("json", LogFormat::Json),
    ];
    let log_format = reader.take("server.log_format", one_of(&formats));
    Some(Server {
        listen: listen?,
        public_url: public_url?,
        roles: roles?,
        advertise: advertise?,
        operator_key: operator_key?,
        proxies: Proxies {
            trusted: trusted?,
            header: header?,
        },
        shutdown_grace: shutdown_grace?,
        http: HttpLimits {
            header_timeout: header_timeout?,
            write_timeout: write_timeout?,
            max_connections: max_connections?,
        },
        log_format: log_format?,
    })
}

fn socket_address(text: &str) -> Result<SocketAddr, String> {
    let numeric = text.replacen("localhost", "127.0.0.1", 1);
    let way_out = "write an IP address and a port, such as \"127.0.0.1:8080\" or \"[::]:8080\"";
    numeric
        .parse()
        .map_err(|_| format!("`{text}` is nothing to listen on: {way_out}"))
}

fn optional_address(text: &str) -> Result<Option<SocketAddr>, String> {
    (!text.is_empty()).then(|| socket_address(text)).transpose()
}

fn public_url(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let checked = Endpoint::parse(text, &["http://", "https://"])?;
    Ok(Some(checked.reveal().trim_end_matches('/').to_owned()))
}

fn roles(value: &Value) -> Result<Roles, String> {
    let names = words(&["ingest", "query", "lake", "deliver"])(value)?;
    if names.contains(&"deliver") {
        return Err(
            "the role `deliver` is of a part that does not exist yet: this version has `ingest`, `query` and `lake`".into(),
        );
    }
    match names.as_slice() {
        [] => {
            Err("a process needs something to do: write [\"ingest\", \"query\", \"lake\"]".into())
        }
        names => Ok(Roles {
            ingest: names.contains(&"ingest"),
            query: names.contains(&"query"),
            lake: names.contains(&"lake"),
        }),
    }
}

fn peer_url(text: &str) -> Result<Option<String>, String> {
    if text.is_empty() {
        return Ok(None);
    }
    let checked = Endpoint::parse(text, &["http://"])?;
    Ok(Some(checked.reveal().trim_end_matches('/').to_owned()))
}

/// Keys are compared as they are, so what a header cannot carry is no key.
fn operator_key(text: &str) -> Result<Secret, String> {
    match text {
        "" => Ok(Secret::default()),
        short if short.len() < 16 => {
            Err("it is shorter than 16 characters: anybody could guess it".into())
        }
        key if key.bytes().all(|byte| byte.is_ascii_graphic()) => Ok(Secret::new(key)),
        _ => Err("it may hold letters, digits and signs of ASCII, and no spaces".into()),
    }
}

fn networks(value: &Value) -> Result<Vec<IpNet>, String> {
    let network = |text: String| {
        let alone = || text.parse::<IpAddr>().map(IpNet::from);
        text.parse().or_else(|_| alone()).map_err(|_| {
            format!("`{text}` is no network: write one such as \"10.0.0.0/8\" or \"::1\"")
        })
    };
    list(value)?.into_iter().map(network).collect()
}

fn header_name(text: &str) -> Result<HeaderName, String> {
    text.to_ascii_lowercase().parse().map_err(|_| {
        format!("`{text}` is no name of a header: write one such as \"x-forwarded-for\"")
    })
}

pub(super) fn some_time(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => {
            Err("nothing can be sent in no time: write a time such as \"30s\"".into())
        }
        time => Ok(time),
    }
}

fn max_connections(value: &Value) -> Result<usize, String> {
    const MOST: u64 = 1_000_000;
    match number(1)(value)? {
        most @ ..=MOST => Ok(most as usize),
        more => Err(format!("`{more}` is more than the most, {MOST}")),
    }
}

fn read_data(reader: &mut Reader<'_>) -> Option<Data> {
    let dir = reader.take("data.dir", parsed(directory));
    let history = reader.take("data.history", parsed(history));
    let cache = reader.take("data.cache", parsed(|text| memory(text, 1 << 20)));
    let rebuild = reader.take("data.rebuild_memory", parsed(|text| memory(text, 1 << 20)));
    let write_buffer = reader.take("data.write_buffer", parsed(|text| memory(text, 1 << 20)));
    Some(Data {
        dir: dir?,
        history: history?,
        cache_bytes: cache?,
        write_buffer_bytes: write_buffer?,
        rebuild_bytes: rebuild?,
    })
}

fn directory(text: &str) -> Result<PathBuf, String> {
    match text {
        "" => Err("it is empty: name a directory, such as \"./data\"".into()),
        path => Ok(path.into()),
    }
}

fn history(text: &str) -> Result<Option<Duration>, String> {
    match text {
        "all" => Ok(None),
        span => match parse_duration(span) {
            Ok(span) if !span.is_zero() => Ok(Some(span)),
            _ => Err(format!(
                "`{span}` is neither \"all\" nor a span such as \"30d\""
            )),
        },
    }
}

pub(super) fn memory(text: &str, least: u64) -> Result<usize, String> {
    let bytes = parse_size(text)?;
    match usize::try_from(bytes) {
        Ok(fits) if bytes >= least => Ok(fits),
        _ => Err(format!(
            "`{text}` is too little or too much memory: at least {}",
            show_size(least)
        )),
    }
}

fn read_api(reader: &mut Reader<'_>) -> Option<Api> {
    let default_chain = reader.take("api.default_chain", parsed(default_chain));
    let open_access = reader.take("api.open_access", switch);
    let cache = reader.take("api.cache", parsed(|text| memory(text, 0)));
    let dialects = reader.take("api.dialects", words(&["partner"]));
    Some(Api {
        default_chain: default_chain?,
        open_access: open_access?,
        cache_bytes: cache?,
        dialects: dialects?,
    })
}

fn default_chain(text: &str) -> Result<Option<String>, String> {
    match text {
        "" => Ok(None),
        name => match Stream::chain(name) {
            Ok(_) => Ok(Some(name.to_owned())),
            Err(_) => Err(format!(
                "`{name}` cannot be the name of a chain: write that of a source"
            )),
        },
    }
}
