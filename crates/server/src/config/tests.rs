use super::*;

fn read(file: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
    let variables = environment
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Config::read(
        Some((Path::new("cairn.toml"), file)),
        variables,
        &Flags::default(),
    )
}

fn problems(file: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let error = read(file, environment).expect_err("it has problems");
    error.problems().iter().map(Problem::to_string).collect()
}

#[test]
fn the_embedded_defaults_are_a_whole_configuration() {
    let config = Config::read(None, [], &Flags::default()).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.data.cache_bytes, 128 << 20);
    assert_eq!(config.data.history, None);
    assert_eq!(config.sources, []);
    assert!(config.limits.enabled);
    assert!(!config.api.open_access);
}

#[test]
fn the_documented_sources_are_valid_and_hold_their_defaults() {
    let commented = DEFAULT
        .lines()
        .skip_while(|line| !line.starts_with("# [[source]]"));
    let file: Vec<_> = commented
        .map(|line| line.trim_start_matches("# "))
        .collect();
    let documented = read(&file.join("\n").replace("\n#", "\n"), &[]).unwrap();
    let minimal = "[[source]]\nname='mainnet'\nkind='evm-rpc'\nurl='http://127.0.0.1:8545'\nws='ws://127.0.0.1:8545'
        [[source]]\nname='archive'\nkind='file'\npath='blocks.jsonl.zst'\nreceipts_path='receipts.jsonl.zst'";
    assert_eq!(documented.sources, read(minimal, &[]).unwrap().sources);
}

/// A file with a mistake of every kind.
const BAD: &str = r#"
[server]
listen = "somewhere"
public_url = "example.org"
shutdown_grace = 10
log_format = "xml"
lisen = "127.0.0.1:1"
[data]
dir = ""
history = "forever"
cache = "128MB"
write_buffer = "1B"
[api]
default_chain = "a\nb"
open_access = "maybe"
dialects = ["partner", "latin"]
[limits]
enabled = 1
[[source]]
name = "Main Net"
kind = "evm-rpc"
ws = "http://x"
start = -1
finality_depth = 0
receipts = "yes"
poll_interval = "1ms"
on_deep_reorg = "ignore"
[[source]]
kind = "carrier-pigeon"
[[source]]
name = "files"
kind = "file"
url = "http://x"
[colours]
sky = 1.5
"#;

/// Where each mistake is, and the way out of it.
const MISTAKES: &[(&str, &str)] = &[
    ("cairn.toml:3: server.listen", "such as \"127.0.0.1:8080\""),
    ("cairn.toml:4: server.public_url", "http://"),
    ("cairn.toml:5: server.shutdown_grace", "put it in quotes"),
    (
        "cairn.toml:6: server.log_format",
        "\"auto\", \"text\", \"json\"",
    ),
    ("cairn.toml:7: server.lisen", "did you mean `server.listen`"),
    ("cairn.toml:9: data.dir", "name a directory"),
    ("cairn.toml:10: data.history", "\"30d\""),
    ("cairn.toml:11: data.cache", "\"128MiB\""),
    ("cairn.toml:12: data.write_buffer", "at least 1.0 MiB"),
    ("cairn.toml:14: api.default_chain", "name of a chain"),
    ("cairn.toml:15: api.open_access", "neither true nor false"),
    (
        "cairn.toml:16: api.dialects",
        "`latin` is not one of \"partner\"",
    ),
    ("cairn.toml:18: limits.enabled", "write true or false"),
    ("cairn.toml:20: source.0.name", "such as \"mainnet\""),
    ("source.0.url", "it is missing: write url = "),
    ("cairn.toml:22: source.0.ws", "ws://"),
    ("cairn.toml:23: source.0.start", "at least 0"),
    ("cairn.toml:24: source.0.finality_depth", "at least 1"),
    ("cairn.toml:25: source.0.receipts", "true nor false"),
    ("cairn.toml:26: source.0.poll_interval", "10ms"),
    (
        "cairn.toml:27: source.0.on_deep_reorg",
        "\"halt\", \"reset\"",
    ),
    ("source.1.name", "name the chain"),
    ("cairn.toml:29: source.1.kind", "\"evm-rpc\", \"file\""),
    ("source.2.path", "it is missing: write path = "),
    ("cairn.toml:33: source.2.url", "there is no such key"),
    ("cairn.toml:35: colours.sky", "`cairn config default`"),
    (
        "environment variable CAIRN_LIMITS__ENABLE: limits.enable",
        "did you mean `limits.enabled`",
    ),
    (
        "environment variable CAIRN_SERVER_LISTEN",
        "CAIRN_SERVER__LISTEN",
    ),
];

#[test]
fn every_kind_of_bad_value_is_reported_at_once_with_file_key_and_way_out() {
    let found = problems(
        BAD,
        &[
            ("CAIRN_LIMITS__ENABLE", "true"),
            ("CAIRN_SERVER_LISTEN", "x"),
        ],
    );
    for (place, way_out) in MISTAKES {
        let fits = |problem: &&String| problem.contains(place) && problem.contains(way_out);
        assert!(
            found.iter().any(|p| fits(&p)),
            "{place} … {way_out} is not in {found:#?}"
        );
    }
    assert_eq!(found.len(), MISTAKES.len(), "{found:#?}");
}

#[test]
fn the_environment_beats_the_file_and_flags_beat_both() {
    let file = "[server]\nlisten = \"127.0.0.1:1\"\n[data]\ndir = \"a\"\n[api]\ndialects = []\n";
    let variables = [
        ("CAIRN_SERVER__LISTEN", "127.0.0.1:2"),
        ("CAIRN_DATA__DIR", "b"),
        ("CAIRN_LIMITS__ENABLED", "false"),
        ("CAIRN_API__DIALECTS", "partner"),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let flags = Flags {
        data_dir: Some("c".into()),
        ..Flags::default()
    };
    let config = Config::read(Some((Path::new("c.toml"), file)), variables, &flags).unwrap();
    assert_eq!(config.server.listen.port(), 2);
    assert_eq!(config.data.dir, Path::new("c"));
    assert!(!config.limits.enabled);
    assert_eq!(config.api.dialects, ["partner"]);
}

#[test]
fn a_source_can_come_from_the_environment_alone() {
    let variables = [
        ("CAIRN_SOURCE__0__NAME", "eth"),
        ("CAIRN_SOURCE__0__KIND", "evm-rpc"),
        ("CAIRN_SOURCE__0__URL", "http://me:hunter2@node/KEY"),
        ("CAIRN_SOURCE__0__START", "17"),
    ];
    let config = read("", &variables).unwrap();
    assert_eq!(config.sources[0].name, "eth");
    assert!(matches!(&config.sources[0].kind, SourceKind::EvmRpc(rpc) if rpc.start == 17));
    let shown = format!("{config:?}");
    assert!(
        !shown.contains("hunter2") && !shown.contains("KEY"),
        "{shown}"
    );
}

#[test]
fn two_sources_cannot_share_a_name() {
    let source = "[[source]]\nname='a'\nkind='file'\npath='x'\n";
    let found = problems(&source.repeat(2), &[]);
    assert_eq!(found.len(), 1);
    assert!(
        found[0].contains("cairn.toml:6: source.1.name") && found[0].contains("its own name"),
        "{found:?}"
    );
}

#[test]
fn sections_written_as_values_and_single_brackets_are_explained() {
    let found = problems("server = 3\n[source]\nname = 'x'\n", &[]).join("\n");
    assert!(found.contains("write [server]"), "{found}");
    assert!(found.contains("[[source]] with two brackets"), "{found}");
}

#[test]
fn what_is_not_toml_names_its_line_and_hides_no_other_problem() {
    let found = problems("[server]\nlisten = \n[data]\ncache = 'x'\n", &[]).join("\n");
    assert!(found.contains("cairn.toml:2: this is not TOML"), "{found}");
    assert!(found.contains("data.cache"), "{found}");
}

#[test]
fn what_is_wrong_with_roles_shards_and_kafka_is_said_with_the_way_out() {
    let file = r#"
[server]
roles = ["query", "deliver"]
advertise = "node-1:8080"
operator_key = "short"
[log]
kind = "parchment"
shards = ["main", "Main"]
[kafka]
brokers = ""
topic = "a topic"
replication = 1000
memory = "1B"
ignored_offsets = ["17"]
[kafka.properties]
"acks" = 1
"sasl.password" = ["a"]
"sasl.pasword" = "hush-hush"
"linger.ms" = "soon"
"#;
    let expected = [
        (
            "cairn.toml:3: server.roles",
            "`deliver` is of a part that does not exist yet",
        ),
        ("cairn.toml:4: server.advertise", "http://"),
        ("cairn.toml:5: server.operator_key", "shorter than 16"),
        ("cairn.toml:7: log.kind", "\"embedded\", \"kafka\""),
        ("cairn.toml:8: log.shards", "`Main` cannot name a shard"),
        ("cairn.toml:10: kafka.brokers", "such as \"127.0.0.1:9092\""),
        ("cairn.toml:11: kafka.topic", "cannot name a topic"),
        ("cairn.toml:12: kafka.replication", "write 3"),
        ("cairn.toml:13: kafka.memory", "at least 1MiB"),
        ("cairn.toml:14: kafka.ignored_offsets", "\"0/1234\""),
        ("cairn.toml:16: kafka.properties.acks", "leave it out"),
        (
            "cairn.toml:17: kafka.properties.sasl.password",
            "strings, numbers and switches",
        ),
        (
            "kafka.properties.sasl.pasword",
            "No such configuration property",
        ),
        ("cairn.toml:19: kafka.properties.linger.ms", "Invalid value"),
    ];
    let found = problems(file, &[]);
    assert!(!found.join("\n").contains("hush"), "{found:#?}");
    for (place, way_out) in expected {
        let fits = |problem: &&String| problem.contains(place) && problem.contains(way_out);
        assert!(
            found.iter().any(|p| fits(&p)),
            "{place} … {way_out} is not in {found:#?}"
        );
    }
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    let alone = problems("[server]\nroles = [\"query\"]\n", &[]).join("\n");
    assert!(
        alone.contains("server.roles") && alone.contains("Kafka"),
        "{alone}"
    );
    let anywhere = "[server]\nlisten = \"0.0.0.0:80\"\n[log]\nkind = \"kafka\"\n";
    let anywhere = problems(anywhere, &[]).join("\n");
    assert!(anywhere.contains("server.advertise"), "{anywhere}");
    let roles = problems("[server]\nroles = []\n", &[]).join("\n");
    assert!(roles.contains("something to do"), "{roles}");
}

#[test]
fn kafka_is_set_by_file_and_environment_and_its_secrets_are_never_shown() {
    let file = "[log]\nkind = \"kafka\"\nshards = [\"main\", \"eth\"]\n[kafka]\nignored_offsets = [\"1/17\"]\n[kafka.properties]\n\"security.protocol\" = \"SASL_SSL\"\n\"socket.keepalive.enable\" = true\n[[source]]\nname = \"eth\"\nkind = \"file\"\npath = \"x\"\nshard = \"eth\"\n";
    let variables = [
        ("CAIRN_KAFKA__PROPERTIES__SASL__PASSWORD", "hush-hush"),
        ("CAIRN_SERVER__OPERATOR_KEY", "a-key-of-operators"),
        ("CAIRN_SERVER__ROLES", "query"),
    ];
    let config = read(file, &variables).unwrap();
    assert_eq!(config.log.kind, LogKind::Kafka);
    assert_eq!(config.log.kafka.group, "cairn-writers");
    assert_eq!(config.log.kafka.ignored.iter().next(), Some(&(1, 17)));
    let names: Vec<_> = config.log.kafka.properties.keys().collect();
    assert_eq!(
        names,
        [
            "sasl.password",
            "security.protocol",
            "socket.keepalive.enable"
        ]
    );
    assert_eq!(
        config.log.kafka.properties["sasl.password"].reveal(),
        "hush-hush"
    );
    assert_eq!(config.sources[0].shard, 1);
    assert!(config.server.roles.query && !config.server.roles.ingest);
    let shown = format!("{config:?}");
    assert!(
        !shown.contains("hush") && !shown.contains("of-operators"),
        "{shown}"
    );
    let missing = file.replace("shard = \"eth\"", "shard = \"btc\"");
    let found = problems(&missing, &[]).join("\n");
    assert!(
        found.contains("no shard `btc`") && found.contains("main, eth"),
        "{found}"
    );
}

#[test]
fn a_lake_in_a_bucket_is_checked_before_it_is_used_and_keeps_its_secrets() {
    let file = "[lake]\nurl = 's3://bucket/lake'\n[lake.storage]\nallow_http = true\naws_region = 'eu-west-1'";
    let secret = "CAIRN_LAKE__STORAGE__AWS_SECRET_ACCESS_KEY";
    let config = read(file, &[(secret, "hidden")]).unwrap();
    assert_eq!(
        format!("{:?}", config.lake.bucket),
        "Some(s3://bucket/lake)"
    );
    assert!(!format!("{config:?}").contains("hidden"));
    assert_eq!(
        problems("[lake]\nurl = 'bucket/lake'", &[])[0]
            .split(" is no address")
            .next(),
        Some("cairn.toml:2: lake.url: `bucket/lake`")
    );
    let unknown = problems(
        "[lake]\nurl = 'gs://bucket'\n[lake.storage]\naws_region = 'x'",
        &[],
    );
    assert!(
        unknown[0].starts_with("cairn.toml:4: lake.storage.aws_region: the object store knows no")
    );
    let nowhere = problems("[lake.storage]\nallow_http = true", &[]);
    assert!(nowhere[0].ends_with("it says how to reach lake.url, which is empty"));
}
