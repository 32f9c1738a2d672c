//! Putting rows into files, and files before readers.

use std::sync::Arc;

use cairn_domain::{Commit, Stream, datasets::DatasetDef};
use cairn_engine::store::ReadView;

use super::Follower;
use crate::{
    LakeError,
    chain::OpenChain,
    events::{EventFile, event_datasets, event_rows, open_file},
    lake::Publication,
    manifest::Placed,
    rows::RowBuffer,
};

impl Follower {
    /// Puts all that is final and in no file yet into files.
    pub(super) async fn cut(&mut self, stream: &Stream, view: &ReadView) -> Result<(), LakeError> {
        self.cut_events(stream, |_| true).await?;
        if let Some(state) = self.state.chains.get(stream.as_str()) {
            let is_news = |last: &Placed| {
                let published = state.published.map(|placed| placed.block.height);
                state.failure.is_none() && published < Some(last.block.height)
            };
            if let Some(last) = state.finalized.filter(is_news) {
                let chain = OpenChain::new(stream.clone());
                let files = chain.cut(self.lake.place(), &self.origin, view, state, last)?;
                if let Some(files) = files {
                    self.publication.extend(files);
                    self.chain(stream).published = Some(last);
                }
            }
        }
        self.publish().await
    }

    /// Ends the files of events that the rows of a stream fill.
    pub(super) async fn cut_full(&mut self, stream: &Stream) -> Result<(), LakeError> {
        let (lake, shard) = (Arc::clone(&self.lake), self.shard.name.clone());
        let manifest = lake.manifest();
        let is_full = |dataset: &DatasetDef| {
            let waiting = lake.tail_count(&shard, dataset.name, stream.as_str());
            let open = || open_file(&manifest, dataset, stream, &shard);
            waiting > 0
                && waiting + open().map_or(0, |open| open.rows) >= lake.layout().event_rows()
        };
        self.cut_events(stream, is_full).await?;
        match self.publication.is_empty() {
            true => Ok(()),
            false => self.publish().await,
        }
    }

    /// Puts the rows of a stream's events into files, of some datasets.
    async fn cut_events(
        &mut self,
        stream: &Stream,
        cuts: impl Fn(&DatasetDef) -> bool,
    ) -> Result<(), LakeError> {
        for (dataset, _) in event_datasets().filter(|(dataset, _)| cuts(dataset)) {
            let events = self.state.events.get_mut(dataset.name);
            let Some(state) = events.and_then(|streams| streams.get_mut(stream.as_str())) else {
                continue;
            };
            let pending = std::mem::take(&mut state.pending);
            let (Some(first), Some(last)) = (pending.first(), pending.last()) else {
                continue;
            };
            let (manifest, tail) = self.lake.tail(&self.shard.name);
            let file = EventFile {
                dataset,
                stream,
                pending: (*first, *last),
                rows: tail.rows_of(dataset.name, stream.as_str()),
            };
            let place = self.lake.place();
            let draft = file.write(place, &self.origin, &manifest).await?;
            self.publication.extend(draft);
        }
        Ok(())
    }

    /// Keeps the rows of events until they are in a file. Of a commit that is read again, those that are in no
    /// file: a file of one dataset may have been full before that of another one.
    pub(super) fn keep_rows(&mut self, commit: &Commit, is_new: bool) -> Result<(), LakeError> {
        let stream = commit.header.stream.as_str();
        for (dataset, rows) in event_datasets() {
            let mut buffer = RowBuffer::new(dataset);
            event_rows(dataset, rows, commit, &mut buffer)?;
            if buffer.rows() == 0 {
                continue;
            }
            let rows = buffer.take()?;
            if is_new {
                let streams = self
                    .state
                    .events
                    .entry(dataset.name.to_owned())
                    .or_default();
                let state = streams.entry(stream.to_owned()).or_default();
                state.pending.insert(commit.position);
            } else if !self.state.is_pending(dataset.name, stream, commit.position) {
                continue;
            }
            self.lake.change_tail(&self.shard.name, |tail| {
                tail.push(dataset.name, stream, commit.position, rows)
            })?;
        }
        Ok(())
    }

    pub(super) fn publish_tail_position(&self) {
        let (position, unpublished) = (self.state.position, self.state.unpublished());
        self.lake.change_tail(&self.shard.name, |tail| {
            tail.position = position;
            tail.unpublished = unpublished;
        });
    }

    /// Publishes what is complete.
    pub(super) async fn publish(&mut self) -> Result<(), LakeError> {
        if !self.publication.is_empty() || !self.resets.is_empty() {
            // Before a file gets its name.
            let manifest = self.lake.manifest();
            for draft in &self.publication {
                self.lake.refuse_foreign(&manifest, &draft.entry)?;
            }
            let mut publication = Publication {
                files: Vec::new(),
                resets: std::mem::take(&mut self.resets),
            };
            for draft in self.publication.drain(..) {
                let path = &draft.entry.path;
                self.lake.place().publish(&draft.spooled.path, path).await?;
                publication.files.push(draft.entry);
            }
            self.lake
                .publish(&self.shard.name, &self.state, publication)
                .await?;
        }
        self.publish_tail_position();
        Ok(())
    }
}
