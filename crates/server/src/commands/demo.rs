//! `cairn demo`.

use std::{path::PathBuf, time::Duration};

use clap::Args;

use super::{ingest::sentence, serve::Signals};
use crate::{
    cli::Common,
    config::{Config, Flags},
    demo::{LIVE, LiveNode, Repository, SAMPLE, load_sample},
    exit::Exit,
    logging,
    server::{Port, Server},
};

/// Files appear soon.
const CUT_INTERVAL: Duration = Duration::from_secs(10);

/// What `cairn demo` takes.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Where the HTTP API listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: String,
    /// Serve the sample alone, without a node
    #[arg(long)]
    no_node: bool,
}

/// `cairn demo`.
pub(crate) async fn demo(common: &Common, args: DemoArgs) -> anyhow::Result<Exit> {
    let repository = Repository::find()?;
    let mut config = load_config(common, &args, repository.path("target/demo-data"))?;
    logging::install(config.server.log_format, "warn");
    let port = Port::bind(config.server.listen).await?;
    println!("the data is in {}", config.data.dir.display());
    if let Some(loaded) = load_sample(&repository, &config).await? {
        println!("{}", sentence(&loaded));
    }
    let live = start_node(&repository, &config, args.no_node).await?;
    if let Some(live) = &live {
        config.sources.push(live.source()?);
    }
    let chain = if live.is_some() { LIVE } else { SAMPLE };
    config.api.default_chain = Some(chain.into());
    // Who can reach it may see all of it: it is a demonstration, on this machine alone.
    config.api.open_access |= config.server.listen.ip().is_loopback();
    config.lake.cut_interval = Some(CUT_INTERVAL);
    let address = port.address;
    let mut signals = Signals::install()?;
    let server = Server::start(&config, port).await;
    let served = match server {
        Ok(server) => {
            println!("{}", invitation(&format!("http://{address}"), chain));
            signals.next().await;
            println!("stopping");
            server.stop(config.server.shutdown_grace).await
        }
        Err(error) => Err(error),
    };
    if let Some(live) = live {
        live.stop().await;
    }
    served.map(|()| Exit::Ok)
}

fn load_config(common: &Common, args: &DemoArgs, default_dir: PathBuf) -> anyhow::Result<Config> {
    let data_dir = common.data_dir().cloned().unwrap_or(default_dir);
    let flags = Flags {
        data_dir: Some(data_dir),
        listen: Some(args.listen.clone()),
        ..common.flags()
    };
    Ok(Config::load(&flags)?)
}

async fn start_node(
    repository: &Repository,
    config: &Config,
    no_node: bool,
) -> anyhow::Result<Option<LiveNode>> {
    if no_node {
        return Ok(None);
    }
    match LiveNode::programs(repository) {
        Ok(programs) => {
            println!("starting a node with a block a second and traffic on it");
            LiveNode::start(repository, &programs, &config.data.dir)
                .await
                .map(Some)
        }
        Err(missing) => {
            println!("no live node: {missing}. The sample is served alone.");
            Ok(None)
        }
    }
}

/// What to try.
fn invitation(url: &str, chain: &str) -> String {
    let api = format!("{url}/api/v1/explorer");
    let live = match chain {
        LIVE => format!(
            "The node's chain is `{LIVE}`, the recorded one `{SAMPLE}` (?chain={SAMPLE}).\n"
        ),
        _ => String::new(),
    };
    format!(
        "\nCairn answers on {url}. {live}Try:\n\
         \n  curl -s '{api}/blocks?limit=3'\
         \n  curl -s '{api}/blocks/1'\
         \n  curl -s '{api}/transactions?limit=3'\
         \n  curl -s '{api}/blocks?limit=3&chain={SAMPLE}'\
         \n  curl -s '{api}/addresses/0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266?transactions=true'\
         \n  curl -s '{api}/addresses/0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266/tokens'\
         \n  curl -s '{url}/api/v1/analytics/network/stats'\
         \n  curl -s '{url}/api/v1/analytics/historical?metric=transaction_count&period=1h&chain={SAMPLE}'\
         \n  curl -s {url}/api/v1/sql -H 'content-type: text/plain' -H 'accept: text/csv' -d \"SELECT chain, count(*) AS blocks FROM blocks GROUP BY 1\"\
         \n  curl -s '{url}/api/v1/datasets/transactions/files'\
         \n  curl -s '{url}/health/ready'\n\
         \nThe API's documentation: {url}/api/v1/docs. Ctrl-C stops.\n"
    )
}
