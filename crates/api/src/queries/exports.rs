//! Exports: how large one will be, and how it is.

use cairn_domain::{
    events::{ExportCompression, ExportFormat, ExportOutcome, ExportRequested},
    projections::exports::ExportRow,
};
use cairn_engine::clock::now_millis;
use cairn_lake::Manifest;

use crate::{
    app::App,
    exports::{ExportDesk, ExportProgress},
    models::{ExportStatus, Time},
};

/// Bytes of a row in Parquet, where no file tells.
const ROW_BYTES: u64 = 150;

/// About how large the file of an export will be, such as `500MB`, by what rows take in the files that there
/// are. `heights` are those that the chain has.
pub(crate) fn estimate(
    manifest: &Manifest,
    request: &ExportRequested,
    heights: Option<(u64, u64)>,
) -> String {
    let stream = format!("chain/{}", request.chain);
    let (mut covered, mut bytes) = (0, 0);
    for file in manifest
        .files_of(&request.dataset)
        .filter(|file| file.stream == stream)
    {
        covered += file.heights.map_or(0, |(low, high)| high - low + 1);
        bytes += file.bytes;
    }
    let per_height = match covered {
        0 => ROW_BYTES as f64,
        covered => bytes as f64 / covered as f64,
    };
    let wanted = heights.map_or(0, |(first, head)| {
        let (low, high) = (request.from.max(first), request.to.min(head));
        high.saturating_add(1).saturating_sub(low)
    });
    // Measured on blocks of Ethereum: text is so much larger than Parquet, and packs so well.
    let form = match request.format {
        ExportFormat::Parquet => 1.0,
        ExportFormat::Arrow => 3.0,
        ExportFormat::Csv => 3.5,
        ExportFormat::Json | ExportFormat::Ndjson => 5.0,
    };
    let packed = match (request.format, request.compression) {
        (ExportFormat::Parquet, _) | (_, ExportCompression::None) => 1.0,
        (_, ExportCompression::Gzip | ExportCompression::Zstd) => 0.3,
    };
    show_bytes(per_height * wanted as f64 * form * packed)
}

/// A size as the guide shows it: a whole number of decimal units.
fn show_bytes(bytes: f64) -> String {
    let units = [("GB", 1e9), ("MB", 1e6), ("KB", 1e3)];
    let unit = units.into_iter().find(|(_, size)| bytes >= *size);
    match unit {
        Some((name, size)) => format!("{:.0}{name}", bytes / size),
        None => format!("{bytes:.0}B"),
    }
}

/// Where an export is downloaded.
pub(crate) fn download_url(app: &App, id: &str) -> String {
    format!("{}/export/download/{id}", app.api_url())
}

/// How an export is.
pub(crate) fn status(app: &App, desk: &dyn ExportDesk, row: ExportRow) -> ExportStatus {
    let ExportRow {
        request,
        requested_at,
        outcome,
    } = row;
    let mut status = ExportStatus {
        status: "pending",
        progress: 0.0,
        download_url: download_url(app, &request.id),
        dataset: request.dataset,
        chain: request.chain,
        start_block: request.from,
        end_block: request.to,
        format: request.format.to_string(),
        compression: request.compression.to_string(),
        requested_at: Time(requested_at / 1000),
        expires_at: None,
        position: None,
        rows: 0,
        bytes: None,
        sha256: None,
        error: None,
        export_id: request.id,
    };
    match outcome {
        None => {
            if let Some(ExportProgress { rows, of }) = desk.progress(&status.export_id) {
                status.status = "running";
                status.rows = rows;
                status.progress = (rows as f64 / of.max(1) as f64).min(0.99);
            }
        }
        Some((ExportOutcome::Failed { reason }, _)) => {
            status.status = "failed";
            status.error = Some(reason);
        }
        Some((ExportOutcome::Ready(file), ready_at)) => {
            let expiry = desk.expiry(ready_at);
            status.status = if now_millis() < expiry {
                "ready"
            } else {
                "expired"
            };
            status.progress = 1.0;
            status.expires_at = Some(Time(expiry / 1000));
            status.position = Some(file.position);
            status.rows = file.rows;
            status.bytes = Some(file.bytes);
            status.sha256 = Some(file.sha256);
        }
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_look_as_in_the_guide() {
        for (bytes, shown) in [
            (500e6, "500MB"),
            (0.0, "0B"),
            (1500.0, "2KB"),
            (3.2e9, "3GB"),
        ] {
            assert_eq!(show_bytes(bytes), shown);
        }
    }
}
