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
use cairn_engine::store::{FinalMark, ReadView};

use crate::{
    answer::{Answer, Model},
    app::App,
    at::At,
    chains::{self, Chain},
    cursor::{Cursor, List},
    error::{ApiError, ErrorCode},
    finals::Rendered,
    models::Transaction,
    paging::Paging,
    params::Params,
    positions::{Minimum, check_within_log, wait_for_fold},
    shard::Shard,
};

/// What a read is of. Made from `?chain=`, `?at=`, `?cursor=` and `?min_position=`.
pub(crate) struct Scope {
    /// What requests share.
    pub(crate) app: Arc<App>,
    /// The shard that the chain belongs to.
    shard: Arc<Shard>,
    /// The rows as of the position that the answer reflects.
    pub(crate) view: ReadView,
    /// The chain.
    pub(crate) stream: Stream,
    /// Both ends of the chain as of that position.
    pub(crate) ends: Option<ChainEndsRow>,
    /// The query string.
    pub(crate) params: Params,
    named: Named,
}

impl FromRequestParts<Arc<App>> for Scope {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, ApiError> {
        let params = Params::of(&parts.uri);
        let named = Named::of(app, &params)?;
        let Chain {
            shard,
            latest,
            stream,
            ends,
        } = find_chain(app, params.text("chain"), &named).await?;
        let (view, ends) = match named.resolve(&shard, &latest, &stream)? {
            Some(position) => {
                let view = latest.at(position)?;
                let ends = view.ends(&stream)?;
                (view, ends)
            }
            None => (latest, ends),
        };
        Ok(Self {
            app: Arc::clone(app),
            shard,
            view,
            stream,
            ends,
            params,
            named,
        })
    }
}

impl Scope {
    /// The position of a shard that an answer must not be older than.
    pub(crate) fn minimum(&self, shard: &Shard) -> Position {
        match shard.index == self.shard.index {
            true => self.named.minimum.of_read(shard),
            false => Position::default(),
        }
    }
}

/// How a block stands in its chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    /// Whether it is a part of it.
    pub(crate) canonical: bool,
    /// Blocks from it up to the head, both included; none once it is final, and for one that is no part.
    pub(crate) confirmations: Option<u64>,
    /// Whether it cannot be reverted any more.
    pub(crate) is_final: bool,
}

impl Standing {
    /// That of a block that was reorganised away.
    pub(crate) const ORPHAN: Self = Self {
        canonical: false,
        confirmations: None,
        is_final: false,
    };

    /// That of the head.
    pub(crate) fn head(is_final: bool) -> Self {
        Self {
            canonical: true,
            confirmations: (!is_final).then_some(1),
            is_final,
        }
    }
}

/// The moments that a request names.
struct Named {
    at: Option<At>,
    cursor: Option<Cursor>,
    minimum: Minimum,
}

impl Named {
    fn of(app: &App, params: &Params) -> Result<Self, ApiError> {
        let keys = &app.cursor_keys;
        let at = params.text("at").map(|text| At::parse(text, keys));
        let cursor = params.text("cursor").map(|text| Cursor::decode(text, keys));
        Ok(Self {
            at: at.transpose()?,
            cursor: cursor.transpose()?,
            minimum: Minimum::of(params, app.shards.len())?,
        })
    }

    /// The cursors among them: that of the page before comes first.
    fn cursors(&self) -> impl Iterator<Item = &Cursor> {
        let moment = self.at.as_ref().and_then(At::moment);
        self.cursor.iter().chain(moment)
    }

    /// What a read of a shard waits for.
    fn needed(&self, app: &App, shard: &Shard) -> Result<Position, ApiError> {
        let mut needed = self.minimum.of_read(shard);
        for cursor in self.cursors() {
            let position = cursor.position(shard)?;
            check_within_log(app, shard, position)?;
            needed = needed.max(position);
        }
        Ok(needed)
    }

    /// The position that `at` and `cursor` name on a chain; they must not name two.
    fn resolve(
        &self,
        shard: &Shard,
        latest: &ReadView,
        stream: &Stream,
    ) -> Result<Option<Position>, ApiError> {
        let at = self.at.as_ref();
        let at = at.map(|at| at.resolve(shard, latest, stream)).transpose()?;
        let cursor = self.cursor.as_ref();
        let cursor = cursor.map(|cursor| cursor.position(shard)).transpose()?;
        match (at, cursor) {
            (Some(at), Some(cursor)) if at != cursor => {
                let reason =
                    format!("it names position {at}, the cursor {cursor}; give one of them");
                Err(ApiError::parameter("at", reason))
            }
            (at, cursor) => Ok(cursor.or(at)),
        }
    }
}

/// The chain that a request means, once its shard has folded what the request names. Which shard that
/// is may show only then: what is waited for may be the chain's first block. Until then it is the
/// first one.
async fn find_chain(app: &App, name: Option<&str>, named: &Named) -> Result<Chain, ApiError> {
    loop {
        let before = app.first_shard().position();
        let found = chains::resolve(app, name);
        let (shard, seen) = match &found {
            Ok(chain) => (&chain.shard, chain.latest.position()),
            Err(_) => (app.first_shard(), before),
        };
        let needed = named.needed(app, shard)?;
        if seen >= needed {
            return found;
        }
        wait_for_fold(app, shard, needed, app.config.position_patience).await?;
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
        let finals = &self.shard.finals;
        if mark.is_some_and(|mark| finals.is_canonical(&self.stream, block.hash, mark)) {
            return Ok(true);
        }
        let canonical = self.view.is_canonical(&self.stream, block)?;
        if let Some(mark) = mark.filter(|_| canonical) {
            finals.keep_canonical(&self.stream, block.hash, mark);
        }
        Ok(canonical)
    }

    /// How a block stands that is canonical, or is not.
    pub(crate) fn standing(&self, height: u64, canonical: bool) -> Standing {
        Standing {
            canonical,
            confirmations: self.confirmations(height).filter(|_| canonical),
            is_final: canonical && self.is_final(height),
        }
    }

    /// The mark with which things of a final height may be kept, and taken from what was kept.
    fn settled(&self, height: u64) -> Option<FinalMark> {
        self.view.final_mark().filter(|_| self.is_final(height))
    }

    /// Where the final transaction of a canonical block with this hash is, if that is known.
    pub(crate) fn known_place(&self, hash: &Hash) -> Option<TransactionKey> {
        let mark = self.view.final_mark()?;
        let place = self.shard.finals.place(&self.stream, hash, mark)?;
        self.is_final(place.block.height).then_some(place)
    }

    /// Keeps where a transaction of a canonical block is, if it is final.
    pub(crate) fn keep_place(&self, hash: Hash, place: &TransactionKey) {
        if let Some(mark) = self.settled(place.block.height) {
            let place = place.clone();
            self.shard
                .finals
                .keep_place(&self.stream, hash, place, mark);
        }
    }

    /// A final transaction of a canonical block, if it is ready.
    pub(crate) fn ready(&self, key: &TransactionKey) -> Option<Rendered> {
        let mark = self.settled(key.block.height)?;
        self.shard.finals.transaction(&self.stream, key, mark)
    }

    /// Renders a transaction, and keeps it if it is final.
    pub(crate) fn render(
        &self,
        key: &TransactionKey,
        row: TransactionRow,
        canonical: bool,
    ) -> Result<Rendered, ApiError> {
        let standing = self.standing(key.block.height, canonical);
        let rendered = Rendered::of(&Transaction::new(key.block, row, standing))?;
        if let Some(mark) = self.settled(key.block.height).filter(|_| canonical) {
            let finals = &self.shard.finals;
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
        Paging::new(&self.params, self.named.cursor.as_ref())
    }

    /// The text of the cursor that goes on behind a key, as of this scope's position. Of the other
    /// shards it names the positions that the request's cursor names, so that all pages are of one
    /// moment; else those of now.
    pub(crate) fn cursor_behind(&self, list: List, subject: &[u8], key: Vec<u8>) -> String {
        let moment = self
            .named
            .cursors()
            .next()
            .map_or(&[][..], Cursor::positions);
        let position = |shard: &Arc<Shard>| match moment.get(shard.index) {
            _ if shard.index == self.shard.index => self.view.position(),
            Some(position) => *position,
            None => shard.position(),
        };
        let positions = self.app.shards.iter().map(position).collect();
        Cursor::behind(positions, list, self.chain(), subject, key).encode(&self.app.cursor_keys)
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
        Answer::of(self.view.position().0.into(), model)
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
