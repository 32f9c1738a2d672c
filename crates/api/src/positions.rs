//! Positions of shards: which ones a request waits for, and which ones an answer says it reflects.

use std::time::Duration;

use axum::http::HeaderValue;
use cairn_domain::Position;
use cairn_engine::log::wait_for;
use cairn_lake::Lake;
use serde_json::json;
use tokio::time::Instant;

use crate::{
    app::App,
    error::{ApiError, ErrorCode},
    params::{Params, whole_number},
    shard::Shard,
};

/// A cursor of these logs may come from a server that sees more of them: as many positions this one
/// may lack of a log's end. What is farther was never given out, or before the log lost its end.
const AHEAD: u64 = 10_000;

/// `?min_position=`: one position, or a comma list with one for each of the first shards.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Minimum(Vec<Position>);

impl Minimum {
    /// Reads it, for so many shards.
    pub(crate) fn of(params: &Params, shards: usize) -> Result<Self, ApiError> {
        const NAME: &str = "min_position";
        let Some(text) = params.text(NAME) else {
            return Ok(Self::default());
        };
        let position = |part| whole_number(NAME, part).map(Position);
        let positions: Vec<_> = text.split(',').map(position).collect::<Result<_, _>>()?;
        if positions.len() > shards {
            let given = positions.len();
            let reason = format!("it names {given} positions, and there are {shards} shards");
            return Err(ApiError::parameter(NAME, reason));
        }
        Ok(Self(positions))
    }

    /// What a read of one shard waits for: one position is of the shard that is read.
    pub(crate) fn of_read(&self, shard: &Shard) -> Position {
        match *self.0 {
            [only] => only,
            _ => self.of_shard(shard),
        }
    }

    /// What a read of all shards waits for in one of them: one position is of the first shard.
    pub(crate) fn of_shard(&self, shard: &Shard) -> Position {
        self.0.get(shard.index).copied().unwrap_or_default()
    }
}

/// Refuses what reflects less of a shard than was asked for: the lake may be behind the fold.
pub(crate) fn check_reflected(
    app: &App,
    shard: &Shard,
    reflected: Position,
    needed: Position,
) -> Result<(), ApiError> {
    match reflected >= needed {
        true => Ok(()),
        false => Err(not_reached(app, shard, reflected, needed)),
    }
}

/// Waits until a shard's fold has reached a position, or says that it has not.
pub(crate) async fn wait_for_fold(
    app: &App,
    shard: &Shard,
    needed: Position,
    patience: Duration,
) -> Result<(), ApiError> {
    let mut folded = shard.store.position();
    if *folded.borrow_and_update() >= needed || wait_for(&mut folded, needed, patience).await {
        return Ok(());
    }
    let position = *folded.borrow();
    Err(not_reached(app, shard, position, needed))
}

fn not_reached(app: &App, shard: &Shard, position: Position, needed: Position) -> ApiError {
    let place = of_shard(app, shard);
    let message =
        format!("position {needed}{place} is not reached yet; this server is at {position}");
    ApiError::new(ErrorCode::PositionNotReached, message)
        .with(json!({"position": position, "needed": needed}))
}

/// The same for every shard, all within the server's patience.
pub(crate) async fn wait_for_all(app: &App, minimum: &Minimum) -> Result<(), ApiError> {
    let deadline = Instant::now() + app.config.position_patience;
    for shard in &app.shards {
        let left = deadline.saturating_duration_since(Instant::now());
        wait_for_fold(app, shard, minimum.of_shard(shard), left).await?;
    }
    Ok(())
}

/// The same for the lake, with how far it is: what is final up to there, and fills a file, is then in files.
pub(crate) async fn wait_for_lake(
    app: &App,
    lake: &Lake,
    minimum: &Minimum,
) -> Result<Vec<Position>, ApiError> {
    /// Before the lake is asked again how far it is.
    const PAUSE: Duration = Duration::from_millis(20);
    let deadline = Instant::now() + app.config.position_patience;
    let mut reached = Vec::with_capacity(app.shards.len());
    for shard in &app.shards {
        let needed = minimum.of_shard(shard);
        // Its files reach on while what keeps them begins again.
        let taken_in = || {
            let manifest = lake.manifest();
            let published = manifest.shard(&shard.name).map(|state| state.position);
            lake.tail_position(&shard.name)
                .max(published.unwrap_or_default())
        };
        while taken_in() < needed && Instant::now() < deadline {
            tokio::time::sleep(PAUSE).await;
        }
        let position = taken_in();
        check_reflected(app, shard, position, needed)?;
        reached.push(position);
    }
    Ok(reached)
}

/// Refuses a position, as a cursor named it, that a shard's log cannot have.
pub(crate) fn check_within_log(app: &App, shard: &Shard, named: Position) -> Result<(), ApiError> {
    let end = *shard.log.head().borrow();
    if named.0 <= end.0.saturating_add(AHEAD) {
        return Ok(());
    }
    let place = of_shard(app, shard);
    let message = format!(
        "the cursor names position {named}{place}, far beyond the end of the log, {end}: it was made up, or the log was restored from an older copy; start again without it"
    );
    Err(ApiError::new(ErrorCode::InvalidCursor, message)
        .with(json!({"position": named, "end": end})))
}

/// Says which shard, where there are several.
fn of_shard(app: &App, shard: &Shard) -> String {
    match app.is_sharded() {
        true => format!(" of shard `{}`", shard.name),
        false => String::new(),
    }
}

/// Positions as `x-cairn-position` shows them: joined by commas, in the order of their shards.
pub(crate) fn header(positions: &[Position]) -> HeaderValue {
    let text: Vec<_> = positions.iter().map(|p| p.0.to_string()).collect();
    // Digits and commas are always a header.
    HeaderValue::try_from(text.join(",")).unwrap_or(HeaderValue::from_static("0"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn minimum(query: &str, shards: usize) -> Result<Minimum, ApiError> {
        Minimum::of(&Params::of(&format!("/x?{query}").parse().unwrap()), shards)
    }

    #[test]
    fn a_minimum_is_one_number_or_at_most_one_for_each_shard() {
        assert_eq!(minimum("", 1).unwrap(), Minimum::default());
        for (query, positions) in [("5", vec![5]), ("5,0", vec![5, 0]), ("5%2C7", vec![5, 7])] {
            let expected = Minimum(positions.into_iter().map(Position).collect());
            let read = minimum(&format!("min_position={query}"), 2).unwrap();
            assert_eq!(read, expected, "{query}");
        }
        for bad in ["5,7,9", "5,", ",5", "-1", "a", ""] {
            let error = minimum(&format!("min_position={bad}"), 2).unwrap_err();
            assert!(error.message.starts_with("`min_position`"), "{bad}");
        }
        assert!(minimum("min_position=1,2", 1).is_err());
    }

    #[test]
    fn positions_of_several_shards_are_joined_in_their_order() {
        assert_eq!(header(&[Position(12)]), "12");
        assert_eq!(header(&[Position(12), Position(0)]), "12,0");
    }
}
