//! Events that are rows: one file is open per dataset and stream, and written whole at each cut until it
//! is complete.

use arrow::{compute::BatchCoalescer, record_batch::RecordBatch};
use cairn_domain::{
    Commit, Position, Stream,
    datasets::{self, DatasetDef, EventRows, RowSource},
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::{
    LakeError, Place,
    chain::{FileEntryDraft, Origin, path_segment},
    manifest::{FileEntry, Layout, Manifest},
    part::{BATCH_ROWS, PartInfo, PartWriter},
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

fn write_complete(pieces: &mut BatchCoalescer, writer: &mut PartWriter) -> Result<(), LakeError> {
    while let Some(piece) = pieces.next_completed_batch() {
        writer.write(&piece)?;
    }
    Ok(())
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
        // In pieces of one size, so that its bytes do not tell in how many steps it came to be.
        let mut pieces = BatchCoalescer::new(crate::schema::schema(self.dataset), BATCH_ROWS);
        if let Some(open) = open {
            let bytes = place.read(&open.path).await?;
            let bytes = bytes.ok_or_else(|| LakeError::storage(&open.path, "it is gone"))?;
            for rows in ParquetRecordBatchReaderBuilder::try_new(bytes)?.build()? {
                pieces.push_batch(rows?)?;
                write_complete(&mut pieces, &mut writer)?;
            }
        }
        for rows in &self.rows {
            pieces.push_batch(rows.clone())?;
            write_complete(&mut pieces, &mut writer)?;
        }
        pieces.finish_buffered_batch()?;
        write_complete(&mut pieces, &mut writer)?;
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

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use super::*;
    use crate::rows::put_row;

    fn rows(dataset: &'static DatasetDef, numbers: Range<i32>) -> RecordBatch {
        let mut buffer = RowBuffer::new(dataset);
        for number in numbers {
            put_row(dataset, &mut buffer, number, &[7]);
        }
        buffer.take().expect("rows")
    }

    #[tokio::test]
    async fn a_file_that_grew_in_steps_is_the_one_that_was_written_at_once() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = Place::directory(directory.path()).expect("a place");
        place.empty_spool().expect("a spool");
        let (dataset, _) = event_datasets().next().expect("a dataset of events");
        let stream = Stream::chain("eth").expect("a stream");
        let origin = Origin {
            shard: "main".into(),
            log: "log".into(),
        };
        let mut manifest = Manifest::new(Layout::default());
        let write = async |manifest: &Manifest, positions, rows: Vec<RecordBatch>| {
            let (stream, pending) = (&stream, positions);
            let file = EventFile {
                dataset,
                stream,
                pending,
                rows,
            };
            let draft = file.write(&place, &origin, manifest).await;
            draft.expect("a file").expect("it has rows")
        };
        let (one, two, three) = (Position(1), Position(2), Position(3));
        let parts = [0..9_000, 9_000..9_001, 9_001..20_000].map(|part| rows(dataset, part));
        let at_once = write(&manifest, (one, three), parts.to_vec()).await;
        let begun = write(&manifest, (one, one), parts[..1].to_vec()).await;
        let path = &begun.entry.path;
        let published = place.publish(&begun.spooled.path, path).await;
        published.expect("a place");
        manifest.files.push(begun.entry);
        let grown = write(&manifest, (two, three), parts[1..].to_vec()).await;
        assert_eq!(grown.entry, at_once.entry);
        assert_eq!(grown.entry.rows, 20_000);
    }
}
