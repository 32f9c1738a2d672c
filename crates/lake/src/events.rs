//! Events that are rows: one file is open per dataset and stream, and written whole at each cut until it
//! is complete.

use arrow::record_batch::RecordBatch;
use cairn_domain::{
    Commit, Position, Stream,
    datasets::{self, DatasetDef, EventRows, RowSource},
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::{
    LakeError, Place,
    chain::{FileEntryDraft, Origin, path_segment},
    manifest::{FileEntry, Layout, Manifest},
    part::{PartInfo, PartWriter},
    rows::RowBuffer,
};

/// Datasets that events are rows of, each with what writes its rows.
pub(crate) fn event_datasets() -> impl Iterator<Item = (&'static DatasetDef, EventRows)> {
    datasets::all().filter_map(|dataset| match dataset.source {
        RowSource::Events { rows, .. } => Some((dataset, rows)),
        RowSource::Blocks(_) => None,
    })
}

/// Writes the rows of a commit.
pub(crate) fn event_rows(
    dataset: &'static DatasetDef,
    rows: EventRows,
    commit: &Commit,
    buffer: &mut RowBuffer,
) -> Result<(), LakeError> {
    rows(commit, buffer).map_err(|source| LakeError::Cell {
        dataset: dataset.name,
        stream: commit.header.stream.to_string(),
        place: format!("commit {}", commit.position),
        source,
    })
}

/// The file that rows of a stream's events are still added to.
pub(crate) fn open_file<'a>(
    manifest: &'a Manifest,
    dataset: &DatasetDef,
    stream: &Stream,
    shard: &str,
) -> Option<&'a FileEntry> {
    manifest.files.iter().find(|file| {
        !file.complete
            && file.dataset == dataset.name
            && file.stream == stream.as_str()
            && file.shard == shard
    })
}

/// What a file of events is of.
pub(crate) struct EventFile<'a> {
    pub(crate) dataset: &'static DatasetDef,
    pub(crate) stream: &'a Stream,
    /// The first and the last commit whose rows are in no file yet.
    pub(crate) pending: (Position, Position),
    /// Those rows.
    pub(crate) rows: Vec<RecordBatch>,
}

impl EventFile<'_> {
    /// Writes the open file anew, with the rows that are pending.
    pub(crate) async fn write(
        self,
        place: &Place,
        origin: &Origin,
        manifest: &Manifest,
    ) -> Result<Option<FileEntryDraft>, LakeError> {
        let open = open_file(manifest, self.dataset, self.stream, &origin.shard);
        let name = format!(
            "{}-{}",
            self.dataset.name,
            path_segment(self.stream.as_str())
        );
        let mut writer = PartWriter::new(place, self.dataset, &name)?;
        let mut batches = Vec::new();
        if let Some(open) = open {
            let bytes = place.read(&open.path).await?;
            let bytes = bytes.ok_or_else(|| LakeError::storage(&open.path, "it is gone"))?;
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()?;
            for batch in reader {
                batches.push(batch?);
            }
        }
        batches.extend_from_slice(&self.rows);
        // All at once, so that its bytes do not tell in how many steps it came to be.
        let rows = arrow::compute::concat_batches(&crate::schema::schema(self.dataset), &batches)?;
        writer.write(&rows)?;
        let (first, last) = self.pending;
        let first = open.map_or(first, |open| open.positions.0);
        self.finish(writer, origin, manifest.layout, (first, last))
    }

    fn finish(
        &self,
        writer: PartWriter,
        origin: &Origin,
        layout: Layout,
        positions: (Position, Position),
    ) -> Result<Option<FileEntryDraft>, LakeError> {
        let info = PartInfo {
            log: origin.log.clone(),
            stream: self.stream.as_str().to_owned(),
            positions,
            heights: None,
            head: None,
        };
        let Some(spooled) = writer.finish(&info)? else {
            return Ok(None);
        };
        let (first, last) = (positions.0.0, positions.1.0);
        let stream = path_segment(self.stream.as_str());
        let entry = FileEntry {
            path: format!(
                "{}/stream={stream}/{first:012}-{last:012}.parquet",
                self.dataset.name
            ),
            dataset: self.dataset.name.to_owned(),
            schema_version: self.dataset.version,
            shard: origin.shard.clone(),
            stream: self.stream.as_str().to_owned(),
            sequence: 0,
            complete: spooled.rows >= layout.event_rows(),
            heights: None,
            positions,
            head: None,
            reset: Position(0),
            rows: spooled.rows,
            bytes: spooled.bytes,
            sha256: spooled.sha256.clone(),
            times: spooled.times,
        };
        Ok(Some(FileEntryDraft { spooled, entry }))
    }
}
