//! One who follows a channel: from a cursor on, or from now; replayed from the log as far as that is behind what
//! is ready, then live, with one seam.

use std::sync::Arc;

use cairn_domain::Position;
use tokio::sync::watch;

use super::{
    channel::{Channel, Filters},
    feed::{Entry, FeedError, Follower, Taken},
    frame::{Frame, Place},
};
use crate::{
    app::App,
    cursor::{Cursor, List},
    error::{ApiError, ErrorCode},
    positions::check_within_log,
};

/// Instead of a cursor: from the first commit on.
const START: &str = "start";

/// So many commits are taken at a time.
const COMMITS: usize = 64;

/// See the module.
pub(crate) struct Subscription {
    pub(crate) channel: &'static dyn Channel,
    filters: Filters,
    follower: Follower,
    news: watch::Receiver<u64>,
    state: State,
    /// The last event that was told, or that the cursor names: of its commit, only what is behind it is told.
    last: Option<Place>,
    /// What is told of each shard.
    told: Vec<Position>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It is read from the log.
    Replaying,
    /// It is taken from the feed, from this entry on.
    Live(u64),
}

/// What comes next.
pub(crate) enum Next {
    /// These events; none of those that came up may be wanted.
    Frames(Vec<Arc<Frame>>),
    /// Nothing yet.
    Nothing,
    /// It was too slow: what comes next is not ready any more. It goes on from this cursor.
    Lagged(String),
}

impl Subscription {
    /// Follows a channel.
    ///
    /// # Errors
    /// For a cursor that is none of these logs, or names what they cannot have.
    pub(crate) fn new(
        app: &App,
        channel: &'static dyn Channel,
        filters: Filters,
        from: Option<&str>,
    ) -> Result<Self, ApiError> {
        let follower = app.feed.follow();
        let feed = &follower.feed;
        let news = feed.news();
        let (told, state, last) = match from {
            None => {
                // What was not read while nobody followed is not asked for.
                let now: Vec<_> = feed.shards.iter().map(|shard| shard.position()).collect();
                (now, State::Replaying, None)
            }
            Some(START) => {
                let start = vec![Position(0); feed.shards.len()];
                (start, State::Replaying, None)
            }
            Some(text) => {
                let cursor = Cursor::decode(text, &app.cursor_keys)?;
                let told = told(app, &cursor)?;
                (told, State::Replaying, Place::of(&cursor))
            }
        };
        let mut subscription = Self {
            channel,
            filters,
            news,
            state,
            last,
            told,
            follower,
        };
        subscription.begin_commit_again();
        Ok(subscription)
    }

    /// Of a commit that is told in part, the rest is still to come.
    fn begin_commit_again(&mut self) {
        if let Some(last) = self.last {
            self.told[last.shard] = last.position.previous();
        }
    }

    /// Goes on behind what was told.
    pub(crate) fn cursor(&self) -> String {
        let mut positions = self.told.clone();
        let key = match self.last {
            // Part of the commit behind what is told.
            Some(last) if positions[last.shard] < last.position => {
                positions[last.shard] = last.position;
                Some(last)
            }
            _ => None,
        };
        let keys = &self.follower.feed.keys;
        match key {
            Some(last) => Cursor::behind(positions, List::Stream, "", b"", last.key()).encode(keys),
            None => Cursor::at(positions).encode(keys),
        }
    }

    /// Returns when there may be something more.
    pub(crate) async fn wait(&mut self) {
        // A feed that is gone tells nothing more.
        let _gone = self.news.changed().await;
    }

    /// What comes next.
    ///
    /// # Errors
    /// Where the log cannot be read.
    pub(crate) async fn next(&mut self) -> Result<Next, FeedError> {
        self.news.mark_unchanged();
        match self.state {
            State::Live(number) => Ok(self.take(number)),
            State::Replaying => self.replay().await,
        }
    }

    fn take(&mut self, number: u64) -> Next {
        match self.follower.feed.take(number, COMMITS) {
            Taken::Gone => Next::Lagged(self.cursor()),
            Taken::Entries(entries, _) if entries.is_empty() => Next::Nothing,
            Taken::Entries(entries, next) => {
                self.state = State::Live(next);
                let frames = entries
                    .iter()
                    .flat_map(|entry| self.wanted(entry))
                    .collect();
                for entry in &entries {
                    self.told[entry.shard] = entry.position;
                }
                Next::Frames(frames)
            }
        }
    }

    async fn replay(&mut self) -> Result<Next, FeedError> {
        let feed = Arc::clone(&self.follower.feed);
        let Some((end, next)) = feed.end() else {
            return Ok(Next::Nothing);
        };
        if let [told] = self.told[..]
            && let Some(number) = feed.number_of(told.next())
        {
            self.state = State::Live(number);
            return Ok(self.take(number));
        }
        let mut behind = self.told.iter().zip(&end);
        let Some(index) = behind.position(|(told, end)| told < end) else {
            // The seam: all that the feed has told is told, and nothing beyond it.
            if self.told == end {
                self.state = State::Live(next);
            }
            return Ok(Next::Nothing);
        };
        let wanted = (self.told.clone(), end[index]);
        let number = self.channel.number();
        let (entries, reached) = feed.replay(index, wanted, number).await?;
        let frames = entries
            .iter()
            .flat_map(|entry| self.wanted(entry))
            .collect();
        self.told[index] = reached;
        Ok(Next::Frames(frames))
    }

    /// What of an entry is wanted, and not told.
    fn wanted(&self, entry: &Entry) -> Vec<Arc<Frame>> {
        let is_new = |place: &Place| {
            self.last.is_none_or(|last| {
                let same = (last.shard, last.position, last.channel)
                    == (place.shard, place.position, place.channel);
                !same || place.index > last.index
            })
        };
        let channel = self.channel.number();
        let frames = entry.frames.iter();
        frames
            .filter(|frame| frame.place.channel == channel && is_new(&frame.place))
            .filter(|frame| frame.is_wanted(&self.filters))
            .cloned()
            .collect()
    }
}

/// What a cursor says is told of each shard.
fn told(app: &App, cursor: &Cursor) -> Result<Vec<Position>, ApiError> {
    app.shards
        .iter()
        .map(|shard| {
            // Of a shard that was added since, nothing is told.
            let position = cursor.positions().get(shard.index).copied();
            let position = position.unwrap_or_default();
            check_within_log(app, shard, position)?;
            Ok(position)
        })
        .collect()
}

impl From<FeedError> for ApiError {
    fn from(error: FeedError) -> Self {
        tracing::error!(%error, "events cannot be told");
        Self::new(ErrorCode::Unavailable, "the log cannot be read just now")
    }
}
