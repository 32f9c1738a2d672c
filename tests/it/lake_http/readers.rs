//! What other people's programs read: Parquet files in place, and SQL over Flight.

use serde_json::Value;

use super::{SAMPLE_TRANSACTIONS, SETTINGS, sql};
use crate::support::process::{DataDir, SAMPLE_BLOCKS, Server, lake_python, run};

/// A server that also listens for Flight, and where.
fn serve_flight(data: &DataDir) -> (Server, String) {
    let mut command = data.command("serve --listen 127.0.0.1:0");
    command
        .envs(SETTINGS)
        .env("CAIRN_FLIGHT__LISTEN", "127.0.0.1:0");
    let server = Server::start(&mut command);
    let log = server.log();
    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut heard = lines.filter(|line| line["fields"]["message"] == "listening for Flight");
    let heard = heard.next().expect("the server listens for Flight");
    let address = heard["fields"]["address"].as_str().expect("an address");
    (server, format!("grpc://{address}"))
}

#[test]
fn pyarrow_duckdb_polars_and_a_flight_client_agree_on_every_sum() {
    let data = DataDir::with_samples();
    let (server, url) = serve_flight(&data);
    server.wait_until("/api/v1/datasets/blocks", |dataset| {
        dataset["rows"] == SAMPLE_BLOCKS
    });
    let mut command = lake_python("lake_readers.py");
    let agreed = run(command.arg(data.path().join("lake")).arg(&url))
        .ok()
        .json();
    assert_eq!(agreed["blocks"]["rows"], SAMPLE_BLOCKS, "{agreed}");
    assert_eq!(
        agreed["transactions"]["rows"], SAMPLE_TRANSACTIONS,
        "{agreed}"
    );
    let fees = &sql(&server, "SELECT sum(fee) AS fees FROM transactions")[0]["fees"];
    assert_eq!(agreed["transactions"]["fee"], *fees);
    let tables = agreed["tables"].as_array().expect("tables");
    for name in [
        "blocks",
        "transactions",
        "logs",
        "token_transfers",
        "reverts",
        "tokens",
    ] {
        assert!(tables.contains(&name.into()), "{name} is not in {tables:?}");
    }
}
