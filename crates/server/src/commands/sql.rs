//! `cairn sql`.

use std::io::{self, IsTerminal as _, Write as _};

use clap::{Args, ValueEnum};
use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use serde_json::{Map, Value};

use crate::{
    cli::Common,
    config::Config,
    exit::{Exit, Failure},
    logging,
    operations::{Inputs, Message, Request},
    transport,
};

/// Rows of a table, if nothing else is asked for.
const TABLE_ROWS: usize = 1000;

/// What `cairn sql` takes.
#[derive(Debug, Args)]
pub(crate) struct SqlArgs {
    /// One statement that reads, such as "SELECT count(*) FROM blocks"
    sql: String,
    /// How the answer is shown: a table on a terminal, else CSV
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Cut the answer behind so many rows; a table is cut behind 1000 unless said otherwise
    #[arg(long, value_name = "ROWS")]
    limit: Option<usize>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Columns side by side
    Table,
    /// One JSON object
    Json,
    /// A JSON object a row
    Ndjson,
    /// Comma-separated values
    Csv,
}

impl Format {
    /// The form in which the answer is asked for.
    fn wire(self) -> &'static str {
        match self {
            Self::Table | Self::Ndjson => "ndjson",
            Self::Json => "json",
            Self::Csv => "csv",
        }
    }
}

/// `cairn sql`.
pub(crate) async fn sql(common: &Common, args: SqlArgs) -> anyhow::Result<Exit> {
    let config = Config::load(&common.flags())?;
    logging::install(config.server.log_format, "warn");
    let format = args.format.unwrap_or(match io::stdout().is_terminal() {
        true => Format::Table,
        false => Format::Csv,
    });
    let limit = match format {
        Format::Table => args.limit.or(Some(TABLE_ROWS)),
        Format::Json | Format::Ndjson | Format::Csv => args.limit,
    };
    let request = Request::Sql {
        sql: args.sql,
        format: format.wire().to_owned(),
        limit,
    };
    let operation = common.operation(request);
    let mut messages = transport::start(&config, operation, Inputs::default()).await?;
    let mut shown = Shown::default();
    while let Some(message) = messages.recv().await {
        match message {
            Message::Line(Value::String(text)) if format == Format::Table => shown.text += &text,
            Message::Line(Value::String(text)) => print(&text)?,
            Message::Line(head) => shown.take_head(&head),
            Message::Progress { .. } => {}
            Message::Done(done) => {
                if format == Format::Table {
                    print(&shown.table(&done, limit)?)?;
                }
                return Ok(Exit::Ok);
            }
            Message::Failed { exit, message } => return Err(Failure::new(exit, message).into()),
        }
    }
    anyhow::bail!("the query ended without a word; this is a bug, please report it")
}

/// Prints to stdout. A reader that has read enough, such as `head`, ends the process quietly.
fn print(text: &str) -> io::Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => written,
    }
}

/// An answer that is to be a table.
#[derive(Debug, Default)]
struct Shown {
    columns: Vec<String>,
    /// An object a line.
    text: String,
}

impl Shown {
    fn take_head(&mut self, head: &Value) {
        let columns = head["columns"].as_array().into_iter().flatten();
        let name = |column: &Value| column.as_str().map(str::to_owned);
        self.columns = columns.filter_map(name).collect();
    }

    fn table(&self, done: &Value, limit: Option<usize>) -> anyhow::Result<String> {
        let mut table = Table::new();
        table
            .load_preset(UTF8_FULL_CONDENSED)
            .set_header(&self.columns);
        let mut rows = 0;
        for line in self.text.lines() {
            let row: Map<String, Value> = serde_json::from_str(line)?;
            let cell = |column: &String| match row.get(column) {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            };
            table.add_row(self.columns.iter().map(cell));
            rows += 1;
        }
        let cut = match limit {
            Some(limit) if rows == limit => ", cut here: --limit shows more",
            _ => "",
        };
        Ok(format!(
            "{table}\n{rows} rows{cut}; as of {}\n",
            done["positions"]
        ))
    }
}
