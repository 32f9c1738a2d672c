//! Putting rows into files, and files before readers.

use cairn_domain::{Commit, Stream};
use cairn_engine::store::ReadView;

use super::Follower;
use crate::{
    LakeError,
    chain::OpenChain,
    events::{EventFile, event_datasets, event_rows},
    lake::{Publication, TailRows},
    manifest::Placed,
    rows::RowBuffer,
};

impl Follower {
    /// Puts all that is final and in no file yet into files.
    pub(super) async fn cut(&mut self, stream: &Stream, view: &ReadView) -> Result<(), LakeError> {
        self.cut_events(stream).await?;
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

    async fn cut_events(&mut self, stream: &Stream) -> Result<(), LakeError> {
        for (dataset, rows) in event_datasets() {
            let events = self.state.events.get_mut(dataset.name);
            let Some(state) = events.and_then(|streams| streams.get_mut(stream.as_str())) else {
                continue;
            };
            let pending: Vec<_> = std::mem::take(&mut state.pending).into_iter().collect();
            if pending.is_empty() {
                continue;
            }
            let file = EventFile {
                dataset,
                rows,
                stream,
                pending: &pending,
            };
            let manifest = self.lake.manifest();
            let log = self.shard.log.as_ref();
            let draft = file
                .write(self.lake.place(), &self.origin, &manifest, log)
                .await?;
            self.publication.extend(draft);
        }
        Ok(())
    }

    /// Keeps the rows of events until they are in a file.
    pub(super) fn keep_rows(&mut self, commit: &Commit, is_new: bool) -> Result<(), LakeError> {
        let stream = commit.header.stream.as_str();
        for (dataset, rows) in event_datasets() {
            let mut buffer = RowBuffer::new(dataset);
            event_rows(dataset, rows, commit, &mut buffer)?;
            if buffer.rows() == 0 {
                continue;
            }
            let row = TailRows {
                position: commit.position,
                stream: stream.to_owned(),
                batch: buffer.take()?,
            };
            if is_new {
                let streams = self
                    .state
                    .events
                    .entry(dataset.name.to_owned())
                    .or_default();
                let state = streams.entry(stream.to_owned()).or_default();
                state.pending.insert(commit.position);
            }
            self.lake.change_tail(&self.shard.name, |tail| {
                tail.rows.entry(dataset.name).or_default().push_back(row);
            });
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
