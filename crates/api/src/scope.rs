//! What a read is of: one chain, as of one position.

use std::sync::Arc;

use axum::{extract::FromRequestParts, http::request::Parts};
use cairn_domain::{
    Amount, BlockRef, Hash, Position, Stream,
    primitives::Address,
    projections::{
        blocks::{CanonicalBlock, ChainEndsRow},
        transactions::{TransactionKey, TransactionRow},
    },
};
use cairn_engine::{
    log::wait_for,
    store::{FinalMark, ReadView},
};
use serde_json::json;

use crate::{
    answer::{Answer, Model},
    app::App,
    at::At,
    chains,
    cursor::{Cursor, List},
    error::{ApiError, ErrorCode},
    finals::Rendered,
    models::Transaction,
    paging::Paging,
    params::Params,
};

/// What a read is of. Made from `?chain=`, `?at=`, `?cursor=` and `?min_position=`.
pub(crate) struct Scope {
    /// What requests share.
    pub(crate) app: Arc<App>,
    /// The rows as of the position that the answer reflects.
    pub(crate) view: ReadView,
    /// The chain.
    pub(crate) stream: Stream,
    /// Both ends of the chain as of that position.
    pub(crate) ends: Option<ChainEndsRow>,
    /// The query string.
    pub(crate) params: Params,
    cursor: Option<Cursor>,
}

impl FromRequestParts<Arc<App>> for Scope {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let params = Params::of(&parts.uri);
        let key = &app.cursor_key;
        let at = params.text("at").map(|text| At::parse(text, key));
        let cursor = params.text("cursor").map(|text| Cursor::decode(text, key));
        let (at, cursor) = (at.transpose()?, cursor.transpose()?);
        wait_for_position(app, &params, at.as_ref(), cursor.as_ref()).await?;
        let latest = app.store.view(None)?;
        let (stream, ends) = chains::resolve(app, &latest, params.text("chain"))?;
        let position = position(&latest, &stream, at.as_ref(), cursor.as_ref())?;
        let (view, ends) = match position {
            Some(position) => {
                let view = latest.at(position)?;
                let ends = view.ends(&stream)?;
                (view, ends)
            }
            None => (latest, ends),
        };
        Ok(Self {
            app: Arc::clone(app),
            view,
            stream,
            ends,
            params,
            cursor,
        })
    }
}

/// A cursor of this log may come from a server that sees more of it: as many positions this one may
/// lack of the log's end. What is farther was never given out, or before the log lost its end.
const AHEAD: u64 = 10_000;

/// Refuses a position, as a cursor named it, that the log cannot have.
fn check_within_log(app: &App, named: Position) -> Result<(), ApiError> {
    let end = *app.log.head().borrow();
    if named.0 <= end.0.saturating_add(AHEAD) {
        return Ok(());
    }
    let message = format!(
        "the cursor names position {named}, far beyond the end of the log, {end}: it was made up, or the log was restored from an older copy; start again without it"
    );
    Err(ApiError::new(ErrorCode::InvalidCursor, message)
        .with(json!({"position": named, "end": end})))
}

/// Waits until the fold has reached all that the request names, or says that it has not.
pub(crate) async fn wait_for_position(
    app: &App,
    params: &Params,
    at: Option<&At>,
    cursor: Option<&Cursor>,
) -> Result<(), ApiError> {
    let named = match at {
        Some(At::Position(position)) => Some(*position),
        Some(At::Number(_) | At::Time(_)) | None => None,
    };
    let minimum = params.number("min_position")?.map(Position);
    let named = named.max(cursor.map(Cursor::position));
    check_within_log(app, named.unwrap_or_default())?;
    let needed = minimum.max(named).unwrap_or_default();
    let mut folded = app.store.position();
    if *folded.borrow_and_update() >= needed
        || wait_for(&mut folded, needed, app.config.position_patience).await
    {
        return Ok(());
    }
    let position = *folded.borrow();
    let message = format!("position {needed} is not reached yet; this server is at {position}");
    Err(ApiError::new(ErrorCode::PositionNotReached, message)
        .with(json!({"position": position, "needed": needed})))
}

/// The position that `at` and `cursor` name; they must not name two.
fn position(
    latest: &ReadView,
    stream: &Stream,
    at: Option<&At>,
    cursor: Option<&Cursor>,
) -> Result<Option<Position>, ApiError> {
    let at = at.map(|at| at.resolve(latest, stream)).transpose()?;
    match (at, cursor.map(Cursor::position)) {
        (Some(at), Some(cursor)) if at != cursor => {
            let reason = format!("it names position {at}, the cursor {cursor}; give one of them");
            Err(ApiError::parameter("at", reason))
        }
        (at, cursor) => Ok(cursor.or(at)),
    }
}

impl Scope {
    /// The chain's name.
    pub(crate) fn chain(&self) -> &str {
        self.stream.chain_name().unwrap_or(self.stream.as_str())
    }

    /// The highest block; none while the chain is empty.
    pub(crate) fn head(&self) -> Option<BlockRef> {
        self.ends.as_ref().map(|ends| ends.head)
    }

    /// The canonical block at a height.
    pub(crate) fn canonical(&self, height: u64) -> Result<Option<CanonicalBlock>, ApiError> {
        Ok(self.view.canonical(&self.stream, height)?)
    }

    /// Whether a block is canonical.
    pub(crate) fn is_canonical(&self, block: BlockRef) -> Result<bool, ApiError> {
        let mark = self.settled(block.height);
        let finals = &self.app.finals;
        if mark.is_some_and(|mark| finals.is_canonical(&self.stream, block.hash, mark)) {
            return Ok(true);
        }
        let canonical = self.view.is_canonical(&self.stream, block)?;
        if let Some(mark) = mark.filter(|_| canonical) {
            finals.keep_canonical(&self.stream, block.hash, mark);
        }
        Ok(canonical)
    }

    /// The mark with which things of a final height may be kept, and taken from what was kept.
    fn settled(&self, height: u64) -> Option<FinalMark> {
        self.view.final_mark().filter(|_| self.is_final(height))
    }

    /// Where the final transaction of a canonical block with this hash is, if that is known.
    pub(crate) fn known_place(&self, hash: &Hash) -> Option<TransactionKey> {
        let mark = self.view.final_mark()?;
        let place = self.app.finals.place(&self.stream, hash, mark)?;
        self.is_final(place.block.height).then_some(place)
    }

    /// Keeps where a transaction of a canonical block is, if it is final.
    pub(crate) fn keep_place(&self, hash: Hash, place: &TransactionKey) {
        if let Some(mark) = self.settled(place.block.height) {
            let place = place.clone();
            self.app.finals.keep_place(&self.stream, hash, place, mark);
        }
    }

    /// A final transaction of a canonical block, if it is ready.
    pub(crate) fn ready(&self, key: &TransactionKey) -> Option<Rendered> {
        let mark = self.settled(key.block.height)?;
        self.app.finals.transaction(&self.stream, key, mark)
    }

    /// Renders a transaction, and keeps it if it is final.
    pub(crate) fn render(
        &self,
        key: &TransactionKey,
        row: TransactionRow,
        canonical: bool,
    ) -> Result<Rendered, ApiError> {
        let rendered = Rendered::of(&Transaction::new(self, key.block, row, canonical))?;
        if let Some(mark) = self.settled(key.block.height).filter(|_| canonical) {
            let finals = &self.app.finals;
            finals.keep_transaction(&self.stream, key, &rendered, mark);
        }
        Ok(rendered)
    }

    /// Whether the canonical block at a height cannot be reverted any more.
    pub(crate) fn is_final(&self, height: u64) -> bool {
        let finalized = self.ends.as_ref().and_then(|ends| ends.finalized);
        finalized.is_some_and(|finalized| height <= finalized.height)
    }

    /// Blocks from the canonical one at a height up to the head, both included; none once it is
    /// final, because the number would move for ever.
    pub(crate) fn confirmations(&self, height: u64) -> Option<u64> {
        let head = self.head()?.height;
        (!self.is_final(height)).then(|| (head + 1).saturating_sub(height))
    }

    /// Where the page that the request asks for starts.
    pub(crate) fn paging(&self) -> Result<Paging, ApiError> {
        Paging::new(&self.params, self.cursor.as_ref())
    }

    /// The text of the cursor that goes on behind a key, as of this scope's position.
    pub(crate) fn cursor_behind(&self, list: List, subject: &[u8], key: Vec<u8>) -> String {
        Cursor::behind(self.view.position(), list, self.chain(), subject, key)
            .encode(&self.app.cursor_key)
    }

    /// What the chain's node says that an address holds at the head, if it has a node that answers.
    pub(crate) async fn node_balance(&self, address: &Address) -> Option<Amount> {
        let node = self.app.nodes.get(self.chain())?;
        self.app
            .balances
            .get(self.chain(), node.as_ref(), address, self.head()?)
            .await
    }

    /// Answers with a model.
    pub(crate) fn answer<T: Model>(&self, model: &T) -> Result<Answer, ApiError> {
        Answer::of(self.view.position(), model)
    }

    /// Reads and answers; on a thread for blocking work if it is `long`.
    pub(crate) async fn respond<T: Model>(
        self,
        long: bool,
        query: impl FnOnce(&Self) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<Answer, ApiError> {
        let work = move || self.answer(&query(&self)?);
        if !long {
            return work();
        }
        tokio::task::spawn_blocking(work)
            .await
            .unwrap_or_else(|error| {
                tracing::error!(%error, "a long read panicked");
                Err(ApiError::new(
                    ErrorCode::Internal,
                    "the server failed to read its store",
                ))
            })
    }
}
