//! `cairn partner`.

use cairn_api::PartnerCommand as Change;
use cairn_domain::events::Tier;
use clap::Subcommand;
use serde_json::Value;

use super::operate;
use crate::{
    cli::Common,
    config::units::parse_duration,
    exit::{Exit, Failure},
    operations::{Inputs, Request},
    render::{print_line, print_table},
};

/// What `cairn partner` can do.
#[derive(Debug, Subcommand)]
pub(crate) enum PartnerCommand {
    /// Lists all partners
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Shows a partner: its tier, its keys, and what it says of itself where this node can read it
    Show {
        /// The partner
        id: String,
    },
    /// Gives a partner another tier
    SetTier {
        /// The partner
        id: String,
        /// basic, pro or enterprise
        tier: Tier,
    },
    /// Gives a partner a new key and secret, and prints them; they are not shown again
    Rotate {
        /// The partner
        id: String,
        /// How long the keys before hold
        #[arg(long, default_value = "24h", value_name = "TIME", value_parser = parse_duration)]
        grace: std::time::Duration,
    },
    /// Ends a key of a partner at once, or all of them
    Revoke {
        /// The partner
        id: String,
        /// The key, as `show` names it
        #[arg(long, value_name = "KEY_ID", required_unless_present = "all")]
        key: Option<String>,
        /// All of them
        #[arg(long, conflicts_with = "key")]
        all: bool,
    },
    /// Shuts a partner out until further notice
    Suspend {
        /// The partner
        id: String,
        /// Why, as the partner is told
        #[arg(long)]
        reason: String,
    },
    /// Lets a suspended partner in again
    Resume {
        /// The partner
        id: String,
    },
    /// Ends a partner for good and makes what it said of itself unreadable, in the log, too
    Erase {
        /// The partner
        id: String,
        /// It cannot be taken back: say that it is meant
        #[arg(long)]
        yes: bool,
    },
}

/// `cairn partner`.
pub(crate) async fn run(common: &Common, command: PartnerCommand) -> anyhow::Result<Exit> {
    let change = match command {
        PartnerCommand::List { json } => {
            let partners = operate(common, Request::PartnerList, Inputs::default()).await?;
            return list(&partners, json);
        }
        PartnerCommand::Show { id } => {
            let request = Request::PartnerShow { id };
            let partner = operate(common, request, Inputs::default()).await?;
            print_line(&serde_json::to_string_pretty(&partner)?)?;
            return Ok(Exit::Ok);
        }
        PartnerCommand::SetTier { id, tier } => Change::SetTier { id, tier },
        PartnerCommand::Rotate { id, grace } => Change::Rotate {
            id,
            grace: u64::try_from(grace.as_millis()).unwrap_or(u64::MAX),
        },
        PartnerCommand::Revoke { id, key, all: _ } => Change::Revoke { id, key },
        PartnerCommand::Suspend { id, reason } => Change::Suspend { id, reason },
        PartnerCommand::Resume { id } => Change::Resume { id },
        PartnerCommand::Erase { id, yes: true } => Change::Erase { id },
        PartnerCommand::Erase { id, yes: false } => {
            let message = format!("nothing brings {id} back: repeat it with --yes if it is meant");
            return Err(Failure::new(Exit::Usage, message).into());
        }
    };
    let done = operate(common, Request::Partner(change), Inputs::default()).await?;
    match &done["key"] {
        Value::Null => print_line("done")?,
        key => print_line(&serde_json::to_string_pretty(key)?)?,
    }
    Ok(Exit::Ok)
}

fn list(partners: &Value, json: bool) -> anyhow::Result<Exit> {
    if json {
        print_line(&partners.to_string())?;
        return Ok(Exit::Ok);
    }
    let partners = partners.as_array().map_or(&[][..], Vec::as_slice);
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".into(),
        other => other.to_string(),
    };
    let row = |partner: &Value| {
        let cells = ["id", "status", "tier", "integration_type", "created_at"];
        let mut cells = cells.map(|name| text(&partner[name])).to_vec();
        cells.push(text(&partner["profile"]["name"]));
        cells
    };
    let rows: Vec<_> = partners.iter().map(row).collect();
    print_table(&["id", "status", "tier", "type", "since", "name"], &rows)?;
    Ok(Exit::Ok)
}
