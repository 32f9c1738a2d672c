//! Taking commits in: what is final streams into the open parts.

use cairn_domain::{
    BlockRef, Event, Position, Stream,
    commit::{CommitHeader, read_frame},
};
use cairn_engine::{
    log::{LogError, StoredCommit},
    store::{ReadView, StoreError},
};

use super::{
    Follower,
    interest::{Interest, interest},
};
use crate::{
    LakeError, Place, blocks,
    chain::{FileEntryDraft, OpenChain},
    manifest::{ChainState, Placed},
};

impl Follower {
    /// Takes a commit in.
    pub(super) async fn take(
        &mut self,
        stored: &StoredCommit,
        view: &ReadView,
    ) -> Result<(), LakeError> {
        let position = stored.position;
        let fail = |source| LogError::Commit { position, source };
        let (header, records) = read_frame(&stored.bytes).map_err(fail)?;
        let is_row = |record| matches!(interest(record), Interest::Row | Interest::Both);
        let has_rows = records.iter().any(is_row);
        if has_rows {
            self.keep_rows(&stored.decode()?, true)?;
        }
        let mut cut = false;
        for record in records {
            if matches!(interest(&record), Interest::Structure | Interest::Both) {
                let decoded = Event::decode(record);
                let event = decoded.map_err(|source| LakeError::Event { position, source })?;
                cut |= matches!(event, Event::LakeCut(_));
                self.take_event(&header, position, event, view)?;
            }
        }
        self.state.position = position;
        // Behind all of its commit, so that a start does not take a part of it in twice.
        match (cut, has_rows) {
            (true, _) => self.cut(&header.stream, view).await,
            (false, true) => self.cut_full(&header.stream).await,
            (false, false) => Ok(()),
        }
    }

    fn take_event(
        &mut self,
        header: &CommitHeader,
        position: Position,
        event: Event,
        view: &ReadView,
    ) -> Result<(), LakeError> {
        let stream = &header.stream;
        match event {
            Event::BlockAppended(appended) => {
                let placed = Placed {
                    block: appended.block,
                    position,
                };
                self.chain(stream).hot.push(placed);
            }
            Event::BlockReverted(reverted) => {
                self.chain(stream)
                    .hot
                    .retain(|placed| placed.block != reverted.block);
            }
            Event::BlockFinalized(finalized) => {
                self.finalize(stream, finalized.block, view)?;
            }
            Event::ChainReset(_) => self.reset(stream, position),
            // Whatever is no block: rows of events are kept elsewhere.
            _ => {}
        }
        Ok(())
    }

    pub(super) fn chain(&mut self, stream: &Stream) -> &mut ChainState {
        self.state
            .chains
            .entry(stream.as_str().to_owned())
            .or_default()
    }

    /// What is final now streams into the open parts.
    fn finalize(
        &mut self,
        stream: &Stream,
        finalized: BlockRef,
        view: &ReadView,
    ) -> Result<(), LakeError> {
        let chain = self.chain(stream);
        let is_final = |placed: &Placed| placed.block.height <= finalized.height;
        let count = chain
            .hot
            .iter()
            .take_while(|placed| is_final(placed))
            .count();
        let blocks: Vec<_> = chain.hot.drain(..count).collect();
        for placed in blocks {
            if self.chain(stream).failure.is_some() {
                return Ok(());
            }
            match self.stream_block(stream, placed, view) {
                Err(error @ LakeError::Cell { .. }) => self.fail(stream, &error),
                taken => taken?,
            }
        }
        Ok(())
    }

    fn stream_block(
        &mut self,
        stream: &Stream,
        placed: Placed,
        view: &ReadView,
    ) -> Result<(), LakeError> {
        let place = self.lake.place().clone();
        let mut state = std::mem::take(self.chain(stream));
        let parts = state.parts.clone();
        let taken = self.stream_into(&place, stream, &mut state, placed, view);
        if taken.is_err() {
            // A part that the block had ended is not published, so it is not complete.
            state.parts = parts;
        }
        *self.chain(stream) = state;
        taken
    }

    fn stream_into(
        &mut self,
        place: &Place,
        stream: &Stream,
        state: &mut ChainState,
        placed: Placed,
        view: &ReadView,
    ) -> Result<(), LakeError> {
        if !self.open.contains_key(stream) {
            let mut open = OpenChain::new(stream.clone());
            if !open.fill(place, view, state)? {
                tracing::info!(%stream, "the lake waits for the reset of a chain");
                state.failure = Some("the chain is reset further on in the log".into());
                return Ok(());
            }
            self.open.insert(stream.clone(), open);
        }
        // Rows of final blocks never change, so it does not matter that the store is further on.
        let data = blocks::block(view, stream, placed.block)?;
        let data = data.ok_or_else(|| missing(stream, placed.block))?;
        if let Some(open) = self.open.get_mut(stream) {
            let layout = self.lake.layout();
            let complete = open.take(place, &self.origin, layout, state, (&data, placed))?;
            self.publication.extend(complete);
        }
        state.finalized = Some(placed);
        Ok(())
    }

    /// A chain that cannot be taken in stops, loudly, and no other.
    fn fail(&mut self, stream: &Stream, error: &LakeError) {
        tracing::error!(%stream, %error, "a chain is not taken into the lake any more");
        self.open.remove(stream);
        self.chain(stream).failure = Some(error.to_string());
    }

    fn reset(&mut self, stream: &Stream, position: Position) {
        self.open.remove(stream);
        // Files of the old chain that are not published yet are not published any more.
        let is_old = |draft: &mut FileEntryDraft| {
            draft.entry.heights.is_some() && draft.entry.stream == stream.as_str()
        };
        drop(self.publication.extract_if(.., is_old).collect::<Vec<_>>());
        self.resets.push((stream.as_str().to_owned(), position));
        *self.chain(stream) = ChainState {
            reset: position,
            ..ChainState::default()
        };
    }
}

fn missing(stream: &Stream, block: BlockRef) -> LakeError {
    let reason =
        format!("the store lacks {block} of {stream}, which it has folded; run `cairn verify`");
    StoreError::Storage(reason).into()
}
