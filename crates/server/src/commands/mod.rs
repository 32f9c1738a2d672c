//! The commands, one a file.

pub(crate) mod config;
pub(crate) mod copy;
pub(crate) mod dead_letter;
pub(crate) mod demo;
pub(crate) mod export;
pub(crate) mod ingest;
pub(crate) mod lake;
pub(crate) mod log;
pub(crate) mod partner;
pub(crate) mod replay;
pub(crate) mod schemas;
pub(crate) mod serve;
pub(crate) mod sql;
pub(crate) mod verify;

use serde_json::Value;

use crate::{
    cli::{Cli, Command, Common},
    config::Config,
    exit::{Exit, Failure},
    logging,
    operations::{Inputs, Request},
    render::render,
    transport,
};

/// Does what the command line says.
pub(crate) async fn run(cli: Cli) -> anyhow::Result<Exit> {
    let common = cli.common;
    check_shard(&common, &cli.command)?;
    match cli.command {
        Command::Demo(args) => demo::demo(&common, args).await,
        Command::Serve(args) => serve::serve(&common, args).await,
        Command::Ingest(args) => ingest::ingest(&common, args).await,
        Command::Log(command) => log::run(&common, command).await,
        Command::Lake(command) => lake::run(&common, command).await,
        Command::Export(args) => export::export(&common, args).await,
        Command::Sql(args) => sql::sql(&common, args).await,
        Command::Replay(args) => replay::replay(&common, args).await,
        Command::Verify(args) => verify::verify(&common, args).await,
        Command::DeadLetter(command) => dead_letter::run(&common, command).await,
        Command::Partner(command) => partner::run(&common, command).await,
        Command::Config(command) => config::run(&common, &command),
        Command::Schemas(args) => schemas::schemas(&args),
    }
}

/// Refuses `--shard` where it would say nothing: these commands are about all shards, or about none.
fn check_shard(common: &Common, command: &Command) -> anyhow::Result<()> {
    let about_all = match command {
        Command::Demo(_)
        | Command::Serve(_)
        | Command::Export(_)
        | Command::Sql(_)
        | Command::Partner(_)
        | Command::Config(_)
        | Command::Schemas(_) => true,
        Command::Ingest(_)
        | Command::Log(_)
        | Command::Lake(_)
        | Command::Replay(_)
        | Command::Verify(_)
        | Command::DeadLetter(_) => false,
    };
    if about_all && common.shard().is_some() {
        let message =
            "--shard is for ingest, log, lake cut, replay, verify and dead-letter: leave it out";
        return Err(Failure::new(Exit::Usage, message).into());
    }
    Ok(())
}

/// Does an operation on the data directory, in the server that has it or here, and shows how far it is.
async fn operate(common: &Common, request: Request, inputs: Inputs) -> anyhow::Result<Value> {
    let config = Config::load(&common.flags())?;
    logging::install(config.server.log_format, "warn");
    let operation = common.operation(request);
    render(transport::start(&config, operation, inputs).await?).await
}
