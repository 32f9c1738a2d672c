//! `cairn replay`.

use anyhow::Context as _;
use cairn_domain::projections::ALL;
use cairn_engine::runner::Rebuilt;
use clap::{Args, builder::PossibleValuesParser};

use super::operate;
use crate::{
    cli::Common,
    exit::Exit,
    operations::{Inputs, Request},
    render::print_line,
};

/// What `cairn replay` takes.
#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    /// Only this projection; may be given several times. All if left out
    #[arg(long = "projection", value_name = "NAME", value_parser = projection_names())]
    projections: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn projection_names() -> PossibleValuesParser {
    ALL.iter()
        .map(|projection| projection.name())
        .collect::<Vec<_>>()
        .into()
}

/// `cairn replay`.
pub(crate) async fn replay(common: &Common, args: ReplayArgs) -> anyhow::Result<Exit> {
    let request = Request::Replay {
        projections: args.projections,
    };
    let result = operate(common, request, Inputs::default()).await?;
    if args.json {
        print_line(&result.to_string())?;
        return Ok(Exit::Ok);
    }
    let rebuilt: Rebuilt =
        serde_json::from_value(result).context("the server speaks another version")?;
    let names = rebuilt.projections.join(", ");
    print_line(&format!(
        "folded {names} anew up to position {}",
        rebuilt.position
    ))?;
    Ok(Exit::Ok)
}
