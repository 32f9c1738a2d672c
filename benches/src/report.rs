//! The table and the JSON.

use std::{fs, path::Path};

use anyhow::Context;
use serde::Serialize;

/// One figure.
#[derive(Debug, Serialize)]
struct Figure {
    what: String,
    value: f64,
    unit: &'static str,
    /// What it stands beside, in the same unit and the same run.
    limit: Option<(String, f64)>,
    ratio: Option<f64>,
}

/// All figures of a run.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    figures: Vec<Figure>,
}

/// The middle of some measurements.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Report {
    /// A figure that stands alone.
    pub(crate) fn figure(&mut self, what: impl Into<String>, value: f64, unit: &'static str) {
        self.add(what.into(), value, unit, None);
    }

    /// A figure beside its limit.
    pub(crate) fn beside(
        &mut self,
        what: impl Into<String>,
        value: f64,
        unit: &'static str,
        limit: impl Into<String>,
        of: f64,
    ) {
        self.add(what.into(), value, unit, Some((limit.into(), of)));
    }

    fn add(&mut self, what: String, value: f64, unit: &'static str, limit: Option<(String, f64)>) {
        let ratio = limit.as_ref().map(|(_, of)| value / of);
        let figure = Figure {
            what,
            value,
            unit,
            limit,
            ratio,
        };
        println!("{}", line(&figure));
        self.figures.push(figure);
    }

    pub(crate) fn print(&self) {
        println!("\n{:-<118}", "");
        for figure in &self.figures {
            println!("{}", line(figure));
        }
    }

    pub(crate) fn write(&self, path: &Path) -> anyhow::Result<()> {
        let json = serde_json::to_string_pretty(self)?;
        fs::write(path, json).with_context(|| format!("writing {}", path.display()))
    }
}

fn line(figure: &Figure) -> String {
    let Figure {
        what,
        value,
        unit,
        limit,
        ratio,
    } = figure;
    let beside = match (limit, ratio) {
        (Some((limit, of)), Some(ratio)) => format!("{ratio:>7.2} × {limit} ({of:.0})"),
        _ => String::new(),
    };
    format!("{what:<52} {value:>12.1} {unit:<9} {beside}")
}
