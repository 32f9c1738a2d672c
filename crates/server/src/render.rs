//! What people see of an operation: a progress bar on a terminal, plain lines elsewhere.

use std::{
    io::{self, IsTerminal as _, Write as _},
    time::{Duration, Instant},
};

use comfy_table::{Table, presets::UTF8_FULL_CONDENSED};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::Value;
use tokio::sync::mpsc;

use crate::{
    config::units::show_size,
    exit::{Exit, Failure},
    operations::{Message, Unit},
};

/// Without a terminal, progress is said at most so often.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Shows what an operation says, prints its lines, and gives its result.
pub(crate) async fn render(mut messages: mpsc::Receiver<Message>) -> anyhow::Result<Value> {
    let mut progress = ProgressView::new();
    while let Some(message) = messages.recv().await {
        match message {
            Message::Progress {
                doing,
                at,
                total,
                unit,
            } => progress.show(&doing, at, total, unit),
            Message::Line(line) => progress.suspend(|| print_line(&line.to_string()))?,
            Message::Done(result) => {
                progress.finish();
                return Ok(result);
            }
            Message::Failed { exit, message } => {
                progress.finish();
                return Err(Failure::new(exit, message).into());
            }
        }
    }
    Err(Failure::new(
        Exit::Failed,
        "the operation ended without a word; this is a bug",
    )
    .into())
}

/// Prints to stdout. A reader that has read enough, such as `head`, ends the process quietly.
pub(crate) fn print_line(line: &str) -> io::Result<()> {
    match writeln!(io::stdout().lock(), "{line}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => written,
    }
}

/// Prints rows under their headings.
pub(crate) fn print_table(headings: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(headings);
    table.add_rows(rows);
    print_line(&table.to_string())
}

/// Progress on stderr.
pub(crate) struct ProgressView {
    bar: Option<ProgressBar>,
    terminal: bool,
    said: Instant,
}

impl ProgressView {
    /// Nothing to see yet.
    pub(crate) fn new() -> Self {
        Self {
            bar: None,
            terminal: io::stderr().is_terminal(),
            said: Instant::now(),
        }
    }

    /// Shows how far something is.
    pub(crate) fn show(&mut self, doing: &str, at: u64, total: Option<u64>, unit: Unit) {
        if !self.terminal {
            if self.said.elapsed() >= LINE_EVERY {
                self.said = Instant::now();
                eprintln!("{}", plain(doing, at, total, unit));
            }
            return;
        }
        let bar = self.bar.get_or_insert_with(|| new_bar(total, unit));
        bar.set_message(doing.to_owned());
        if let Some(total) = total {
            bar.set_length(total);
        }
        bar.set_position(at);
    }

    /// Prints something without tearing the bar.
    pub(crate) fn suspend<T>(&self, print: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(print),
            None => print(),
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(total: Option<u64>, unit: Unit) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    let template = match (unit, total) {
        (Unit::Bytes, Some(_)) => "{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
        (Unit::Bytes, None) => "{msg} {spinner} {bytes} {bytes_per_sec}",
        (Unit::Rows, Some(_)) => "{msg} {wide_bar} {human_pos}/{human_len} rows {per_sec} {eta}",
        (Unit::Rows, None) => "{msg} {spinner} {human_pos} rows {per_sec}",
        (Unit::Commits, Some(_)) => {
            "{msg} {wide_bar} {human_pos}/{human_len} commits {per_sec} {eta}"
        }
        (Unit::Commits, None) => "{msg} {spinner} {human_pos} commits {per_sec}",
    };
    let style = ProgressStyle::with_template(template);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// Progress as a line.
fn plain(doing: &str, at: u64, total: Option<u64>, unit: Unit) -> String {
    let show = |amount: u64| match unit {
        Unit::Bytes => show_size(amount),
        Unit::Commits => format!("{amount} commits"),
        Unit::Rows => format!("{amount} rows"),
    };
    match total {
        Some(total) if total > 0 => {
            format!(
                "{doing}: {} of {} ({} %)",
                show(at),
                show(total),
                at.saturating_mul(100) / total
            )
        }
        _ => format!("{doing}: {}", show(at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_progress_names_what_how_far_and_of_how_much() {
        assert_eq!(
            plain("folding", 5, Some(20), Unit::Commits),
            "folding: 5 commits of 20 commits (25 %)"
        );
        assert_eq!(
            plain("ingesting", 2048, None, Unit::Bytes),
            "ingesting: 2.0 KiB"
        );
        assert_eq!(
            plain("folding", 0, Some(0), Unit::Commits),
            "folding: 0 commits"
        );
    }
}
